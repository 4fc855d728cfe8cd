//! Removing parts that no head object has named for longer than the grace. [P-21]

use std::sync::Arc;
use std::time::Duration;

use tidings_proto::Timestamp;

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
    // The same content gives the same name: what went may be shown again.
    let shown = rows.written()?.map(|head| names(&head)).unwrap_or_default();
    let mut removed = 0;
    for garbage in waiting.iter().filter(|garbage| !shown.contains(&garbage.name)) {
        storage.remove(&garbage.name).await?;
        removed += 1;
    }
    rows.collected(&waiting)?;
    Ok(removed)
}
