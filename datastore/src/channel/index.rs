//! Reads what a head object in storage names, and nothing that is not what its name says.

use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::storage_index::{Part, PartReference};
use tidings_core::{AccessPart, HistoryRun, LivePart, Object, RunReference, Segment, SegmentReference, StorageHead};
use tidings_proto::caps::STORAGE_HEAD_BYTES_MAX;
use tidings_proto::{Offset, QueueId, VerifyingKey};

use super::error::IndexError;
use super::names::{head_name, part_name};
use crate::storage::{Driver, Name, StorageError};

/// One queue in one storage.
#[derive(Clone)]
pub(super) struct Index {
    storage: Arc<dyn Driver>,
    queue: QueueId,
    owner: VerifyingKey,
}

impl Index {
    pub(super) fn new(storage: Arc<dyn Driver>, queue: QueueId, owner: VerifyingKey) -> Self {
        Self { storage, queue, owner }
    }

    pub(super) fn queue(&self) -> &QueueId {
        &self.queue
    }

    pub(super) fn address(&self) -> String {
        self.storage.address()
    }

    /// The head object as it is now: one read.
    pub(super) async fn head_bytes(&self) -> Result<Bytes, IndexError> {
        Ok(read(&self.storage, &head_name(&self.queue), STORAGE_HEAD_BYTES_MAX as u64).await?)
    }

    /// What a head object says, if the owner of the queue signed the head in it.
    pub(super) fn view(&self, bytes: &[u8]) -> Result<StorageHead, IndexError> {
        let view = StorageHead::decode(bytes)?;
        if view.head.head().queue != self.queue || view.head.verify(&self.owner).is_err() {
            return Err(IndexError::Contradiction("the head is not the owner's"));
        }
        Ok(view)
    }

    /// The live offsets at the head of `view`.
    pub(super) async fn live(&self, view: &StorageHead) -> Result<RoaringTreemap, IndexError> {
        let head = view.head.head();
        let LivePart(live) = self.part(&view.live).await?;
        // A few bytes of a bitmap can stand for very many offsets; the owner signed how many there are.
        if live.len() != head.live_count || live.max().unwrap_or(0) > head.offset.value() || live.contains(0) {
            return Err(IndexError::Contradiction("the live offsets are not those that the head counts"));
        }
        Ok(live)
    }

    /// The entries of a segment, dead ones among them, ascending by offset.
    pub(super) async fn entries(&self, segment: &SegmentReference) -> Result<Vec<(Offset, Bytes)>, IndexError> {
        let Segment { entries } = self.part(&segment.part).await?;
        let inside = |(offset, _): &(Offset, Bytes)| (segment.first..=segment.last).contains(offset);
        if entries.len() != segment.count as usize || !entries.iter().all(inside) {
            return Err(IndexError::Contradiction("a segment holds other entries than it says"));
        }
        Ok(entries)
    }

    /// Hashes of the heads of a run. Hashes of a storage's own making end where they are compared with a signed root.
    pub(super) async fn run(&self, run: &RunReference) -> Result<Vec<[u8; 32]>, IndexError> {
        let HistoryRun(hashes) = self.part(&run.part).await?;
        if hashes.len() as u64 != run.last.value() - run.first.value() + 1 {
            return Err(IndexError::Contradiction("a run of the history has another length than it says"));
        }
        Ok(hashes)
    }

    /// The access list that the head of `view` signs. [P-17]
    pub(super) async fn access(&self, view: &StorageHead) -> Result<AccessPart, IndexError> {
        let access: AccessPart = self.part(&view.access).await?;
        if !access.is_of(view.head.head()) {
            return Err(IndexError::Contradiction("the access list is not the one that the head signs"));
        }
        Ok(access)
    }

    /// A part, whole and equal to what names it, from the first copy of the storage that gives it so. At most as long as its
    /// reference says is held in memory.
    pub(super) async fn part<P: Part>(&self, reference: &PartReference) -> Result<P, IndexError> {
        let copies = match self.storage.copies() {
            [] => std::slice::from_ref(&self.storage),
            copies => copies,
        };
        let mut outcome = Err(IndexError::Missing);
        for copy in copies {
            match self.part_of(copy, reference).await {
                Ok(part) => return Ok(part),
                // What a later one does not have says nothing about what an earlier one said.
                Err(IndexError::Missing) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    async fn part_of<P: Part>(&self, storage: &Arc<dyn Driver>, reference: &PartReference) -> Result<P, IndexError> {
        let name = part_name::<P>(&self.queue, &reference.hash);
        match read(storage, &name, u64::from(reference.bytes)).await {
            Ok(bytes) => Ok(reference.open(&bytes)?),
            Err(StorageError::Missing) => Err(IndexError::Missing),
            Err(StorageError::TooLarge) => Err(IndexError::Contradiction("a part is longer than its name says")),
            Err(error) => Err(error.into()),
        }
    }
}

/// An object whole, of at most `limit` bytes.
async fn read(storage: &Arc<dyn Driver>, name: &Name, limit: u64) -> Result<Bytes, StorageError> {
    storage.read(name, limit).await?.whole(limit).await
}
