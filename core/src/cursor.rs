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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding};
    use proptest::prelude::*;
    use tidings_proto::{HeadNumber, Term};

    fn cursor(term: u64, number: u64, offset: u64, head: [u8; 32]) -> Cursor {
        let rank = HeadRank { term: Term::new(term), number: HeadNumber::new(number) };
        Cursor { rank, offset: Offset::new(offset), head: HeadHash::new(head) }
    }

    #[test]
    fn the_start_of_a_queue_names_the_queue() {
        let start = Cursor::start(&QueueId::new([7; 32]));
        assert!(start.is_start());
        assert_eq!(start, cursor(0, 0, 0, [7; 32]));
        assert_one_encoding(&start);
    }

    #[test]
    fn a_cursor_between_start_and_first_head_is_refused() {
        for half in [cursor(1, 0, 0, [7; 32]), cursor(0, 1, 0, [7; 32]), cursor(0, 0, 1, [7; 32])] {
            assert!(matches!(Cursor::decode(&half.encode()), Err(DecodeError::Invalid(_))));
        }
    }

    proptest! {
        #[test]
        fn a_cursor_has_one_encoding(term in 1u64.., number in 1u64.., offset: u64, head: [u8; 32]) {
            assert_one_encoding(&cursor(term, number, offset, head));
            assert_every_bit_counts(&cursor(term, number, offset, head));
        }
    }
}
