//! Sealing to a node: HPKE (RFC 9180) in base mode with X-Wing, HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! The only suite; it is never negotiated. Base mode names no sender: who sealed is shown by a signature outside.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::label::Label;

/// X-Wing public key: ML-KEM-768, then X25519.
pub(crate) const PUBLIC_KEY_BYTES: usize = 1216;
/// X-Wing ciphertext that stands before the sealed bytes.
pub(crate) const ENCAPSULATED_BYTES: usize = 1120;

type PublicKey = <XWing as Kem>::PublicKey;
type PrivateKey = <XWing as Kem>::PrivateKey;
type EncapsulatedKey = <XWing as Kem>::EncappedKey;

/// X-Wing key pair of a node; the private half is its seed. Zeroized on drop.
#[derive(Clone)]
pub(crate) struct ExchangeKey(PrivateKey);

impl ExchangeKey {
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        Self(PrivateKey::from_bytes(seed).expect("an X-Wing private key is any 32 bytes"))
    }

    pub(crate) fn public_key(&self) -> Box<[u8; PUBLIC_KEY_BYTES]> {
        let mut bytes = Box::new([0; PUBLIC_KEY_BYTES]);
        XWing::sk_to_pk(&self.0).write_exact(bytes.as_mut_slice());
        bytes
    }

    /// Opens what [`seal`] made for this key and the same `info`; `None` for anything else.
    pub(crate) fn open(&self, info: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES)?;
        let encapsulated = EncapsulatedKey::from_bytes(encapsulated).ok()?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeR::Base, &self.0, &encapsulated, info, ciphertext, b"")
            .ok()
            .map(Zeroizing::new)
    }
}

/// Whether something can be sealed to these bytes.
pub(crate) fn is_public_key(bytes: &[u8; PUBLIC_KEY_BYTES]) -> bool {
    PublicKey::from_bytes(bytes).is_ok()
}

/// Encapsulated key, then ciphertext. `None` if `to` is no public key.
pub(crate) fn seal(to: &[u8; PUBLIC_KEY_BYTES], info: &[u8], plaintext: &[u8], entropy: &mut Entropy) -> Option<Vec<u8>> {
    let to = PublicKey::from_bytes(to).ok()?;
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(&OpModeS::Base, &to, info, plaintext, b"", entropy).ok()?;
    let mut sealed = Vec::with_capacity(ENCAPSULATED_BYTES + ciphertext.len());
    sealed.extend_from_slice(&encapsulated.to_bytes());
    sealed.extend_from_slice(&ciphertext);
    Some(sealed)
}

/// What a sealing is bound to: label, a zero byte, parts of fixed width.
pub(crate) fn info(label: Label, parts: &[&[u8]]) -> Vec<u8> {
    let mut info = label.text().as_bytes().to_vec();
    info.push(0);
    parts.iter().for_each(|part| info.extend_from_slice(part));
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        seal(&key().public_key(), b"info", b"plaintext", &mut Entropy::new([2; 32])).expect("a public key")
    }

    fn key() -> ExchangeKey {
        ExchangeKey::from_seed(&[1; 32])
    }

    #[test]
    fn what_is_sealed_opens_for_its_key_and_info() {
        assert_eq!(key().open(b"info", &sealed()).as_deref().map(Vec::as_slice), Some(b"plaintext".as_slice()));
    }

    #[test]
    fn another_key_and_another_info_open_nothing() {
        assert!(key().open(b"other", &sealed()).is_none());
        assert!(ExchangeKey::from_seed(&[2; 32]).open(b"info", &sealed()).is_none());
    }

    #[test]
    fn a_changed_byte_anywhere_opens_nothing() {
        for place in 0..sealed().len() {
            let mut changed = sealed();
            changed[place] ^= 0x80;
            assert!(key().open(b"info", &changed).is_none(), "byte {place}");
        }
    }

    #[test]
    fn a_sealing_without_a_whole_key_opens_nothing() {
        for length in [0, 1, ENCAPSULATED_BYTES - 1, ENCAPSULATED_BYTES, ENCAPSULATED_BYTES + 15] {
            assert!(key().open(b"info", &sealed()[..length]).is_none());
        }
    }

    /// A key of zeros would make the classical half of the exchange known to everybody.
    #[test]
    fn an_encapsulated_key_of_zeros_opens_nothing() {
        let mut zeros = sealed();
        zeros[..ENCAPSULATED_BYTES].fill(0);
        assert!(key().open(b"info", &zeros).is_none());
    }
}
