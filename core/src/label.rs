//! One label for each hash, derived key, signature and sealing, so that nothing made for one purpose passes for another.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// A purpose: `tidings/1/<object>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(&'static str);

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Label {
            $($(#[$doc])* pub const $name: Self = Self(concat!("tidings/1/", $text));)*
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

labels! {
    /// Hash: queue id from a queue descriptor.
    QUEUE_ID = "queue-id";
    /// Derived key: salt of a node's default queue.
    QUEUE_SALT = "queue-salt";
    /// Hash: commitment to a key that is revealed later.
    KEY_COMMITMENT = "key-commitment";
    /// Derived key: reserved next signing key of a node.
    NEXT_KEY = "next-key";
    /// Derived key: reserved recovery key of a node.
    RECOVERY_KEY = "recovery-key";
    /// Derived key: Ed25519 seed of a node.
    SIGNING_KEY = "signing-key";
    /// Derived key: X-Wing seed of a node.
    EXCHANGE_KEY = "exchange-key";
    /// Signature: a card.
    CARD = "card";
    /// Hash: fingerprint of a card.
    FINGERPRINT = "fingerprint";
    /// Hash: digest of an entry.
    ENTRY = "entry";
    /// Hash: LtHash element of a live entry.
    LIVE_SET = "live-set";
    /// Hash: commitment to a live set.
    LIVE_SET_ROOT = "live-set-root";
    /// Hash: LtHash element of an access row.
    ACCESS_SET = "access-set";
    /// Hash: commitment to an access list.
    ACCESS_SET_ROOT = "access-set-root";
    /// Hash: list of purged offsets.
    PURGED = "purged";
    /// Hash and signature: a head.
    HEAD = "head";
    /// Hash: commitment to an epoch secret.
    EPOCH_COMMITMENT = "epoch-commitment";
    /// Derived key: sealing key of an epoch.
    SEAL_KEY = "seal-key";
    /// Derived key: nonce key of an epoch.
    NONCE_KEY = "nonce-key";
    /// Associated data of a sealed mutation.
    SEAL = "seal";
    /// Hash: nonce of an entry.
    NONCE = "nonce";
    /// Hash of a plaintext inside the nonce derivation.
    PLAINTEXT = "plaintext";
    /// HPKE info of a grant; signature over a grant.
    GRANT = "grant";
    /// HPKE info of an owner's copy of a reader row.
    OWNER_COPY = "owner-copy";
    /// Hash: name of an attachment.
    ATTACHMENT = "attachment";
    /// Derived key: Ed25519 seed of a pseudonym.
    PSEUDONYM = "pseudonym";
    /// Signature: an acknowledgement.
    ACKNOWLEDGEMENT = "acknowledgement";
    /// Signature: a receipt.
    RECEIPT = "receipt";
    /// Signature: a pulse.
    PULSE = "pulse";
    /// Signature: proof of a key on a connection. [P-18]
    PROOF = "proof";
    /// Signature and hash: an invitation.
    INVITATION = "invitation";
    /// Derived key: a key file's sealing key.
    KEY_FILE = "key-file";
    /// Hash: checksum of a key file.
    KEY_FILE_CHECKSUM = "key-file-checksum";
    /// Derived key: sealing key of an object in storage.
    OBJECT_KEY = "object-key";
    /// Associated data of a segment of a sealed object.
    OBJECT_SEGMENT = "object-segment";
    /// Hash: id of a sealed object.
    OBJECT = "object";
    /// Hash: a segment of live entries in storage.
    STORAGE_SEGMENT = "storage-segment";
    /// Hash: a bitmap of live offsets in storage.
    STORAGE_LIVE = "storage-live";
    /// Hash: a run of head hashes in storage.
    STORAGE_HISTORY = "storage-history";
    /// Hash: an access list in storage.
    STORAGE_ACCESS = "storage-access";
    /// Hash: name of a rescued value.
    RESCUED = "rescued";
    /// Derived stream: randomness expanded from a seed.
    ENTROPY = "entropy";
}

impl Label {
    /// The text itself.
    pub fn text(self) -> &'static str {
        self.0
    }

    /// BLAKE3 in key derivation mode with this label as context: a hash that no other label produces.
    pub fn hash(self, parts: &[&[u8]]) -> [u8; 32] {
        *self.hasher(parts).finalize().as_bytes()
    }

    /// The same as an extendable output.
    pub fn expand(self, parts: &[&[u8]]) -> blake3::OutputReader {
        self.hasher(parts).finalize_xof()
    }

    /// Ed25519 signature over label, a zero byte and the message.
    pub fn sign(self, key: &SigningKey, message: &[u8]) -> [u8; 64] {
        key.sign(&self.message(message)).to_bytes()
    }

    /// Whether `signature` is `key`'s over this label and message. A key or signature that is no curve point is simply false.
    pub fn verify(self, key: &tidings_proto::VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(key.bytes()) else { return false };
        // Strict: a small-order key would verify anything. [P-18]
        key.verify_strict(&self.message(message), &Signature::from_bytes(signature)).is_ok()
    }

    /// The same, to be continued.
    pub(crate) fn hasher(self, parts: &[&[u8]]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_derive_key(self.0);
        for part in parts {
            hasher.update(part);
        }
        hasher
    }

    fn message(self, message: &[u8]) -> Vec<u8> {
        let mut signed = Vec::with_capacity(self.0.len() + 1 + message.len());
        signed.extend_from_slice(self.0.as_bytes());
        // No label contains a zero byte, so no label and message run into another pair.
        signed.push(0);
        signed.extend_from_slice(message);
        signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_purposes_share_a_label() {
        let texts: HashSet<_> = Label::ALL.iter().map(|label| label.text()).collect();
        assert_eq!(texts.len(), Label::ALL.len());
    }

    #[test]
    fn a_signature_of_one_purpose_does_not_pass_for_another() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = tidings_proto::VerifyingKey::new(key.verifying_key().to_bytes());
        let signature = Label::HEAD.sign(&key, b"message");
        assert!(Label::HEAD.verify(&public, b"message", &signature));
        assert!(!Label::GRANT.verify(&public, b"message", &signature));
    }
}
