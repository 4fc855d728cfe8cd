//! Objects that are named by the hash of their bytes and never change.

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::label::Label;

/// An object under a storage head that is written once.
pub trait Part: Object {
    /// Hash of its bytes. Another one for each kind, so that no part passes for one of another kind.
    const LABEL: Label;
    /// Folder of its kind, below the queue's.
    const FOLDER: &'static str;
    /// Longest encoding, bytes.
    const BYTES_MAX: usize;
}

/// How a storage head names a part: length and labelled hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartReference {
    /// Length in bytes.
    pub bytes: u32,
    /// Labelled hash, which is also its name in the storage.
    pub hash: [u8; 32],
}

/// Why bytes are not the part that a reference names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// Other bytes than the ones named: the storage altered or exchanged them.
    #[error("the storage holds other bytes than its head names")]
    Altered,
    /// The bytes named, but they are no such part.
    #[error("a part of the storage's index does not read: {0}")]
    Malformed(#[from] DecodeError),
}

impl PartReference {
    /// The reference of an encoded part of kind `P`.
    pub fn of<P: Part>(bytes: &[u8]) -> Self {
        // Longer ones than the kind's cap are refused wherever a reference is read.
        Self { bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX), hash: P::LABEL.hash(&[bytes]) }
    }

    /// Reads the part from its bytes, after comparing them with this reference.
    pub fn open<P: Part>(&self, bytes: &[u8]) -> Result<P, PartError> {
        if *self != Self::of::<P>(bytes) {
            return Err(PartError::Altered);
        }
        Ok(P::decode(bytes)?)
    }

    pub(super) fn write(&self, out: &mut Encoder) {
        out.u32(self.bytes);
        out.raw(&self.hash);
    }

    /// Refuses what is longer than a part of kind `P` may be.
    pub(super) fn read<P: Part>(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let reference = Self { bytes: input.u32("length of a part")?, hash: input.array("hash of a part")? };
        if reference.bytes as usize > P::BYTES_MAX {
            return Err(DecodeError::Invalid("a part exceeds its cap"));
        }
        Ok(reference)
    }
}
