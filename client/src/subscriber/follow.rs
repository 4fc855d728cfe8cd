//! Follows as they are listed, and the records they hold.

use tidings_core::{Cursor, Did, GrantError, Mutation};
use tidings_proto::{Offset, QueueId, Term, Timestamp};

use super::event::VerdictReport;
use crate::state::StateError;

/// One follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The queue.
    pub queue: QueueId,
    /// Whose it is.
    pub did: Did,
    /// What this node calls the owner; may be empty.
    pub name: String,
    /// Addresses of brokers from the invitation, best first.
    pub addresses: Vec<String>,
    /// Where the owner says its storage is; empty if nowhere.
    pub locator: String,
    /// The last verified head; the start if none is.
    pub cursor: Cursor,
    /// Live entries under that head.
    pub live_count: u64,
    /// What is known about the view; `as_of` is of the last verified head.
    pub verdict: VerdictReport,
    /// Changes that the application has not acknowledged.
    pub pending: u64,
}

/// A verified record of a followed queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedValue {
    /// What the owner wrote: path, version, value.
    pub mutation: Mutation,
    /// Term of its entry.
    pub term: Term,
    /// Offset of its entry.
    pub offset: Offset,
    /// When the owner signed the verified head, by the owner's clock.
    pub as_of: Timestamp,
}

/// Why a follow was not begun, found or ended. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// This queue is followed already.
    #[error("this owner is followed already")]
    AlreadyFollowing,
    /// The invitation is older than what is known of this queue, and its access may have ended.
    #[error("the invitation is older than what is known of this owner here")]
    OldInvitation,
    /// This queue is not followed.
    #[error("this owner is not followed")]
    NotFollowing,
    /// A subscriber of this follow is running in this process.
    #[error("a subscriber of this follow is running already")]
    AlreadyStarted,
    /// The invitation is one's own.
    #[error("a node does not follow itself")]
    Own,
    /// The name exceeds [`tidings_proto::caps::NAME_BYTES_MAX`].
    #[error("the name is too long")]
    NameTooLong,
    /// The grant in the invitation does not open.
    #[error("the invitation is not for this node: {0}")]
    Grant(#[from] GrantError),
    /// The state fails.
    #[error(transparent)]
    State(#[from] StateError),
}
