//! Reads what a head object in storage names, and nothing that is not what its name says.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tidings_core::storage_index::{Part, PartReference};
use tidings_core::{Object, StorageHead};
use tidings_proto::caps::STORAGE_HEAD_BYTES_MAX;
use tidings_proto::{QueueId, VerifyingKey};

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
        Ok(self.read(&head_name(&self.queue), STORAGE_HEAD_BYTES_MAX as u64).await?)
    }

    /// What a head object says, if the owner of the queue signed the head in it.
    pub(super) fn view(&self, bytes: &[u8]) -> Result<StorageHead, IndexError> {
        let view = StorageHead::decode(bytes)?;
        if view.head.head().queue != self.queue || view.head.verify(&self.owner).is_err() {
            return Err(IndexError::Contradiction("the head is not the owner's"));
        }
        Ok(view)
    }

    /// A part, whole and equal to what names it. At most as long as its reference says is held in memory.
    pub(super) async fn part<P: Part>(&self, reference: &PartReference) -> Result<P, IndexError> {
        let name = part_name::<P>(&self.queue, &reference.hash);
        match self.read(&name, u64::from(reference.bytes)).await {
            Ok(bytes) => Ok(reference.open(&bytes)?),
            Err(StorageError::Missing) => Err(IndexError::Missing),
            Err(StorageError::TooLarge) => Err(IndexError::Contradiction("a part is longer than its name says")),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self, name: &Name, limit: u64) -> Result<Bytes, StorageError> {
        let mut reading = self.storage.read(name, limit).await?;
        let mut bytes = BytesMut::new();
        while let Some(more) = reading.bytes.next().await {
            let more = more?;
            if (bytes.len() + more.len()) as u64 > limit {
                return Err(StorageError::TooLarge);
            }
            bytes.extend_from_slice(&more);
        }
        Ok(bytes.freeze())
    }
}
