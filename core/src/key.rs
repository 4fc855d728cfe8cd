//! The key of a node: one seed from which everything else derives.

use ed25519_dalek::SigningKey;
use tidings_proto::VerifyingKey;
use zeroize::Zeroizing;

use crate::card::Card;
use crate::did::Did;
use crate::entropy::Entropy;
use crate::exchange::ExchangeKey;
use crate::label::Label;
use crate::queue::{QueueDescriptor, SUITE};

/// Secret key of a node, zeroized on drop.
///
/// Of its one 32-byte seed every key has its own label: the signing key (Ed25519), the exchange key (X-Wing), the salt of
/// the default queue, and two keys that are only reserved: the next signing key and the recovery key. Card and descriptor
/// commit to the reserved keys so that a later recovery flow needs no new identity. As long as they derive from the seed they
/// protect against nobody who has it.
#[derive(Clone)]
pub struct NodeKey {
    seed: Zeroizing<[u8; 32]>,
    signing: SigningKey,
    exchange: ExchangeKey,
}

impl NodeKey {
    /// The node of a seed: the same seed gives the same identity and the same default queue.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let signing = derive_signing(Label::SIGNING_KEY, &seed);
        let exchange = ExchangeKey::from_seed(&Zeroizing::new(Label::EXCHANGE_KEY.hash(&[&*seed])));
        Self { seed, signing, exchange }
    }

    /// A new node.
    pub fn generate(entropy: &mut Entropy) -> Self {
        Self::from_seed(entropy.bytes())
    }

    /// Public half of the signing key: who this node is.
    pub fn verifying_key(&self) -> VerifyingKey {
        public(&self.signing)
    }

    /// The verifying key as text.
    pub fn did(&self) -> Did {
        Did(self.verifying_key())
    }

    /// The public card, signed; the same for the same seed.
    pub fn card(&self) -> Card {
        Card::sign(&self.signing, self.exchange.public_key(), self.recovery_commitment())
    }

    /// Descriptor of the queue that the key alone finds again.
    pub fn default_queue(&self) -> QueueDescriptor {
        QueueDescriptor {
            suite: SUITE,
            salt: Label::QUEUE_SALT.hash(&[&*self.seed]),
            signing_key: self.verifying_key(),
            next_key: self.commitment(Label::NEXT_KEY),
            recovery_key: self.recovery_commitment(),
        }
    }

    /// Node part of the versions this node gives: the first half of its verifying key.
    pub fn version_node(&self) -> [u8; 16] {
        let mut node = [0; 16];
        node.copy_from_slice(&self.verifying_key().bytes()[..16]);
        node
    }

    /// Proves this key on a connection: a signature over its TLS exporter and the key. [P-18]
    pub fn prove(&self, exporter: &[u8; 32]) -> [u8; 64] {
        prove(&self.signing, exporter)
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) fn exchange(&self) -> &ExchangeKey {
        &self.exchange
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    fn recovery_commitment(&self) -> [u8; 32] {
        self.commitment(Label::RECOVERY_KEY)
    }

    fn commitment(&self, label: Label) -> [u8; 32] {
        Label::KEY_COMMITMENT.hash(&[public(&derive_signing(label, &self.seed)).bytes()])
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey([secret])")
    }
}

/// Whether `signature` proves `key` on the connection with this TLS exporter. A proof of another connection is false. [P-18]
pub fn verify_proof(key: &VerifyingKey, exporter: &[u8; 32], signature: &[u8; 64]) -> bool {
    Label::PROOF.verify(key, &proof_message(exporter, key), signature)
}

pub(crate) fn prove(key: &SigningKey, exporter: &[u8; 32]) -> [u8; 64] {
    Label::PROOF.sign(key, &proof_message(exporter, &public(key)))
}

pub(crate) fn derive_signing(label: Label, seed: &[u8; 32]) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new(label.hash(&[seed])))
}

pub(crate) fn public(key: &SigningKey) -> VerifyingKey {
    VerifyingKey::new(key.verifying_key().to_bytes())
}

/// Exporter, then key: what is proven stands in the message and is not left to the signature's equation.
fn proof_message(exporter: &[u8; 32], key: &VerifyingKey) -> [u8; 64] {
    let mut message = [0; 64];
    message[..32].copy_from_slice(exporter);
    message[32..].copy_from_slice(key.bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const EXPORTER: [u8; 32] = [9; 32];

    fn node() -> NodeKey {
        NodeKey::from_seed([1; 32])
    }

    #[test]
    fn the_same_seed_is_the_same_node_with_the_same_queue() {
        assert_eq!(node().card(), node().card());
        assert_eq!(node().default_queue().id(), node().default_queue().id());
        assert_ne!(node().default_queue().id(), NodeKey::from_seed([2; 32]).default_queue().id());
    }

    #[test]
    fn no_two_derived_values_of_a_seed_are_equal() {
        let descriptor = node().default_queue();
        let seeds = [Label::SIGNING_KEY, Label::EXCHANGE_KEY, Label::NEXT_KEY, Label::RECOVERY_KEY].map(|label| label.hash(&[&[1; 32]]));
        let values = [descriptor.salt, descriptor.next_key, descriptor.recovery_key, *descriptor.signing_key.bytes()];
        assert_eq!(seeds.iter().chain(&values).collect::<HashSet<_>>().len(), 8);
    }

    #[test]
    fn card_and_default_queue_commit_to_the_same_recovery_key() {
        assert_eq!(node().card().recovery_key, node().default_queue().recovery_key);
    }

    #[test]
    fn two_generated_nodes_differ() {
        let mut entropy = Entropy::new([3; 32]);
        assert_ne!(NodeKey::generate(&mut entropy).did(), NodeKey::generate(&mut entropy).did());
    }

    /// [P-18]
    #[test]
    fn a_proof_holds_on_its_own_connection_only() {
        let proof = node().prove(&EXPORTER);
        assert!(verify_proof(&node().verifying_key(), &EXPORTER, &proof));
        assert!(!verify_proof(&node().verifying_key(), &[8; 32], &proof));
    }

    /// [P-18]
    #[test]
    fn a_proof_of_one_key_is_none_of_another() {
        let other = NodeKey::from_seed([2; 32]).verifying_key();
        assert!(!verify_proof(&other, &EXPORTER, &node().prove(&EXPORTER)));
    }

    /// [P-18] The identity point "verifies" any message under the loose equation.
    #[test]
    fn a_small_order_key_proves_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!verify_proof(&VerifyingKey::new(identity), &EXPORTER, &signature));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", node()), "NodeKey([secret])");
    }
}
