//! What a reader says it has durably: its cursor, signed with its pseudonym.

use bytes::Bytes;
use tidings_proto::{Pseudonym, QueueId, VerifyingKey};

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::cursor::Cursor;
use crate::label::Label;
use crate::pseudonym::PseudonymKey;
use crate::signed::{self, SignedError};

/// A reader's statement that everything up to `cursor` is durable at its side. Travels signed; see [`Self::sign`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Queue that was read.
    pub queue: QueueId,
    /// Reader, as brokers know it.
    pub reader: Pseudonym,
    /// Last head verified and stored.
    pub cursor: Cursor,
}

impl Acknowledgement {
    /// Encoded body and the signature of `key` behind it. `key` is that of `self.reader`, or the result verifies nowhere.
    pub fn sign(&self, key: &PseudonymKey) -> Bytes {
        signed::append(self.encode(), Label::ACKNOWLEDGEMENT, key.signing())
    }

    /// Reads a signed acknowledgement and checks that the reader it names signed it.
    ///
    /// # Errors
    /// [`SignedError::Malformed`] if the bytes are none, [`SignedError::Signature`] if another key signed.
    pub fn verify(bytes: &[u8]) -> Result<Acknowledgement, SignedError> {
        let acknowledgement = Self::decode(signed::split(bytes)?.0)?;
        let key = VerifyingKey::new(*acknowledgement.reader.bytes());
        signed::verify(bytes, Label::ACKNOWLEDGEMENT, &key)?;
        Ok(acknowledgement)
    }
}

impl Object for Acknowledgement {
    const NAME: &'static str = "acknowledgement";

    fn write(&self, out: &mut Encoder) {
        out.queue_id(&self.queue);
        out.pseudonym(&self.reader);
        self.cursor.write(out);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { queue: input.queue_id()?, reader: input.pseudonym()?, cursor: Cursor::read(input)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding, assert_signature_covers_everything};
    use tidings_proto::{HeadHash, HeadNumber, HeadRank, Offset, Term};

    fn acknowledgement(key: &PseudonymKey) -> Acknowledgement {
        let rank = HeadRank { term: Term::new(1), number: HeadNumber::new(5) };
        let cursor = Cursor { rank, offset: Offset::new(9), head: HeadHash::new([3; 32]) };
        Acknowledgement { queue: QueueId::new([2; 32]), reader: key.pseudonym(), cursor }
    }

    #[test]
    fn an_acknowledgement_has_one_encoding() {
        let acknowledgement = acknowledgement(&PseudonymKey::from_seed(&[1; 32]));
        assert_one_encoding(&acknowledgement);
        assert_every_bit_counts(&acknowledgement);
    }

    #[test]
    fn a_signed_acknowledgement_verifies_unchanged_only() {
        let key = PseudonymKey::from_seed(&[1; 32]);
        assert_signature_covers_everything(&acknowledgement(&key).sign(&key), Acknowledgement::verify);
    }

    #[test]
    fn nobody_acknowledges_for_another_reader() {
        let victim = acknowledgement(&PseudonymKey::from_seed(&[1; 32]));
        let forged = victim.sign(&PseudonymKey::from_seed(&[2; 32]));
        assert_eq!(Acknowledgement::verify(&forged), Err(SignedError::Signature));
    }
}
