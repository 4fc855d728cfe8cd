//! What goes wrong with the own datastore, and whether it may have taken effect.

use std::io;

use tidings_client::{StateError, WriteError};
use tidings_core::ObjectError;

use crate::object::{FetchError, PrepareError};
use crate::storage::StorageError;

/// Why something was not written or not read. A write that failed has no effect, unless its variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatastoreError {
    /// The value or its content type is too long.
    #[error(transparent)]
    Value(ObjectError),
    /// The value cannot be read from where it comes from.
    #[error("the value cannot be read: {0}")]
    Source(io::Error),
    /// A temporary file cannot be used.
    #[error("a temporary file cannot be used: {0}")]
    Spool(io::Error),
    /// The storage did not take the object. The record stands as before.
    #[error(transparent)]
    Storage(StorageError),
    /// The publisher did not take the write. After `Closed` it may have.
    #[error(transparent)]
    Write(WriteError),
    /// The value is not to be had.
    #[error(transparent)]
    Fetch(FetchError),
    /// The state cannot be read or changed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state failed after the value was staged. It may have been written, or be written when the datastore is opened again.
    #[error("{0}; the value may be written when the node is opened again")]
    Unsettled(#[source] Box<DatastoreError>),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
    /// The prefix of an import is no path.
    #[error("the prefix is no record path: {0}")]
    Prefix(#[from] tidings_core::PathError),
}

impl From<PrepareError> for DatastoreError {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Object(error) => Self::Value(error),
            PrepareError::Source(error) => Self::Source(error),
            PrepareError::Spool(error) => Self::Spool(error),
            PrepareError::Randomness(error) => Self::Randomness(error),
        }
    }
}

impl From<WriteError> for DatastoreError {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}
