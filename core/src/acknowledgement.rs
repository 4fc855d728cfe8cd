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
