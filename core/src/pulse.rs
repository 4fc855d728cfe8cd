//! What an owner says between heads: "this is still my newest". [P-16]

use bytes::Bytes;
use tidings_proto::{HeadHash, HeadRank, QueueId, Timestamp, VerifyingKey};

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::key::NodeKey;
use crate::label::Label;
use crate::signed::{self, SignedError};

/// An owner's statement that a head was its newest at a time, and until when it promises to be heard of again. Travels signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The queue.
    pub queue: QueueId,
    /// Term and number of the newest head.
    pub rank: HeadRank,
    /// Its hash.
    pub head: HeadHash,
    /// When this was so, by the owner's clock.
    pub time: Timestamp,
    /// The next pulse comes before this, by the owner's clock; 0 promises nothing. Else above `time`.
    pub next: Timestamp,
}

impl Pulse {
    /// Encoded body and the owner's signature behind it.
    pub fn sign(&self, key: &NodeKey) -> Bytes {
        signed::append(self.encode(), Label::PULSE, key.signing())
    }

    /// Reads a signed pulse and checks that the owner with `key` signed it.
    ///
    /// # Errors
    /// [`SignedError::Malformed`] if the bytes are none, [`SignedError::Signature`] if another key signed.
    pub fn verify(bytes: &[u8], key: &VerifyingKey) -> Result<Pulse, SignedError> {
        let pulse = Self::decode(signed::split(bytes)?.0)?;
        signed::verify(bytes, Label::PULSE, key)?;
        Ok(pulse)
    }

    /// Until when the owner promised to be heard of; `None` if it promised nothing.
    pub fn promise(&self) -> Option<Timestamp> {
        (self.next != Timestamp::ZERO).then_some(self.next)
    }
}

impl Object for Pulse {
    const NAME: &'static str = "pulse";

    fn write(&self, out: &mut Encoder) {
        out.queue_id(&self.queue);
        out.rank(self.rank);
        out.head_hash(&self.head);
        out.timestamp(self.time);
        out.timestamp(self.next);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (queue, rank, head) = (input.queue_id()?, input.rank()?, input.head_hash()?);
        let pulse = Self { queue, rank, head, time: input.timestamp()?, next: input.timestamp()? };
        if pulse.rank.term.value() == 0 || pulse.rank.number.value() == 0 {
            return Err(DecodeError::Invalid("a pulse names a head; terms and numbers start at 1"));
        }
        if pulse.promise().is_some_and(|next| next <= pulse.time) {
            return Err(DecodeError::Invalid("a pulse promises a time after its own"));
        }
        Ok(pulse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding, assert_signature_covers_everything};
    use tidings_proto::{HeadNumber, Term};

    fn pulse() -> Pulse {
        let rank = HeadRank { term: Term::new(1), number: HeadNumber::new(5) };
        let (time, next) = (Timestamp::new(1_700_000_000_000), Timestamp::new(1_700_000_180_000));
        Pulse { queue: QueueId::new([2; 32]), rank, head: HeadHash::new([3; 32]), time, next }
    }

    #[test]
    fn a_pulse_has_one_encoding() {
        assert_one_encoding(&pulse());
        assert_every_bit_counts(&pulse());
    }

    #[test]
    fn a_signed_pulse_verifies_unchanged_only() {
        let key = NodeKey::from_seed([1; 32]);
        assert_signature_covers_everything(&pulse().sign(&key), |bytes| Pulse::verify(bytes, &key.verifying_key()));
    }

    #[test]
    fn a_pulse_of_another_owner_is_refused() {
        let signed = pulse().sign(&NodeKey::from_seed([1; 32]));
        let other = NodeKey::from_seed([2; 32]).verifying_key();
        assert_eq!(Pulse::verify(&signed, &other), Err(SignedError::Signature));
    }

    #[test]
    fn a_promise_of_the_past_is_none() {
        let past = Pulse { next: Timestamp::new(1), ..pulse() };
        assert!(matches!(Pulse::decode(&past.encode()), Err(DecodeError::Invalid(_))));
        assert_eq!(Pulse { next: Timestamp::ZERO, ..pulse() }.promise(), None);
    }
}
