//! Generations of the content key.

use tidings_proto::{Epoch, QueueId};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::entropy::Entropy;
use crate::label::Label;

/// Secret of one epoch: whoever has it reads every entry sealed in it. Zeroized on drop. [P-1]
#[derive(Clone, PartialEq, Eq)]
pub struct EpochSecret {
    /// Which generation.
    pub epoch: Epoch,
    secret: [u8; 32],
}

impl EpochSecret {
    /// A fresh secret for `epoch`.
    pub fn new(epoch: Epoch, entropy: &mut Entropy) -> Self {
        Self { epoch, secret: entropy.bytes() }
    }

    /// What heads say of this secret, so that all readers provably hold the same one. Tells nothing about it.
    ///
    /// XChaCha20-Poly1305 alone commits to no key: without this an owner could seal one entry that two readers read differently.
    pub fn commitment(&self, queue: &QueueId) -> [u8; 32] {
        self.derive(Label::EPOCH_COMMITMENT, queue)
    }

    pub(crate) fn seal_key(&self, queue: &QueueId) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.derive(Label::SEAL_KEY, queue))
    }

    pub(crate) fn nonce_key(&self, queue: &QueueId) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.derive(Label::NONCE_KEY, queue))
    }

    fn derive(&self, label: Label, queue: &QueueId) -> [u8; 32] {
        label.hash(&[&self.secret, queue.bytes(), &self.epoch.value().to_be_bytes()])
    }
}

impl Object for EpochSecret {
    const NAME: &'static str = "epoch-secret";

    fn write(&self, out: &mut Encoder) {
        out.epoch(self.epoch);
        out.raw(&self.secret);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { epoch: input.epoch()?, secret: input.array("epoch secret")? })
    }
}

impl Drop for EpochSecret {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl ZeroizeOnDrop for EpochSecret {}

impl std::fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EpochSecret({}, [secret])", self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding};

    const QUEUE: QueueId = QueueId::new([5; 32]);

    fn secret() -> EpochSecret {
        EpochSecret::new(Epoch::new(3), &mut Entropy::new([1; 32]))
    }

    #[test]
    fn a_secret_has_one_encoding() {
        assert_one_encoding(&secret());
        assert_every_bit_counts(&secret());
    }

    /// [P-1]
    #[test]
    fn commitment_sealing_key_and_nonce_key_tell_nothing_of_each_other() {
        let (seal_key, nonce_key) = (secret().seal_key(&QUEUE), secret().nonce_key(&QUEUE));
        assert_ne!(*seal_key, *nonce_key);
        assert_ne!(secret().commitment(&QUEUE), *seal_key);
        assert_ne!(secret().commitment(&QUEUE), secret().secret);
    }

    #[test]
    fn a_commitment_is_that_of_one_secret_one_epoch_and_one_queue() {
        let mut later = secret();
        later.epoch = Epoch::new(4);
        let other = EpochSecret::new(Epoch::new(3), &mut Entropy::new([2; 32]));
        for commitment in [later.commitment(&QUEUE), other.commitment(&QUEUE), secret().commitment(&QueueId::ZERO)] {
            assert_ne!(commitment, secret().commitment(&QUEUE));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", secret()), "EpochSecret(3, [secret])");
    }
}
