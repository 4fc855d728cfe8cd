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
