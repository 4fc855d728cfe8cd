//! What goes wrong with the durable state.

use std::io;
use std::path::Path;

use redb::DatabaseError;
use tidings_core::DecodeError;

/// Why the state could not be opened, read or changed. A change that failed did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file is no state, or not a whole one. It was left as it is.
    #[error("the state is damaged: {0}")]
    Damaged(String),
    /// Another process has it open.
    #[error("the state is in use by another process")]
    Locked,
    /// A newer build wrote it.
    #[error("the state has format {found}; this build knows formats up to {known}", known = super::FORMAT)]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// The disk failed or is full.
    #[error("the state cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

impl StateError {
    pub(super) fn opening(path: &Path, error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            DatabaseError::Storage(redb::StorageError::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(format!("{} is not a state file", path.display()))
            }
            DatabaseError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<redb::StorageError> for StateError {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Io(error) => Self::Io(error),
            redb::StorageError::Corrupted(detail) => Self::Damaged(detail),
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

impl From<redb::TableError> for StateError {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for StateError {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

impl From<redb::CommitError> for StateError {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

impl From<redb::SetDurabilityError> for StateError {
    fn from(error: redb::SetDurabilityError) -> Self {
        Self::Io(io::Error::other(error.to_string()))
    }
}

/// A row that this build wrote and cannot read.
impl From<DecodeError> for StateError {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(format!("a row: {error}"))
    }
}
