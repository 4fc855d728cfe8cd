//! Removing parts that no head object has named for longer than the grace. [P-21]

use std::sync::Arc;
use std::time::Duration;

use tidings_core::Object;
use tidings_proto::Timestamp;

use super::before::head_object;
use super::error::ChannelError;
use super::rows::Rows;
use super::write::names;
use crate::storage::Driver;

/// Removes what waits for longer than `grace`, one page of rows; gives how many parts went. Never by listing: another owner's parts,
/// or those of a later build, are none of ours.
///
/// A reader that holds an older head object still finds its parts for the grace.
pub(super) async fn collect(rows: &Rows, storage: &Arc<dyn Driver>, grace: Duration, now: Timestamp) -> Result<usize, ChannelError> {
    let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let Some(until) = now.value().checked_sub(grace).map(Timestamp::new) else { return Ok(0) };
    let waiting = rows.garbage(until)?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let Some(written) = rows.written()? else { return Ok(0) };
    // Another home of this owner may show its own head object, and name what waits here.
    if head_object(storage, &written.head.head().queue).await?.is_none_or(|found| *found != *written.encode()) {
        return Ok(0);
    }
    // The same content gives the same name: what went may be shown again.
    let shown = names(&written);
    let mut removed = 0;
    for garbage in waiting.iter().filter(|garbage| !shown.contains(&garbage.name)) {
        storage.remove(&garbage.name).await?;
        removed += 1;
    }
    rows.collected(&waiting)?;
    Ok(removed)
}
