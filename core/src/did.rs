//! `did:key`: a verifying key as text.

use std::fmt;
use std::str::FromStr;

use tidings_proto::VerifyingKey;

/// Multicodec number of an Ed25519 public key as a varint.
const ED25519_PUBLIC: [u8; 2] = [0xed, 0x01];
const PREFIX: &str = "did:key:z";
/// Base58 characters of 34 bytes that start with 0xed: 47 or 48.
const ENCODED_BYTES_MAX: usize = 48;

/// Name of a node: `did:key:z6Mk...`, multibase base58btc of its Ed25519 key.
///
/// Source: W3C CCG, The did:key Method. One key has one text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did(pub VerifyingKey);

/// Why a text is not the name of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DidError {
    /// It does not start with `did:key:z`.
    #[error("a node's name starts with did:key:z6Mk")]
    Prefix,
    /// It is not base58, or not of the length of a key.
    #[error("this did:key is cut short or mistyped")]
    Encoding,
    /// It names a key of another kind.
    #[error("this did:key is not an Ed25519 key")]
    Kind,
    /// It is no point of the curve, or one that verifies anything.
    #[error("this did:key is not a usable Ed25519 key")]
    Key,
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&ED25519_PUBLIC);
        bytes[2..].copy_from_slice(self.0.bytes());
        write!(f, "{PREFIX}{}", bs58::encode(bytes).into_string())
    }
}

impl FromStr for Did {
    type Err = DidError;

    fn from_str(text: &str) -> Result<Self, DidError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(DidError::Prefix)?;
        // Base58 takes quadratic time: the length comes first.
        if encoded.len() > ENCODED_BYTES_MAX {
            return Err(DidError::Encoding);
        }
        let bytes = bs58::decode(encoded).into_vec().map_err(|_| DidError::Encoding)?;
        let bytes: [u8; 34] = bytes.try_into().map_err(|_| DidError::Encoding)?;
        let (kind, key) = bytes.split_at(ED25519_PUBLIC.len());
        if kind != ED25519_PUBLIC {
            return Err(DidError::Kind);
        }
        VerifyingKey::try_from(key).ok().filter(is_usable).map(Self).ok_or(DidError::Key)
    }
}

fn is_usable(key: &VerifyingKey) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(key.bytes()).is_ok_and(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;
    use proptest::prelude::*;

    fn name_of(bytes: &[u8]) -> String {
        format!("{PREFIX}{}", bs58::encode(bytes).into_string())
    }

    #[test]
    fn a_name_starts_as_the_method_says() {
        assert!(NodeKey::from_seed([1; 32]).did().to_string().starts_with("did:key:z6Mk"));
    }

    /// Source: did:key method specification, test vector of Ed25519.
    #[test]
    fn a_published_name_is_read_and_written_back() {
        let name = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
        assert_eq!(name.parse::<Did>().map(|did| did.to_string()).as_deref(), Ok(name));
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&[0xec, 0x01]);
        assert_eq!(name_of(&bytes).parse::<Did>(), Err(DidError::Kind));
    }

    #[test]
    fn a_small_order_key_is_refused() {
        let mut bytes = [0; 34];
        bytes[..3].copy_from_slice(&[0xed, 0x01, 0x01]);
        assert_eq!(name_of(&bytes).parse::<Did>(), Err(DidError::Key));
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_before_it_is_decoded() {
        assert_eq!(format!("{PREFIX}{}", "6".repeat(1 << 20)).parse::<Did>(), Err(DidError::Encoding));
    }

    #[test]
    fn another_method_is_refused() {
        assert_eq!("did:web:example.org".parse::<Did>(), Err(DidError::Prefix));
    }

    proptest! {
        #[test]
        fn every_node_has_one_name(seed: [u8; 32]) {
            let did = NodeKey::from_seed(seed).did();
            prop_assert_eq!(did.to_string().parse(), Ok(did));
        }

        #[test]
        fn what_is_read_is_written_back(text in "did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{43,44}") {
            if let Ok(did) = text.parse::<Did>() {
                prop_assert_eq!(did.to_string(), text);
            }
        }
    }
}
