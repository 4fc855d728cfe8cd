//! The embedded store. What it promises and what damage does: `docs/storage.md`; keys: `keys.rs`.

mod ahead; // what was staged for an append to come
mod append;
mod checksum; // of records of the log
mod damages; // what the operator is told of
mod figures; // what it holds and did
mod folder;
mod keys;
mod log_tail;
mod numbered; // rows in the order of offsets
mod open;
mod read;
mod read_only;
mod snapshot;
mod tamper; // for tests: a hand on the disk
#[cfg(test)]
mod tests;
mod torn_write;
mod tuning;
mod values;
mod writes; // whether anything may still be written

use std::sync::Mutex;

use ::rocksdb::{ColumnFamily, DB, Options};
use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, ContentHash, HeadRank, Offset, Pseudonym, QueueId};

use self::damages::Damages;
use self::keys::Column;
use self::read::View;
use self::snapshot::Moment;
use self::writes::Writes;
use super::{Acked, Append, Cause, LiveRow, QueueRow, Scan, ScanLimit, Snapshot, Staged, Store, StoreError};

pub use figures::{Done, Figures};
pub use open::{OpenError, Settings};
pub use tamper::rewrite_entry;
pub use tuning::Tuning;
pub use writes::Condition;

/// A store in one folder, for one process. Queues at rest cost disk, no memory.
pub struct RocksStore {
    db: DB,
    /// What its counts are read from, if it counts.
    counted: Option<Options>,
    /// What was damaged, if that is told: not where the operator asks for it.
    damages: Option<Damages>,
    /// Held from the check of the stored heads to the write that continues them.
    writing: Mutex<Writes>,
}

impl RocksStore {
    fn column(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("a store is opened with every column family")
    }

    /// Former readers of a queue, ascending by pseudonym, each with the rank of the head that removed it.
    ///
    /// # Errors
    /// Those of the store's reads.
    pub fn former_readers(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, HeadRank)>, StoreError> {
        Ok(self.view(queue).removed()?.into_iter().collect())
    }

    /// Queues that were found damaged since it was opened; of more than 256, 257.
    pub fn damaged_queues(&self) -> usize {
        self.damages.as_ref().map_or(0, Damages::count)
    }

    /// Tells the operator of damage, and gives the error back.
    fn told(&self, error: StoreError) -> StoreError {
        match &self.damages {
            Some(damages) => damages.told(error),
            None => error,
        }
    }

    fn view(&self, queue: &QueueId) -> View<'_> {
        View::new(self, Some(*queue))
    }

    /// For one read, or under the lock that every write takes.
    fn newest(&self, queue: &QueueId) -> View<'_> {
        View::newest_of(self, queue)
    }
}

impl Store for RocksStore {
    fn queue(&self, queue: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        Ok(self.view(queue).value()?.map(|value| value.row))
    }

    fn append(&self, group: &[Append]) -> Result<(), StoreError> {
        let mut writes = self.writer()?;
        let batch = append::batch(self, group).map_err(|error| self.told(error))?;
        if batch.is_empty() { Ok(()) } else { self.put(&mut writes, batch, true) }
    }

    fn stage(&self, staged: &Staged) -> Result<(), StoreError> {
        let mut writes = self.writer()?;
        // Synced like every write: only the last one in the log may be torn.
        let batch = ahead::batch(self, staged).map_err(|error| self.told(error))?;
        self.put(&mut writes, batch, true)
    }

    fn unstage(&self, queue: &QueueId) -> Result<(), StoreError> {
        loop {
            // Held from the look to the write: an append in between would make live what is to be removed.
            let mut writes = self.writer()?;
            match ahead::leftovers(self, queue)? {
                Some(batch) => self.put(&mut writes, batch, true)?,
                None => return Ok(()),
            }
        }
    }

    fn live_of(&self, queue: &QueueId, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.view(queue).live_of(births)
    }

    fn live_at(&self, queue: &QueueId, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.view(queue).live_at(offsets)
    }

    fn scan(&self, queue: &QueueId, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError> {
        self.view(queue).scan(after, limit)
    }

    fn bitmap(&self, queue: &QueueId, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError> {
        self.view(queue).bitmap(through, limit)
    }

    fn history(&self, queue: &QueueId, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        self.view(queue).history(nodes)
    }

    fn access(&self, queue: &QueueId, reader: &Pseudonym) -> Result<Option<Bytes>, StoreError> {
        self.newest(queue).get(Column::Access, &keys::named(queue, reader.bytes()))
    }

    fn access_list(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.view(queue).access_list()
    }

    fn was_removed(&self, queue: &QueueId, reader: &Pseudonym) -> Result<bool, StoreError> {
        Ok(self.newest(queue).get(Column::Removed, &keys::named(queue, reader.bytes()))?.is_some())
    }

    fn attachment(&self, queue: &QueueId, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        self.newest(queue).get(Column::Attachments, &keys::named(queue, hash.bytes()))
    }

    fn acknowledge(&self, group: &[Acked]) -> Result<(), StoreError> {
        let mut writes = self.writer()?;
        let batch = append::acknowledgements(self, group)?;
        if batch.is_empty() { Ok(()) } else { self.put(&mut writes, batch, true) }
    }

    fn snapshot<'a>(&'a self, queue: &QueueId) -> Result<Option<Box<dyn Snapshot + 'a>>, StoreError> {
        Ok(Moment::of(self, queue)?.map(|moment| Box::new(moment) as Box<dyn Snapshot + 'a>))
    }

    fn contradicted(&self, queue: &QueueId, detail: &str) {
        self.told(StoreError::Damaged { queue: Some(*queue), detail: detail.to_owned() });
    }

    fn acknowledgements(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.view(queue).acknowledgements()
    }
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore").field("folder", &self.db.path()).finish_non_exhaustive()
    }
}
