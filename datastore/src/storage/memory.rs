//! A storage that ends with its process, for tests and examples.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{Capabilities, Content, Driver, Name, Pending, Reading, StorageError};

/// Objects in memory.
#[derive(Default)]
pub struct MemoryStorage {
    objects: Mutex<BTreeMap<Name, Bytes>>,
}

/// Piece in which a read hands out, bytes.
const PIECE_BYTES: usize = 64 * 1024;

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Name, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for MemoryStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: false, consistent: true, list: true, write: true }
    }

    fn address(&self) -> String {
        "memory:".into()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move {
            let content = match content {
                Content::Bytes(bytes) => bytes,
                Content::File(path) => tokio::fs::read(path).await.map_err(|error| StorageError::Refused(error.to_string()))?.into(),
            };
            self.objects().entry(name.clone()).or_insert(content);
            Ok(())
        })
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.objects().insert(name.clone(), content);
            Ok(())
        })
    }

    fn exchange<'a>(&'a self, name: &'a Name, seen: Option<Bytes>, content: Bytes) -> Pending<'a, Result<bool, StorageError>> {
        Box::pin(async move {
            let mut objects = self.objects();
            let found = objects.get(name);
            let fits = found == seen.as_ref() || found == Some(&content);
            if fits {
                objects.insert(name.clone(), content);
            }
            Ok(fits)
        })
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(async move {
            let bytes = self.objects().get(name).cloned().ok_or(StorageError::Missing)?;
            reading(bytes, limit)
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.objects().remove(name);
            Ok(())
        })
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        Box::pin(async move { Ok(self.objects().keys().filter(|name| name.is_below(prefix)).cloned().collect()) })
    }
}

/// Bytes that are there as a read of them.
pub(super) fn reading(bytes: Bytes, limit: u64) -> Result<Reading, StorageError> {
    let size = bytes.len() as u64;
    if size > limit {
        return Err(StorageError::TooLarge);
    }
    let pieces = stream::unfold(bytes, |mut rest| async move {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok(piece), rest))
    });
    Ok(Reading { size, bytes: pieces.boxed() })
}
