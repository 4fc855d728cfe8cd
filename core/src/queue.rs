//! Queue descriptor and the id that follows from it.

use tidings_proto::{QueueId, VerifyingKey};

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::label::Label;

/// The only cipher suite of this generation: Ed25519, X-Wing, XChaCha20-Poly1305, BLAKE3, SHA-256.
pub const SUITE: u8 = 1;

/// Everything a queue id commits to. Whoever holds the id can check the descriptor, and with it the owner's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDescriptor {
    /// Cipher suite; [`SUITE`].
    pub suite: u8,
    /// Tells queues of one owner apart. That of the default queue derives from the node key.
    pub salt: [u8; 32],
    /// Owner's Ed25519 key, which signs heads and grants.
    pub signing_key: VerifyingKey,
    /// Commitment to the owner's next signing key; zero is none.
    pub next_key: [u8; 32],
    /// Commitment to the owner's recovery key; zero is none.
    pub recovery_key: [u8; 32],
}

impl QueueDescriptor {
    /// The id: labelled hash over the encoded descriptor.
    pub fn id(&self) -> QueueId {
        QueueId::new(Label::QUEUE_ID.hash(&[&self.encode()]))
    }
}

impl Object for QueueDescriptor {
    const NAME: &'static str = "queue descriptor";

    fn write(&self, out: &mut Encoder) {
        out.u8(self.suite);
        out.raw(&self.salt);
        out.verifying_key(&self.signing_key);
        out.raw(&self.next_key);
        out.raw(&self.recovery_key);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let suite = input.u8("suite")?;
        if suite != SUITE {
            return Err(DecodeError::TooNew { object: "queue suite", found: suite });
        }
        Ok(Self {
            suite,
            salt: input.array("salt")?,
            signing_key: input.verifying_key()?,
            next_key: input.array("next key commitment")?,
            recovery_key: input.array("recovery key commitment")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding, flips};

    fn descriptor() -> QueueDescriptor {
        QueueDescriptor { suite: SUITE, salt: [1; 32], signing_key: VerifyingKey::new([2; 32]), next_key: [3; 32], recovery_key: [0; 32] }
    }

    #[test]
    fn a_descriptor_has_one_encoding() {
        assert_one_encoding(&descriptor());
        assert_every_bit_counts(&descriptor());
    }

    #[test]
    fn no_other_descriptor_has_the_same_id() {
        let id = descriptor().id();
        for other in flips(&descriptor().encode()).filter_map(|bytes| QueueDescriptor::decode(&bytes).ok()) {
            assert_ne!(other.id(), id);
        }
    }

    /// [P-20] Another suite may be right; a newer build could read it.
    #[test]
    fn an_unknown_suite_is_too_new() {
        let newer = QueueDescriptor { suite: 2, ..descriptor() };
        assert_eq!(QueueDescriptor::decode(&newer.encode()), Err(DecodeError::TooNew { object: "queue suite", found: 2 }));
    }
}
