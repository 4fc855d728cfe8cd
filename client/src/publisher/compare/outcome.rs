//! What a person is told of comparisons.

use std::fmt;

use tidings_core::head::WriterId;
use tidings_proto::{BrokerAddress, HeadRank, Timestamp};

use crate::state::StateError;

/// Another writer signs with the key of this node, or this node forgot what it signed. Nothing is signed before a person decides. [P-4]
#[derive(Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where its head was found.
    pub broker: String,
    /// Random name of the writer that signed it.
    pub writer: WriterId,
    /// The head's rank.
    pub rank: HeadRank,
    /// When it was found first, by this node's clock.
    pub since: Timestamp,
}

impl fmt::Debug for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conflict({} at {})", self.rank, self.broker)
    }
}

/// With whom this node was compared since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Brokers that were not.
    pub missing: Vec<BrokerAddress>,
    /// There is an archive, and it was not.
    pub archive_missing: bool,
    /// What keeps this node from signing.
    pub conflict: Option<Conflict>,
    /// The newest signed head of this node; 0.0 if there is none.
    pub head: HeadRank,
}

impl Compared {
    /// Everything that is configured was compared with, and nothing keeps this node from signing.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && !self.archive_missing && self.conflict.is_none()
    }
}

/// What a person's decision changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenOver {
    /// The writers that are known from now on, each where its head was found.
    pub confirmed: Vec<Conflict>,
}

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// No other writer was found.
    #[error("there is no conflict: no other writer with this key was found")]
    NoConflict,
    /// The state cannot be changed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}
