//! A store whose admission list is the folder beside it.

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_broker::store::{Acked, Append, Cause, LiveRow, QueueRow, Scan, ScanLimit, Store, StoreError};
use tidings_core::Did;
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId, VerifyingKey};

use super::admission::AdmissionList;

/// Passes everything on to `store` but the question who is admitted.
#[derive(Debug)]
pub(super) struct Listed<S> {
    store: S,
    list: AdmissionList,
}

impl<S> Listed<S> {
    /// `store` with `list`.
    pub(super) fn new(store: S, list: AdmissionList) -> Self {
        Self { store, list }
    }
}

impl<S: Store> Store for Listed<S> {
    fn admitted(&self, owner: &VerifyingKey) -> Result<bool, StoreError> {
        self.list.admits(owner).map_err(|error| StoreError::Unavailable(Cause::new(error.to_string())))
    }

    fn admit(&self, owner: &VerifyingKey, admitted: bool) -> Result<(), StoreError> {
        self.list.set(&Did(*owner), admitted).map_err(|error| StoreError::Indeterminate(Cause::new(error.to_string())))
    }

    fn queue(&self, queue: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        self.store.queue(queue)
    }

    fn append(&self, group: &[Append]) -> Result<(), StoreError> {
        self.store.append(group)
    }

    fn live_of(&self, queue: &QueueId, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.store.live_of(queue, births)
    }

    fn live_at(&self, queue: &QueueId, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.store.live_at(queue, offsets)
    }

    fn scan(&self, queue: &QueueId, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError> {
        self.store.scan(queue, after, limit)
    }

    fn bitmap(&self, queue: &QueueId, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError> {
        self.store.bitmap(queue, through, limit)
    }

    fn history(&self, queue: &QueueId, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        self.store.history(queue, nodes)
    }

    fn access(&self, queue: &QueueId, reader: &Pseudonym) -> Result<Option<Bytes>, StoreError> {
        self.store.access(queue, reader)
    }

    fn access_list(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.store.access_list(queue)
    }

    fn attachment(&self, queue: &QueueId, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        self.store.attachment(queue, hash)
    }

    fn acknowledge(&self, group: &[Acked]) -> Result<(), StoreError> {
        self.store.acknowledge(group)
    }

    fn acknowledgements(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.store.acknowledgements(queue)
    }
}
