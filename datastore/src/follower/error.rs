//! What goes wrong at the reader's side of a datastore.

use std::io;
use std::path::PathBuf;

use tidings_client::{FollowError, StateError};

use crate::fetch::Shortfall;

/// Why a follower did not do what was asked. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowerError {
    /// There is no such follow, or it runs already.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The state fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// The folder of fetched values fails.
    #[error("the folder of fetched values cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The record is there and verified; its value could not be had in time.
    #[error(transparent)]
    Unfetched(#[from] Unfetched),
}

/// Why a value could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfetched {
    /// No storage of the owner is known.
    #[error("no storage of the owner is known")]
    NoStorage,
    /// The value was not fetched, and nothing was tried.
    #[error("the value was not fetched before")]
    NotHere,
    /// The storage does not have it: perhaps not yet.
    #[error("the storage does not have the value")]
    Missing,
    /// The storage has something else. Nothing of it was used.
    #[error("what the storage has is not what the owner signed")]
    Altered,
    /// The folder of fetched values has something else, and nothing was tried. Nothing of it was used.
    #[error("{} in the home is damaged: it is not what was fetched", .0.display())]
    Damaged(PathBuf),
    /// The value needs a newer version of this program. [P-20]
    #[error("the value needs a newer version of this program")]
    TooNew,
    /// The storage could not be reached in time.
    #[error("the value did not come in time: {0}")]
    Failed(String),
}

impl From<Shortfall> for Unfetched {
    fn from(shortfall: Shortfall) -> Self {
        match shortfall {
            Shortfall::NoStorage => Self::NoStorage,
            Shortfall::Missing => Self::Missing,
            Shortfall::Altered => Self::Altered,
            Shortfall::TooNew => Self::TooNew,
            Shortfall::Failed(why) => Self::Failed(why),
        }
    }
}
