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
