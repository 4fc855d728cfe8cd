//! Sealing a value piece by piece.

use std::fmt;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut;
use tidings_proto::caps::{OBJECT_BYTES_MAX, REFERENCE_TEXT_BYTES_MAX};
use zeroize::Zeroizing;

use super::{ObjectError, ObjectHasher, SEGMENT_BYTES, Segment, TAG_BYTES, ValueHasher, cipher, object_name, padded};
use crate::codec::VERSION;
use crate::entropy::Entropy;
use crate::mutation::{ObjectKey, ObjectReference};

/// Seals one value under a key drawn for it alone. Holds at most one segment of it.
pub struct ObjectSealer {
    key: ObjectKey,
    cipher: XChaCha20Poly1305,
    /// Plaintext of the segment that is not sealed yet.
    segment: Zeroizing<Vec<u8>>,
    index: u64,
    size: u64,
    value: ValueHasher,
    sealed: ObjectHasher,
}

impl ObjectSealer {
    /// Draws the key of the object.
    pub fn new(entropy: &mut Entropy) -> Self {
        let key = ObjectKey::new(entropy.bytes());
        Self {
            cipher: cipher(&key),
            key,
            segment: Zeroizing::new(Vec::with_capacity(SEGMENT_BYTES + TAG_BYTES)),
            index: 0,
            size: 0,
            value: ValueHasher::new(),
            sealed: ObjectHasher::new(),
        }
    }

    /// Takes the next bytes of the value; appends to `out` what is sealed of it.
    ///
    /// # Errors
    /// `TooLarge`: the value is longer than [`OBJECT_BYTES_MAX`]; nothing of this call was taken.
    pub fn update(&mut self, value: &[u8], out: &mut Vec<u8>) -> Result<(), ObjectError> {
        let size = self.size.saturating_add(value.len() as u64);
        if size > OBJECT_BYTES_MAX {
            return Err(ObjectError::TooLarge);
        }
        self.size = size;
        self.value.update(value);
        self.take(value, out);
        Ok(())
    }

    /// Pads and seals what is left, appends it to `out`, and gives the reference that opens the object.
    ///
    /// # Errors
    /// `ContentType`: it is longer than a reference can hold.
    pub fn finish(mut self, out: &mut Vec<u8>, content_type: String) -> Result<ObjectReference, ObjectError> {
        if content_type.len() > REFERENCE_TEXT_BYTES_MAX {
            return Err(ObjectError::ContentType);
        }
        let padded = padded(self.size).ok_or(ObjectError::TooLarge)? as u64;
        let mut zeros = padded - self.size;
        while zeros > 0 {
            let some = zeros.min(SEGMENT_BYTES as u64);
            self.take(&[0; SEGMENT_BYTES][..usize::try_from(some).expect("at most a segment")], out);
            zeros -= some;
        }
        self.seal(true, out);
        let id = self.sealed.finish();
        Ok(ObjectReference {
            id,
            name: object_name(&id),
            key: self.key,
            plaintext_hash: self.value.finish(),
            size: self.size,
            content_type,
        })
    }

    fn take(&mut self, mut plaintext: &[u8], out: &mut Vec<u8>) {
        while !plaintext.is_empty() {
            // Only when more comes: the last segment is sealed as such, full or not.
            if self.segment.len() == SEGMENT_BYTES {
                self.seal(false, out);
            }
            let (now, later) = plaintext.split_at(plaintext.len().min(SEGMENT_BYTES - self.segment.len()));
            self.segment.extend_from_slice(now);
            plaintext = later;
        }
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) {
        let start = out.len();
        if self.index == 0 {
            out.push(VERSION);
        }
        let segment = Segment { index: self.index, last };
        self.cipher
            .encrypt_in_place(&segment.nonce(), &segment.associated_data(), &mut *self.segment)
            .expect("a segment is far below the cipher's limit of 256 GiB");
        out.extend_from_slice(&self.segment);
        self.sealed.update(&out[start..]);
        self.segment.clear();
        self.index += 1;
    }
}

impl fmt::Debug for ObjectSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectSealer({} bytes, [secret])", self.size)
    }
}
