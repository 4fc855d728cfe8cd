//! What a broker says it has durably: "I hold this head since then".

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tidings_proto::{HeadHash, HeadRank, QueueId, Timestamp, VerifyingKey};
use zeroize::Zeroize;

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::label::Label;
use crate::signed::{self, SignedError};

/// A broker's statement, made only after the sync, that it holds a head and all its entries. Travels signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Queue of the head.
    pub queue: QueueId,
    /// Term and number of the head.
    pub rank: HeadRank,
    /// Hash of the head.
    pub head: HeadHash,
    /// When the broker stored it, by its own clock.
    pub since: Timestamp,
}

impl Receipt {
    /// Encoded body and the signature of `key` behind it.
    pub fn sign(&self, key: &ReceiptKey) -> Bytes {
        signed::append(self.encode(), Label::RECEIPT, &key.0)
    }

    /// Reads a signed receipt and checks that `key` signed it.
    ///
    /// # Errors
    /// [`SignedError::Malformed`] if the bytes are none, [`SignedError::Signature`] if another key signed.
    pub fn verify(bytes: &[u8], key: &VerifyingKey) -> Result<Receipt, SignedError> {
        let receipt = Self::decode(signed::split(bytes)?.0)?;
        signed::verify(bytes, Label::RECEIPT, key)?;
        Ok(receipt)
    }
}

impl Object for Receipt {
    const NAME: &'static str = "receipt";

    fn write(&self, out: &mut Encoder) {
        out.queue_id(&self.queue);
        out.rank(self.rank);
        out.head_hash(&self.head);
        out.timestamp(self.since);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let receipt = Self { queue: input.queue_id()?, rank: input.rank()?, head: input.head_hash()?, since: input.timestamp()? };
        if receipt.rank.term.value() == 0 || receipt.rank.number.value() == 0 {
            return Err(DecodeError::Invalid("a receipt names a head; terms and numbers start at 1"));
        }
        Ok(receipt)
    }
}

/// Ed25519 key of a broker's receipts. Zeroized when dropped.
pub struct ReceiptKey(SigningKey);

impl ReceiptKey {
    /// The key of a 32-byte secret seed.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let key = Self(SigningKey::from_bytes(&seed));
        seed.zeroize();
        key
    }

    /// The public half, as named in the broker's address.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::new(self.0.verifying_key().to_bytes())
    }
}

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiptKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding, assert_signature_covers_everything};
    use tidings_proto::{HeadNumber, Term};

    fn receipt() -> Receipt {
        let rank = HeadRank { term: Term::new(1), number: HeadNumber::new(5) };
        Receipt { queue: QueueId::new([2; 32]), rank, head: HeadHash::new([3; 32]), since: Timestamp::new(1_700_000_000_000) }
    }

    #[test]
    fn a_receipt_has_one_encoding() {
        assert_one_encoding(&receipt());
        assert_every_bit_counts(&receipt());
    }

    #[test]
    fn a_signed_receipt_verifies_unchanged_only() {
        let key = ReceiptKey::from_seed([1; 32]);
        assert_signature_covers_everything(&receipt().sign(&key), |bytes| Receipt::verify(bytes, &key.verifying_key()));
    }

    #[test]
    fn a_receipt_of_another_broker_is_refused() {
        let signed = receipt().sign(&ReceiptKey::from_seed([1; 32]));
        let other = ReceiptKey::from_seed([2; 32]).verifying_key();
        assert_eq!(Receipt::verify(&signed, &other), Err(SignedError::Signature));
    }

    #[test]
    fn there_is_no_receipt_for_no_head() {
        let nothing = Receipt { rank: HeadRank::default(), ..receipt() };
        assert!(matches!(Receipt::decode(&nothing.encode()), Err(DecodeError::Invalid(_))));
    }

    #[test]
    fn a_receipt_key_does_not_show_in_logs() {
        assert_eq!(format!("{:?}", ReceiptKey::from_seed([1; 32])), "ReceiptKey([secret])");
    }
}
