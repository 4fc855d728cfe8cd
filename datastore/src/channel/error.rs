//! What goes wrong between a queue and its storage.

use tidings_client::{ConnectionError, SnapshotError, StateError};
use tidings_core::DecodeError;
use tidings_core::storage_index::PartError;
use tidings_proto::{HeadRank, Refusal, RefusalCode};

use crate::storage::StorageError;

/// Why the owner's queue is not in its storage as it is signed. What was there stays readable; it is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The state fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// The storage does not take it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is kept of the queue does not make an index, or one beyond its caps. Nothing was shown to readers.
    #[error("the queue does not fit into an index: {0}")]
    Unfit(#[from] DecodeError),
    /// The publisher gives no snapshot.
    #[error(transparent)]
    Snapshot(SnapshotError),
    /// The storage shows a head that this owner does not have: it is to be merged first, and nothing is overwritten before. [P-5]
    #[error("the storage shows head {0}, which is not in the own history: it is merged first")]
    NotMerged(HeadRank),
    /// A newer build wrote what the storage shows, and this one does not overwrite it. [P-20]
    #[error("the storage was written by a newer build")]
    TooNew,
    /// Somebody else wrote to the storage meanwhile. It is compared with again.
    #[error("the storage shows another head than before this write")]
    Overtaken,
    /// No receipt came in time, so there was nothing that may be shown.
    #[error("the newest head has no receipt yet")]
    NotReceipted,
    /// Time is up; it goes on.
    #[error("not everything is in the storage yet")]
    Deadline,
    /// The channel or its publisher was closed.
    #[error("the storage channel is closed")]
    Closed,
}

/// Why what is in the storage cannot be used. Nothing was accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The storage does not give it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A part that the head object names is not there: perhaps not visible yet, perhaps removed since. Read the head object again.
    #[error("a part of the index is missing")]
    Missing,
    /// Other bytes than were named, or parts that contradict the signed head.
    #[error("the storage contradicts the signed head: {0}")]
    Contradiction(&'static str),
    /// A newer build wrote it. [P-20]
    #[error("the storage was written by a newer build")]
    TooNew,
}

impl IndexError {
    /// How a reader is told, in the words that a broker would use. None of them accuses anybody: storage behind, damaged or gone is
    /// no evidence.
    pub(super) fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Storage(StorageError::Missing) => RefusalCode::UnknownQueue,
            Self::TooNew => RefusalCode::TooNew,
            _ => RefusalCode::Unavailable,
        };
        Refusal::new(code, self.to_string())
    }

    /// The same before there is a stream to say it on.
    pub(super) fn undialed(self, address: String) -> ConnectionError {
        match self {
            Self::Storage(error) if error != StorageError::Missing => ConnectionError::Unreachable { address, detail: error.to_string() },
            error => ConnectionError::Refused(error.refusal()),
        }
    }
}

impl From<PartError> for IndexError {
    fn from(error: PartError) -> Self {
        match error {
            PartError::Malformed(error) => error.into(),
            _ => Self::Contradiction("a part is not what its name says"),
        }
    }
}

impl From<DecodeError> for IndexError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooNew { .. } => Self::TooNew,
            _ => Self::Contradiction("an object does not read"),
        }
    }
}
