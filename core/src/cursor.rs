//! Where a reader stands: the last head it verified.

use tidings_proto::{HeadHash, HeadRank, Offset, QueueId};

use crate::codec::{DecodeError, Decoder, Encoder, Object};

/// Rank, offset and hash of a verified head. Names no broker: the same cursor is good at each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Term and number of the head; 0.0 before the first.
    pub rank: HeadRank,
    /// Newest offset of the head.
    pub offset: Offset,
    /// Hash of the head; before the first, the bytes of the queue id.
    pub head: HeadHash,
}

impl Cursor {
    /// Before the first head of `queue`.
    pub fn start(queue: &QueueId) -> Self {
        Self { rank: HeadRank::default(), offset: Offset::ZERO, head: HeadHash::new(*queue.bytes()) }
    }

    /// Whether no head was verified yet.
    pub fn is_start(&self) -> bool {
        self.rank == HeadRank::default()
    }
}

impl Object for Cursor {
    const NAME: &'static str = "cursor";

    fn write(&self, out: &mut Encoder) {
        out.rank(self.rank);
        out.offset(self.offset);
        out.head_hash(&self.head);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let cursor = Self { rank: input.rank()?, offset: input.offset()?, head: input.head_hash()? };
        let (term, number) = (cursor.rank.term.value(), cursor.rank.number.value());
        if (term == 0) != (number == 0) || (number == 0 && cursor.offset != Offset::ZERO) {
            return Err(DecodeError::Invalid("a cursor has either term and number, or stands at the start"));
        }
        Ok(cursor)
    }
}
