//! What a subscription wants from the store, as data.

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::NodeIndex;
use tidings_proto::{ContentHash, Offset, Pseudonym, QueueId, caps};

use crate::store::{Scan, ScanLimit, Store, StoreError};

/// One chunk.
const CHUNK: ScanLimit = ScanLimit { entries: caps::CHUNK_ENTRIES_MAX, bytes: caps::CHUNK_BYTES_MAX };

/// A read. The store may move on between any two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The reader's row.
    Access(QueueId, Pseudonym),
    /// An attachment.
    Grant(QueueId, ContentHash),
    /// Live entries after an offset.
    Scan(QueueId, Offset),
    /// Live offsets through an offset, and live entries after it.
    Bitmap(QueueId, Offset),
    /// Nodes of the history.
    History(QueueId, Vec<NodeIndex>),
    /// What this reader, who has no row, may be told.
    Denial(QueueId, Pseudonym),
}

/// What was read; the variant is that of the [`Read`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The encoded row, if there is one.
    Access(Option<Bytes>),
    /// The attachment, if there is one.
    Grant(Option<Bytes>),
    /// The scan; `None`: no such queue.
    Scan(Option<Scan>),
    /// Bitmap and scan of one snapshot; `None`: no such queue.
    Bitmap(Option<(RoaringTreemap, Scan)>),
    /// The hash of each node asked for.
    History(Vec<Option<[u8; 32]>>),
    /// What to say instead of a delta.
    Denial(Denial),
}

/// Why there is nothing for a reader. [P-17]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No such queue here.
    UnknownQueue,
    /// It had access: the signed head and the encoded access rows, perhaps of a later head, show that it has none any more.
    Removed {
        /// Signed head.
        head: Bytes,
        /// Encoded access rows, ascending by pseudonym.
        rows: Vec<Bytes>,
    },
    /// It never had access as far as is known here. Whoever knows a queue's id can make a key and prove it; the list is not for them.
    Stranger,
    /// It has a row by now.
    Granted,
}

impl Read {
    /// Reads it. Blocks as the store does.
    ///
    /// # Errors
    /// Those of the store's reads.
    pub fn perform(&self, store: &dyn Store) -> Result<Answer, StoreError> {
        Ok(match self {
            Self::Access(queue, reader) => Answer::Access(store.access(queue, reader)?),
            Self::Grant(queue, hash) => Answer::Grant(store.attachment(queue, hash)?),
            Self::Scan(queue, after) => Answer::Scan(store.scan(queue, *after, CHUNK)?),
            Self::Bitmap(queue, through) => Answer::Bitmap(store.bitmap(queue, *through, CHUNK)?),
            Self::History(queue, nodes) => Answer::History(store.history(queue, nodes)?),
            Self::Denial(queue, reader) => Answer::Denial(Denial::read(store, queue, reader)?),
        })
    }
}

impl Denial {
    fn read(store: &dyn Store, queue: &QueueId, reader: &Pseudonym) -> Result<Self, StoreError> {
        let Some(row) = store.queue(queue)? else { return Ok(Self::UnknownQueue) };
        if store.was_removed(queue, reader)? {
            let rows = store.access_list(queue)?.into_iter().map(|(_, row)| row).collect();
            return Ok(Self::Removed { head: row.head, rows });
        }
        Ok(if store.access(queue, reader)?.is_some() { Self::Granted } else { Self::Stranger })
    }
}
