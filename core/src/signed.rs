//! Signed objects that travel as body and 64 bytes of Ed25519 signature behind it.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tidings_proto::VerifyingKey;

use crate::codec::DecodeError;
use crate::label::Label;

/// Length of a signature, bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// Why bytes are not the signed object they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// The bytes are not this object, whoever signed them.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The bytes are this object, but not signed by the key that should have signed it.
    #[error("the signature does not verify")]
    Signature,
}

/// Body, then the signature over label and body.
pub(crate) fn append(mut body: Vec<u8>, label: Label, key: &SigningKey) -> Bytes {
    let signature = label.sign(key, &body);
    body.extend_from_slice(&signature);
    body.into()
}

/// Body and signature.
pub(crate) fn split(bytes: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_BYTES]), DecodeError> {
    bytes.split_last_chunk().ok_or(DecodeError::Truncated("signature"))
}

/// Whether the signature behind the body is `key`'s over `label` and body.
pub(crate) fn verify(bytes: &[u8], label: Label, key: &VerifyingKey) -> Result<(), SignedError> {
    let (body, signature) = split(bytes)?;
    if label.verify(key, body, signature) { Ok(()) } else { Err(SignedError::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shorter_than_a_signature_is_truncated() {
        assert_eq!(split(&[0; 63]), Err(DecodeError::Truncated("signature")));
    }

    #[test]
    fn a_body_signed_for_another_purpose_is_refused() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let public = VerifyingKey::new(key.verifying_key().to_bytes());
        let signed = append(b"body".to_vec(), Label::HEAD, &key);
        assert_eq!(verify(&signed, Label::HEAD, &public), Ok(()));
        assert_eq!(verify(&signed, Label::RECEIPT, &public), Err(SignedError::Signature));
    }
}
