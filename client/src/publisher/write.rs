//! What is written, and how far it has come.

use bytes::Bytes;
use tidings_core::{Mutation, ObjectReference, Receipt, RecordPath};
use tidings_proto::Offset;
use tokio::sync::oneshot;

use super::error::TicketError;

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces the record.
    Put {
        /// The record.
        path: RecordPath,
        /// Its value, at most [`tidings_proto::caps::INLINE_BYTES_MAX`] bytes.
        value: Bytes,
        /// Media type, kept as the header `content-type`; empty for none.
        content_type: String,
    },
    /// Creates or replaces the record; its value is in storage.
    PutObject {
        /// The record.
        path: RecordPath,
        /// Where the value is, and its media type. At most [`tidings_proto::caps::OBJECT_BYTES_MAX`] bytes.
        object: ObjectReference,
    },
    /// Deletes the record.
    Delete {
        /// The record.
        path: RecordPath,
    },
}

impl Write {
    /// The record.
    pub fn path(&self) -> &RecordPath {
        match self {
            Self::Put { path, .. } | Self::PutObject { path, .. } | Self::Delete { path } => path,
        }
    }
}

/// Header that holds the media type of an inline value.
pub(super) const CONTENT_TYPE: &str = "content-type";

/// How far the newest write of a record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Durable here, not signed.
    Waiting,
    /// Signed, not receipted.
    Signed,
    /// Receipted by a broker.
    Receipted,
}

/// A record of the own queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnValue {
    /// What was written last: path, version, value.
    pub mutation: Mutation,
    /// Offset of its entry; `None` while it waits unsigned.
    pub offset: Option<Offset>,
    /// How far it has come.
    pub stage: Stage,
}

/// A durable write on its way to a receipt. Dropping it changes nothing.
#[derive(Debug)]
pub struct Ticket {
    pub(super) receipted: oneshot::Receiver<Result<Receipt, TicketError>>,
}

impl Ticket {
    /// Waits for the receipt of the publish that carries this write, or a later write that replaced it. Safe to cancel:
    /// the write stays durable.
    pub async fn receipted(self) -> Result<Receipt, TicketError> {
        self.receipted.await.unwrap_or(Err(TicketError::Closed))
    }
}
