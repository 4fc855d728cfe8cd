//! Objects of records that another state of this owner wrote: known from the merge on that brought them. [P-22]

use tidings_client::{Publisher, Row, StateError};
use tidings_proto::Timestamp;

use super::ledger::{LedgerEntry, OBJECTS, Standing};
use super::stage::blocking;
use super::{Datastore, DatastoreError};

/// The newest merge after which everything named was noted: its time (u64, big-endian).
const ADOPTED: &str = "datastore/adopted";
const KEY: &[u8] = b"merge";

/// Rows written at once.
const PAGE: usize = 256;

impl Datastore {
    /// Once for each merge, notes every object that a live entry or a waiting write names and no row does, so that it can go when it
    /// is replaced. What only a state that was lost knew has no row: it stays.
    pub(super) async fn adopt(&self) -> Result<(), DatastoreError> {
        let shared = self.shared.clone();
        blocking(move || {
            let Some(merge) = newest_merge(&shared.publisher)? else { return Ok(()) };
            let stamp = merge.value().to_be_bytes();
            if shared.state.row(ADOPTED, KEY)?.as_deref() == Some(stamp.as_slice()) {
                return Ok(());
            }
            for named in shared.publisher.objects("")?.chunks(PAGE) {
                let mut rows = Vec::new();
                for (path, id) in named {
                    if shared.state.row(OBJECTS, id)?.is_none() {
                        rows.push(LedgerEntry::row(path, id, Standing::Named));
                    }
                }
                shared.state.put_rows(&rows)?;
            }
            Ok(shared.state.put_rows(&[Row::put(ADOPTED, KEY, stamp)])?)
        })
        .await
    }
}

/// When the last branch was merged, or the state was rebuilt on what was found: a term is opened then.
pub(super) fn newest_merge(publisher: &Publisher) -> Result<Option<Timestamp>, StateError> {
    Ok(publisher.status()?.merged.last().map(|merge| merge.time))
}
