//! Why something cannot be seen.

use std::io;

use crate::store::{OpenError, StoreError};

/// Why a folder, or a part of it, was not read. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The queues as a whole.
    #[error("the queues cannot be read")]
    Folder(#[from] OpenError),
    /// What was asked for; other queues may be sound.
    #[error("this queue cannot be read")]
    Queue(#[from] StoreError),
    /// The admission list.
    #[error("the admission list cannot be read")]
    Admission(#[source] io::Error),
}
