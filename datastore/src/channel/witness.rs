//! The storage as a second opinion about the newest head.

use std::sync::Arc;

use tidings_client::subscriber::{Answer, Witness};
use tidings_proto::{QueueId, VerifyingKey};

use super::index::Index;
use crate::storage::Driver;

/// Knows an owner's newest head from its storage: one read of one object. [P-21]
pub struct StorageWitness {
    index: Index,
}

impl StorageWitness {
    /// The witness of one queue; `owner` is its owner's key.
    pub fn new(storage: Arc<dyn Driver>, queue: QueueId, owner: VerifyingKey) -> Self {
        Self { index: Index::new(storage, queue, owner) }
    }
}

impl Witness for StorageWitness {
    fn newest<'a>(&'a self) -> Answer<'a> {
        Box::pin(async move {
            let bytes = self.index.head_bytes().await.ok()?;
            Some(self.index.view(&bytes).ok()?.head.bytes().clone())
        })
    }
}
