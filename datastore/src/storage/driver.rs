//! What every storage can do.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::Name;

/// Work on its way; dropping it gives up. A write that was given up may have taken effect.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is written.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// The content of this file, which nobody changes meanwhile.
    File(PathBuf),
}

/// What is read: its length as far as the storage says it, and its bytes in order. Nothing of it is verified.
pub struct Reading {
    /// Length in bytes, as the storage says.
    pub size: u64,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes, StorageError>>,
}

impl Reading {
    /// All bytes, of which there may be `limit`.
    ///
    /// # Errors
    /// `TooLarge` if more come, or what keeps the rest from coming.
    pub async fn whole(mut self, limit: u64) -> Result<Bytes, StorageError> {
        let mut bytes = BytesMut::new();
        while let Some(more) = self.bytes.next().await {
            let more = more?;
            if (bytes.len() + more.len()) as u64 > limit {
                return Err(StorageError::TooLarge);
            }
            bytes.extend_from_slice(&more);
        }
        Ok(bytes.freeze())
    }
}

/// What a storage promises beyond the trait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What was written is on disk, or as safe, when the write returns.
    pub durable: bool,
    /// A read after a write sees it, also at another client.
    pub consistent: bool,
    /// Names can be listed.
    pub list: bool,
    /// It can be written.
    pub write: bool,
}

/// Why a storage did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no object of that name, or it is not visible yet.
    #[error("there is no such object in the storage")]
    Missing,
    /// The storage cannot do that at all.
    #[error("this storage cannot {0}")]
    Unsupported(&'static str),
    /// The storage refuses: credentials, rights or a full disk. Repeating without a change will not help.
    #[error("the storage refuses: {0}")]
    Refused(String),
    /// It cannot be reached, or failed for a moment; a write may have taken effect. Repeat.
    #[error("the storage failed: {0}")]
    Unavailable(String),
    /// What is there is longer than was allowed.
    #[error("the object is longer than it may be")]
    TooLarge,
}

/// A storage. Implementations name objects below a root of their own; names never leave it.
pub trait Driver: Send + Sync + 'static {
    /// What it promises.
    fn capabilities(&self) -> Capabilities;

    /// Where it is, for messages; no credentials.
    fn address(&self) -> String;

    /// Creates an object that never changes: its name is made of its hash, so one that is there already is the same.
    /// Durable when this returns, if the storage is.
    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>>;

    /// Creates or replaces an object, whole: a reader sees the old or the new one.
    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>>;

    /// Creates or replaces an object if its content is still `seen` (`None`: there was none), or `content` already, and says whether it
    /// did. Two that exchange one object at once do not overwrite each other unseen where the storage compares and writes in one step:
    /// a bucket does, and a folder among processes that see its locks. This default reads directly before it writes.
    fn exchange<'a>(&'a self, name: &'a Name, seen: Option<Bytes>, content: Bytes) -> Pending<'a, Result<bool, StorageError>> {
        Box::pin(async move {
            let limit = seen.as_ref().map_or(0, Bytes::len).max(content.len()) as u64;
            let found = match self.read(name, limit).await {
                Ok(reading) => reading.whole(limit).await.map(Some),
                Err(error) => Err(error),
            };
            match found {
                Ok(Some(found)) if found == content => Ok(true),
                Ok(found) if found == seen => self.replace(name, content).await.map(|()| true),
                Err(StorageError::Missing) if seen.is_none() => self.replace(name, content).await.map(|()| true),
                Ok(_) | Err(StorageError::Missing | StorageError::TooLarge) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Opens an object for reading; refuses one that says it is longer than `limit` bytes, and ends with `TooLarge` if more than
    /// that come.
    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>>;

    /// Removes an object; one that is not there is removed already.
    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>>;

    /// The storages behind this one that hold the same objects, the one to ask first at the front; empty if it is only itself.
    /// Who verifies what it reads can ask the next where one lies.
    fn copies(&self) -> &[Arc<dyn Driver>] {
        &[]
    }

    /// Names that start with the segments of `prefix`, ascending. Never used to decide what is deleted. [P-22]
    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>>;
}
