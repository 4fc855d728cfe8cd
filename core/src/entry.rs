//! A sealed mutation at its place in the queue.

use bytes::Bytes;
use tidings_proto::{Birth, EntryDigest, Epoch, Offset, QueueId, Term, caps};

use crate::codec::{DecodeError, Decoder, Encoder, Object, VERSION};
use crate::label::Label;

/// Length of everything before the ciphertext: version, four numbers, nonce, length.
pub const ENTRY_HEADER_BYTES: usize = 1 + 4 * 8 + 24 + 4;

/// Longest ciphertext, bytes: an encoded entry stays within [`caps::ENTRY_BYTES_MAX`].
pub const CIPHERTEXT_BYTES_MAX: usize = caps::ENTRY_BYTES_MAX - ENTRY_HEADER_BYTES;

/// One entry of a queue. All that a broker can read of it are these fields. [P-1]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Term it was signed in; from 1.
    pub term: Term,
    /// Place in the queue; from 1.
    pub offset: Offset,
    /// Offset of the record's first entry: this one's own or a lower one.
    pub birth: Birth,
    /// Epoch whose secret opens the ciphertext; from 1.
    pub epoch: Epoch,
    /// Nonce of the ciphertext.
    pub nonce: [u8; 24],
    /// Padded mutation, XChaCha20-Poly1305; at most [`CIPHERTEXT_BYTES_MAX`].
    pub ciphertext: Bytes,
}

impl Entry {
    /// Digest over the whole encoded entry and its queue: what the live set commits to.
    pub fn digest(&self, queue: &QueueId) -> EntryDigest {
        Self::digest_of(&self.encode(), queue)
    }

    /// The same for an entry that is encoded already. Does not parse `bytes`.
    pub fn digest_of(bytes: &[u8], queue: &QueueId) -> EntryDigest {
        EntryDigest::new(Label::ENTRY.hash(&[queue.bytes(), bytes]))
    }

    /// What the ciphertext is bound to: label, zero byte, queue, version and every other field, so that an entry moved
    /// to another place, birth, epoch or queue does not open. [P-1]
    pub fn associated_data(&self, queue: &QueueId) -> Vec<u8> {
        let mut out = Encoder::new();
        out.raw(Label::SEAL.text().as_bytes());
        out.u8(0);
        out.queue_id(queue);
        out.u8(VERSION);
        self.write_header(&mut out);
        out.finish()
    }

    fn write_header(&self, out: &mut Encoder) {
        out.term(self.term);
        out.offset(self.offset);
        out.birth(self.birth);
        out.epoch(self.epoch);
        out.raw(&self.nonce);
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.term == Term::ZERO || self.epoch == Epoch::ZERO {
            return Err(DecodeError::Invalid("terms and epochs of entries start at 1"));
        }
        // [P-2] Offsets start at 1; a record is born at its first entry.
        if self.birth == Birth::ZERO || self.birth.value() > self.offset.value() {
            return Err(DecodeError::Invalid("the birth of an entry lies between 1 and its own offset"));
        }
        Ok(())
    }
}

impl Object for Entry {
    const NAME: &'static str = "entry";

    fn write(&self, out: &mut Encoder) {
        self.write_header(out);
        out.bytes(&self.ciphertext);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let entry = Self {
            term: input.term()?,
            offset: input.offset()?,
            birth: input.birth()?,
            epoch: input.epoch()?,
            nonce: input.array("nonce")?,
            ciphertext: Bytes::copy_from_slice(input.bytes(CIPHERTEXT_BYTES_MAX, "ciphertext")?),
        };
        entry.check()?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding, flips};
    use proptest::prelude::*;

    const QUEUE: QueueId = QueueId::new([1; 32]);

    fn entry(offset: u64, birth: u64, ciphertext: Vec<u8>) -> Entry {
        Entry {
            term: Term::new(1),
            offset: Offset::new(offset),
            birth: Birth::new(birth),
            epoch: Epoch::new(2),
            nonce: [3; 24],
            ciphertext: ciphertext.into(),
        }
    }

    /// [P-2] Offsets start at 1, and a birth is the offset of a first entry: never one to come.
    #[test]
    fn an_entry_is_born_at_or_before_its_offset() {
        for (offset, birth) in [(0, 0), (5, 0), (5, 6)] {
            assert!(matches!(Entry::decode(&entry(offset, birth, vec![4; 20]).encode()), Err(DecodeError::Invalid(_))));
        }
        assert!(Entry::decode(&entry(5, 5, vec![4; 20]).encode()).is_ok());
    }

    #[test]
    fn terms_and_epochs_of_entries_start_at_one() {
        let entry = entry(5, 4, vec![]);
        for none in [Entry { term: Term::ZERO, ..entry.clone() }, Entry { epoch: Epoch::ZERO, ..entry }] {
            assert!(matches!(Entry::decode(&none.encode()), Err(DecodeError::Invalid(_))));
        }
    }

    /// [P-19] The cap on entries is met exactly, and one byte more is refused.
    #[test]
    fn the_longest_ciphertext_makes_the_longest_entry() {
        let longest = entry(1, 1, vec![4; CIPHERTEXT_BYTES_MAX]);
        assert_eq!(longest.encode().len(), caps::ENTRY_BYTES_MAX);
        assert_eq!(Entry::decode(&longest.encode()), Ok(longest));
        assert!(Entry::decode(&entry(1, 1, vec![4; CIPHERTEXT_BYTES_MAX + 1]).encode()).is_err());
    }

    #[test]
    fn a_digest_names_one_entry_of_one_queue() {
        let bytes = entry(5, 4, vec![4; 20]).encode();
        let digest = entry(5, 4, vec![4; 20]).digest(&QUEUE);
        assert_eq!(Entry::digest_of(&bytes, &QUEUE), digest);
        assert_ne!(Entry::digest_of(&bytes, &QueueId::new([2; 32])), digest);
        assert!(flips(&bytes).all(|other| Entry::digest_of(&other, &QUEUE) != digest));
    }

    /// [P-1] What a broker could rewrite beside the ciphertext is authenticated with it.
    #[test]
    fn associated_data_holds_everything_but_the_ciphertext() {
        let entry = entry(5, 4, vec![4; 20]);
        let data = entry.associated_data(&QUEUE);
        let others = [
            Entry { term: Term::new(2), ..entry.clone() },
            Entry { offset: Offset::new(6), ..entry.clone() },
            Entry { birth: Birth::new(3), ..entry.clone() },
            Entry { epoch: Epoch::new(3), ..entry.clone() },
            Entry { nonce: [4; 24], ..entry.clone() },
        ];
        assert!(others.iter().all(|other| other.associated_data(&QUEUE) != data));
        assert_ne!(entry.associated_data(&QueueId::new([2; 32])), data);
        assert_eq!(Entry { ciphertext: Bytes::new(), ..entry.clone() }.associated_data(&QUEUE), data);
    }

    #[test]
    fn every_bit_of_an_entry_counts() {
        assert_every_bit_counts(&entry(5, 4, vec![4; 20]));
    }

    proptest! {
        #[test]
        fn an_entry_has_one_encoding(birth in 1u64..1 << 40, later in 0u64..1 << 40, ciphertext in prop::collection::vec(any::<u8>(), 0..300)) {
            assert_one_encoding(&entry(birth + later, birth, ciphertext));
        }
    }
}
