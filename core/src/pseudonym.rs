//! The key by which a broker knows a reader: another one for each queue.

use ed25519_dalek::SigningKey;
use tidings_proto::Pseudonym;

use crate::key;
use crate::label::Label;

/// Ed25519 key of a reader in one queue, derived from the seed in its grant. Zeroized on drop.
///
/// Nothing links it to the reader's node key or to its pseudonyms in other queues.
#[derive(Clone)]
pub struct PseudonymKey(SigningKey);

impl PseudonymKey {
    /// The key of a grant's seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(key::derive_signing(Label::PSEUDONYM, seed))
    }

    /// The public half.
    pub fn pseudonym(&self) -> Pseudonym {
        Pseudonym::new(self.0.verifying_key().to_bytes())
    }

    /// Proves this key on a connection: a signature over its TLS exporter and the key. [P-18]
    pub fn prove(&self, exporter: &[u8; 32]) -> [u8; 64] {
        key::prove(&self.0, exporter)
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.0
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::verify_proof;
    use tidings_proto::VerifyingKey;

    #[test]
    fn the_same_seed_is_the_same_pseudonym() {
        assert_eq!(PseudonymKey::from_seed(&[1; 32]).pseudonym(), PseudonymKey::from_seed(&[1; 32]).pseudonym());
        assert_ne!(PseudonymKey::from_seed(&[1; 32]).pseudonym(), PseudonymKey::from_seed(&[2; 32]).pseudonym());
    }

    /// A reader whose seed were its node's would be recognised in all queues.
    #[test]
    fn a_pseudonym_is_not_the_node_of_the_same_seed() {
        let node = crate::NodeKey::from_seed([1; 32]);
        assert_ne!(PseudonymKey::from_seed(&[1; 32]).pseudonym().bytes(), node.verifying_key().bytes());
    }

    /// [P-18]
    #[test]
    fn a_pseudonym_is_proven_on_one_connection() {
        let key = PseudonymKey::from_seed(&[1; 32]);
        let public = VerifyingKey::new(*key.pseudonym().bytes());
        let proof = key.prove(&[7; 32]);
        assert!(verify_proof(&public, &[7; 32], &proof));
        assert!(!verify_proof(&public, &[8; 32], &proof));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", PseudonymKey::from_seed(&[1; 32])), "PseudonymKey([secret])");
    }
}
