//! What goes wrong with the durable state.

use std::io;
use std::path::{Path, PathBuf};

use redb::DatabaseError;
use tidings_core::DecodeError;

use super::StateFailure;

/// Why the state could not be opened, read or changed. A change that failed did not happen, but for [`StateError::Unsynced`].
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
    /// The disk is full. Nothing more is changed until the state is opened anew.
    #[error("the state cannot be written: {0}")]
    Full(#[source] io::Error),
    /// A sync failed: the change is whole in the file or not at all. Nothing more is changed until the state is opened anew.
    #[error("the state cannot be synced: {0}; the change may have been made")]
    Unsynced(#[source] io::Error),
    /// The mark beside it, which tells whether it lies where it lay, is no file that can be read and written.
    #[error("{} cannot be used: {}", .0.display(), .1)]
    Mark(PathBuf, #[source] io::Error),
    /// An earlier change failed, so that this one was not begun. See [`super::State::failure`].
    #[error("the state is not used any more, because a change of it failed")]
    Failed,
    /// The disk failed.
    #[error("the state cannot be read or written: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Io(error),
        }
    }
}

/// What is told to who comes after the failure.
impl From<StateFailure> for StateError {
    fn from(failure: StateFailure) -> Self {
        match failure {
            StateFailure::Full => Self::Full(io::ErrorKind::StorageFull.into()),
            StateFailure::Write | StateFailure::Sync => Self::Failed,
        }
    }
}

impl StateError {
    /// Of the mark that lies at `path`.
    pub(super) fn of_mark(path: &Path, error: io::Error) -> Self {
        match Self::from(error) {
            Self::Io(error) => Self::Mark(path.to_owned(), error),
            full => full,
        }
    }

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
            redb::StorageError::Io(error) => error.into(),
            redb::StorageError::PreviousIo => Self::Failed,
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
