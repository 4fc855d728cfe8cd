//! What goes wrong for an owner, and whether it may have taken effect.

use std::sync::Arc;

use tidings_core::RecordPath;
use tidings_core::writer::WriterError;
use tidings_proto::caps::INLINE_BYTES_MAX;

use super::owner::SignError;
use crate::state::StateError;

/// Why no publisher was opened. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublisherError {
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state holds the queue of another key.
    #[error("the state belongs to another key")]
    OtherKey,
    /// A publisher of this state is open in this process.
    #[error("the state has a publisher already")]
    AlreadyOpen,
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// Why writes were not taken. None of them was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A value does not fit into a mutation.
    #[error("{path}: {size} bytes; a value has at most {INLINE_BYTES_MAX}")]
    TooLarge {
        /// The record.
        path: RecordPath,
        /// Length of the value, bytes.
        size: usize,
    },
    /// The content type is too long.
    #[error("{0}: the content type is too long")]
    ContentType(RecordPath),
    /// The object reference exceeds its bounds: [`tidings_proto::caps::OBJECT_BYTES_MAX`], or its name is too long.
    #[error("{0}: the value is larger than an object may be, or its name is too long")]
    Object(RecordPath),
    /// A delete of a record that is not there.
    #[error("{0}: there is nothing to delete")]
    NotFound(RecordPath),
    /// Paths at `/.tidings` and below belong to the owner's programs. [P-5]
    #[error("{0}: paths at /.tidings and below are reserved")]
    Reserved(RecordPath),
    /// No rescued value has that id.
    #[error("there is no such rescued value")]
    NoSuchValue,
    /// The state cannot be changed.
    #[error(transparent)]
    State(Arc<StateError>),
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

impl From<StateError> for WriteError {
    fn from(error: StateError) -> Self {
        Self::State(Arc::new(error))
    }
}

/// Why there is no receipt for a write. The write is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The record was created and deleted before either was signed: there is nothing to publish.
    #[error("created and deleted before it was published: there is nothing to publish")]
    NothingToPublish,
    /// The publisher was closed first. The write is published when one is opened again.
    #[error("saved; the publisher was closed before it was published")]
    Closed,
}

/// Why a grant was not given or not receipted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantFailure {
    /// Another writer signs with this key: nothing is signed before a person decides. Nothing changed. [P-4]
    #[error("another writer signs with the key of this node; nothing is signed until one of them is said to go on")]
    Conflict,
    /// Signed and durable, not receipted; it will be published. Do not repeat.
    #[error("saved; it is published when a broker is there")]
    Saved {
        /// The invitation; good once the change is published.
        invitation: String,
    },
    /// The change of access was not signed.
    #[error(transparent)]
    Writer(Arc<WriterError>),
    /// The state cannot be changed.
    #[error(transparent)]
    State(Arc<StateError>),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The publisher was closed. The change may have been signed: ask for the readers.
    #[error("the publisher is closed")]
    Closed,
}

impl From<StateError> for GrantFailure {
    fn from(error: StateError) -> Self {
        Self::State(Arc::new(error))
    }
}

impl From<WriterError> for GrantFailure {
    fn from(error: WriterError) -> Self {
        Self::Writer(Arc::new(error))
    }
}

impl From<SignError> for GrantFailure {
    fn from(error: SignError) -> Self {
        match error {
            SignError::State(error) => error.into(),
            SignError::Writer(error) => error.into(),
            SignError::Randomness(error) => Self::Randomness(error),
        }
    }
}

/// Why a reader was not revoked, or its revocation not receipted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeFailure {
    /// Another writer signs with this key: nothing is signed before a person decides. Nothing changed. [P-4]
    #[error("another writer signs with the key of this node; nothing is signed until one of them is said to go on")]
    Conflict,
    /// Signed and durable, not receipted; it will be published before anything that is signed later. Do not repeat.
    #[error("saved; it is published when a broker is there. Until then the broker still serves that reader")]
    Saved,
    /// There is no such reader, or it is the owner itself. Nothing changed.
    #[error("there is no such reader")]
    NoSuchReader,
    /// The change of access was not signed.
    #[error(transparent)]
    Writer(Arc<WriterError>),
    /// The state cannot be changed.
    #[error(transparent)]
    State(Arc<StateError>),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The publisher was closed. The change may have been signed: ask for the readers.
    #[error("the publisher is closed")]
    Closed,
}

impl From<StateError> for RevokeFailure {
    fn from(error: StateError) -> Self {
        Self::State(Arc::new(error))
    }
}

impl From<SignError> for RevokeFailure {
    fn from(error: SignError) -> Self {
        match error {
            SignError::State(error) => error.into(),
            SignError::Writer(WriterError::NoSuchReader) => Self::NoSuchReader,
            SignError::Writer(error) => Self::Writer(Arc::new(error)),
            SignError::Randomness(error) => Self::Randomness(error),
        }
    }
}

/// Why there is no snapshot. Nothing changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Another writer signs with this key: nothing is signed before a person decides. Nothing changed. [P-4]
    #[error("another writer signs with the key of this node; nothing is signed until one of them is said to go on")]
    Conflict,
    /// The newest head was not receipted in time. Ask again.
    #[error("the newest head is not receipted yet")]
    Late,
    /// What has to be signed before cannot be.
    #[error(transparent)]
    Writer(Arc<WriterError>),
    /// The state cannot be read or changed.
    #[error(transparent)]
    State(Arc<StateError>),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

impl From<SignError> for SnapshotError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::State(error) => Self::State(Arc::new(error)),
            SignError::Writer(error) => Self::Writer(Arc::new(error)),
            SignError::Randomness(error) => Self::Randomness(error),
        }
    }
}

impl From<StateError> for SnapshotError {
    fn from(error: StateError) -> Self {
        Self::State(Arc::new(error))
    }
}

/// Why the readers cannot be listed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadersError {
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

/// Why a flush ended early. Everything is durable and is published later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// Time is up.
    #[error("not everything is published yet: {unsigned} records wait, {unreceipted} publishes have no receipt")]
    Deadline {
        /// Records in the outbox.
        unsigned: u64,
        /// Signed publishes without a receipt.
        unreceipted: u64,
    },
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

/// Why the brokers are not those that were asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// Another change of brokers is under way. Nothing changed.
    #[error("another change of brokers is under way")]
    Busy,
    /// All brokers would be left, which ends the queue there: that has to be said. Nothing changed.
    #[error("this leaves the last broker, which closes the queue there; say so if that is meant")]
    LastBroker,
    /// None of the brokers that stay held everything in time. New ones stay configured, and nobody was left; if somebody was to be,
    /// grants name what they named.
    #[error("no broker that stays holds everything yet; the others are kept")]
    NotHeld,
    /// A head could not be signed. New brokers stay configured; those to be left are used no more and may not have been told.
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// The state cannot be changed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

impl From<SignError> for MoveError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::State(error) => Self::State(error),
            SignError::Writer(error) => Self::Writer(error),
            SignError::Randomness(error) => Self::Randomness(error),
        }
    }
}
