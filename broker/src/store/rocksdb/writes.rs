//! Whether anything may still be written: what one failed write means for all that come after it.

use std::sync::{MutexGuard, PoisonError};

use ::rocksdb::{ErrorKind, WriteBatch, WriteOptions};

use super::keys::{FORMAT, FORMAT_KEY};
use super::{Cause, RocksStore, StoreError};

/// RocksDB counts here what its flushes and compactions met; a failed write is answered to its caller and not counted.
const FAILED_IN_BACKGROUND: &str = "rocksdb.background-errors";

/// What writes meet from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// They are taken.
    Writing,
    /// The disk is full: they are refused and nothing of them happens. They are taken again, without a restart, when there is space.
    Full(Cause),
    /// A write or its sync failed, or a table is damaged: none is taken until the store is opened anew.
    Stopped(Cause),
}

/// The one place to write, and what is known of it.
pub(super) struct Writes {
    condition: Condition,
    /// Failures in the background that were looked at.
    seen: u64,
}

impl Writes {
    pub(super) fn taken() -> Self {
        Self { condition: Condition::Writing, seen: 0 }
    }

    pub(super) fn stopped(why: &str) -> Self {
        Self { condition: Condition::Stopped(Cause::new(why)), seen: 0 }
    }
}

impl RocksStore {
    /// What writes meet now. Looks whether the disk is still full, and what happened in the background: may write some bytes,
    /// waits for a write that is under way, and blocks.
    pub fn condition(&self) -> Condition {
        let mut writes = self.lock();
        let failed = self.db.property_int_value(FAILED_IN_BACKGROUND).ok().flatten().unwrap_or(writes.seen);
        let is_new = std::mem::replace(&mut writes.seen, failed) != failed;
        if is_new || matches!(writes.condition, Condition::Full(_)) {
            self.probe(&mut writes);
        }
        writes.condition.clone()
    }

    /// Waits for the one place to write, if anything may be written.
    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writes>, StoreError> {
        let mut writes = self.lock();
        if matches!(writes.condition, Condition::Full(_)) {
            self.probe(&mut writes);
        }
        match &writes.condition {
            Condition::Writing => Ok(writes),
            Condition::Full(cause) => Err(StoreError::Full(cause.clone())),
            Condition::Stopped(_) => Err(StoreError::Poisoned),
        }
    }

    /// Writes. After a failed sync nobody can know what a later one would make durable: what the kernel failed to write it may since
    /// have marked as written (fsync, PostgreSQL 2018). So nothing is written any more.
    ///
    /// A full disk is another matter. RocksDB takes no write until it has put all that it holds in memory into new tables, and
    /// synced those and a new log: the log that lacks something is not needed any more. The write that met the full disk is in no
    /// memory, so it is whole in that log or nowhere, and `Indeterminate` either way.
    pub(super) fn put(&self, writes: &mut Writes, batch: WriteBatch, sync: bool) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch, &options).map_err(|error| {
            let (condition, cause) = after(error);
            writes.condition = condition;
            StoreError::Indeterminate(cause)
        })
    }

    /// Writes a row that is there already, which changes nothing and fails as any write would.
    fn probe(&self, writes: &mut Writes) {
        if matches!(writes.condition, Condition::Stopped(_)) {
            return;
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        writes.condition = match self.db.put_opt(FORMAT_KEY, FORMAT.to_be_bytes(), &options) {
            Ok(()) => Condition::Writing,
            Err(error) => after(error).0,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Writes> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a failed write means for the next ones.
fn after(error: ::rocksdb::Error) -> (Condition, Cause) {
    let (kind, text) = (error.kind(), error.into_string());
    // RocksDB has a sub-code for a full disk, which the binding shows in the text alone.
    let is_full = kind == ErrorKind::IOError && text.starts_with("IO error: No space left on device");
    let cause = Cause::new(text);
    (if is_full { Condition::Full(cause.clone()) } else { Condition::Stopped(cause.clone()) }, cause)
}
