//! Opening a sealed object piece by piece.

use std::fmt;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut;
use zeroize::Zeroizing;

use super::{ObjectError, SEGMENT_BYTES, Segment, TAG_BYTES, ValueHasher, cipher, padded};
use crate::codec::VERSION;
use crate::mutation::ObjectReference;

/// Opens one object. Each segment is authenticated before a byte of it comes out, but only [`Self::finish`] says that the value is
/// whole: until then nothing of it may leave the caller.
pub struct ObjectOpener {
    cipher: XChaCha20Poly1305,
    /// Sealed bytes of the segment that is not complete yet.
    segment: Zeroizing<Vec<u8>>,
    version_read: bool,
    index: u64,
    /// Padded plaintext that is still to come, bytes.
    padded_left: usize,
    /// Bytes of the value among it.
    value_left: u64,
    plaintext_hash: [u8; 32],
    value: ValueHasher,
    failed: bool,
}

impl ObjectOpener {
    /// Opens the object that `reference` is of.
    ///
    /// # Errors
    /// `TooLarge`: the reference tells a size above the cap.
    pub fn new(reference: &ObjectReference) -> Result<Self, ObjectError> {
        Ok(Self {
            cipher: cipher(&reference.key),
            segment: Zeroizing::new(Vec::with_capacity(SEGMENT_BYTES + TAG_BYTES)),
            version_read: false,
            index: 0,
            padded_left: padded(reference.size).ok_or(ObjectError::TooLarge)?,
            value_left: reference.size,
            plaintext_hash: reference.plaintext_hash,
            value: ValueHasher::new(),
            failed: false,
        })
    }

    /// Takes the next sealed bytes; appends to `out` what they open to.
    ///
    /// # Errors
    /// Nothing of this object may be used; every later call fails too.
    pub fn update(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), ObjectError> {
        let done = if self.failed { Err(ObjectError::Altered) } else { self.take(sealed, out) };
        self.failed |= done.is_err();
        done
    }

    /// Checks that all of it came and that it is the value of the reference.
    pub fn finish(self) -> Result<(), ObjectError> {
        if self.failed || self.padded_left > 0 {
            return Err(ObjectError::Altered);
        }
        if self.value.finish() == self.plaintext_hash { Ok(()) } else { Err(ObjectError::Malformed) }
    }

    fn take(&mut self, mut sealed: &[u8], out: &mut Vec<u8>) -> Result<(), ObjectError> {
        if !self.version_read {
            let Some((version, rest)) = sealed.split_first() else { return Ok(()) };
            if *version != VERSION {
                return Err(if *version > VERSION { ObjectError::TooNew } else { ObjectError::Altered });
            }
            (self.version_read, sealed) = (true, rest);
        }
        while !sealed.is_empty() {
            // The size in the reference says where the object ends; what comes after was added.
            if self.padded_left == 0 {
                return Err(ObjectError::Altered);
            }
            let whole = self.padded_left.min(SEGMENT_BYTES) + TAG_BYTES;
            let (now, later) = sealed.split_at(sealed.len().min(whole - self.segment.len()));
            self.segment.extend_from_slice(now);
            if self.segment.len() == whole {
                self.open(out)?;
            }
            sealed = later;
        }
        Ok(())
    }

    fn open(&mut self, out: &mut Vec<u8>) -> Result<(), ObjectError> {
        let segment = Segment { index: self.index, last: self.padded_left <= SEGMENT_BYTES };
        self.cipher.decrypt_in_place(&segment.nonce(), &segment.associated_data(), &mut *self.segment).map_err(|_| ObjectError::Altered)?;
        self.padded_left -= self.segment.len();
        self.index += 1;
        let of_value = usize::try_from(self.value_left).unwrap_or(usize::MAX).min(self.segment.len());
        let (value, padding) = self.segment.split_at(of_value);
        // One value has one sealed length and nothing beside it.
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ObjectError::Malformed);
        }
        self.value.update(value);
        self.value_left -= of_value as u64;
        out.extend_from_slice(value);
        self.segment.clear();
        Ok(())
    }
}

impl fmt::Debug for ObjectOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectOpener({} bytes to come, [secret])", self.value_left)
    }
}
