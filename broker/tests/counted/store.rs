//! A store that counts what is asked of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_broker::store::{Acked, Append, LiveRow, MemoryStore, QueueRow, Scan, ScanLimit, Snapshot, Staged, Store, StoreError};
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId};

/// Calls since the last look, by name; `entries` are those that scans gave out.
pub(crate) type Calls = BTreeMap<&'static str, usize>;

/// The memory store, counted. An append is a sync of a store on a disk.
#[derive(Default)]
pub(crate) struct CountedStore {
    store: MemoryStore,
    calls: Mutex<Calls>,
}

impl CountedStore {
    /// What was asked since the last look.
    pub(crate) fn take(&self) -> Calls {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, call: &'static str, times: usize) -> &MemoryStore {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(call).or_default() += times;
        &self.store
    }
}

/// All but appends and acknowledgements.
pub(crate) fn reads(calls: &Calls) -> usize {
    calls.iter().filter(|(call, _)| !["append", "acknowledge", "entries"].contains(*call)).map(|(_, times)| times).sum()
}

impl Store for CountedStore {
    fn queue(&self, queue: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        self.count("queue", 1).queue(queue)
    }

    fn append(&self, group: &[Append]) -> Result<(), StoreError> {
        self.count("append", 1).append(group)
    }

    fn stage(&self, staged: &Staged) -> Result<(), StoreError> {
        self.count("stage", 1).stage(staged)
    }

    fn unstage(&self, queue: &QueueId) -> Result<(), StoreError> {
        self.count("unstage", 1).unstage(queue)
    }

    fn live_of(&self, queue: &QueueId, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.count("live_of", 1).live_of(queue, births)
    }

    fn live_at(&self, queue: &QueueId, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.count("live_at", 1).live_at(queue, offsets)
    }

    fn scan(&self, queue: &QueueId, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError> {
        let scan = self.count("scan", 1).scan(queue, after, limit)?;
        self.count("entries", scan.as_ref().map_or(0, |scan| scan.entries.len()));
        Ok(scan)
    }

    fn bitmap(&self, queue: &QueueId, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError> {
        self.count("bitmap", 1).bitmap(queue, through, limit)
    }

    fn history(&self, queue: &QueueId, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        self.count("history", 1).history(queue, nodes)
    }

    fn access(&self, queue: &QueueId, reader: &Pseudonym) -> Result<Option<Bytes>, StoreError> {
        self.count("access", 1).access(queue, reader)
    }

    fn access_list(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.count("access_list", 1).access_list(queue)
    }

    fn was_removed(&self, queue: &QueueId, reader: &Pseudonym) -> Result<bool, StoreError> {
        self.count("was_removed", 1).was_removed(queue, reader)
    }

    fn attachment(&self, queue: &QueueId, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        self.count("attachment", 1).attachment(queue, hash)
    }

    fn acknowledge(&self, group: &[Acked]) -> Result<(), StoreError> {
        self.count("acknowledge", 1).acknowledge(group)
    }

    fn snapshot<'a>(&'a self, queue: &QueueId) -> Result<Option<Box<dyn Snapshot + 'a>>, StoreError> {
        self.count("snapshot", 1).snapshot(queue)
    }

    fn acknowledgements(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.count("acknowledgements", 1).acknowledgements(queue)
    }
}
