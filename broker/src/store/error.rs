//! How a store fails, told apart by what a caller does next.

use tidings_proto::{HeadNumber, QueueId};

/// What an operator does about damage; why, in `docs/storage.md`.
pub const AFTER_DAMAGE: &str = "stop the broker, put its folder `store` aside (not `identity`), and start it again: owners bring what they \
    published when they connect; or put back a copy of `store` that is not older than the damage";

/// What the store underneath said, for the operator's log; never sent to a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Cause {
    /// Wraps a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Why an operation of a store did not answer `Ok`. Each variant says whether the effect may have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An append continues another head than the one that stands. Nothing changed.
    #[error("queue {queue} stands at head {}", stands_at.map_or_else(|| "none".to_owned(), |number| number.to_string()))]
    Conflict {
        /// The queue of that append.
        queue: QueueId,
        /// Number of the stored head; `None` if the queue is new here.
        stands_at: Option<HeadNumber>,
    },
    /// The effect may have happened, whole or not at all. Repeat it: appending the same head twice is one append.
    #[error("outcome is unknown")]
    Indeterminate(#[source] Cause),
    /// Nothing happened. Repeat it later.
    #[error("the store cannot do this now")]
    Unavailable(#[source] Cause),
    /// The disk is full. Nothing happened; repeat it when there is space. Reads are served.
    #[error("the disk is full")]
    Full(#[source] Cause),
    /// What is stored cannot be read. Nothing happened; other queues are served.
    #[error("stored data is damaged: {detail}")]
    Damaged {
        /// The queue, or `None` if no single one is concerned.
        queue: Option<QueueId>,
        /// What the store underneath said.
        detail: String,
    },
    /// An earlier write or sync failed, so nothing may be acknowledged any more until the broker was started again. Nothing happened.
    #[error("an earlier write failed; restart the broker")]
    Poisoned,
}
