//! A value too large for the queue, sealed for a storage that nobody has to trust. [P-1]
//!
//! A version byte, then segments of 64 KiB of plaintext, each sealed by itself, so that both sides work in bounded memory. What
//! names the object is the hash of all sealed bytes; what opens it is a random key of its own, which travels in the mutation.

mod hash; // ids and hashes, streaming
mod open;
mod seal;

pub use hash::{ObjectHasher, ValueHasher};
pub use open::ObjectOpener;
pub use seal::ObjectSealer;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use tidings_proto::caps::OBJECT_BYTES_MAX;

use crate::codec::VERSION;
use crate::label::Label;
use crate::mutation::ObjectKey;
use crate::seal::padded_bytes;

/// Plaintext of every segment but the last, bytes.
pub const SEGMENT_BYTES: usize = 64 * 1024;
/// Poly1305 tag behind each segment.
const TAG_BYTES: usize = 16;
/// Version byte before the first segment.
const PREFIX_BYTES: usize = 1;

/// Why a value is not sealed, or a sealed object does not open. Nothing of it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The value is longer than [`OBJECT_BYTES_MAX`].
    #[error("a value has at most {OBJECT_BYTES_MAX} bytes")]
    TooLarge,
    /// The content type does not fit into a reference.
    #[error("the content type is too long")]
    ContentType,
    /// Sealed by a newer version of this program. [P-20]
    #[error("the object needs a newer version of this program")]
    TooNew,
    /// These are not the bytes that the owner sealed under this reference: altered, cut, extended or of another object.
    #[error("the object is not what the owner sealed")]
    Altered,
    /// The owner sealed it, but its reference tells another size or hash, or the padding is not zeros.
    #[error("the object does not fit its reference")]
    Malformed,
}

/// Name of an object in storage, made of its id: `objects/<2 hex>/<hex>`. Readers derive it too; the name in a reference is for
/// people and never followed.
pub fn object_name(id: &[u8; 32]) -> String {
    let hex = data_encoding::HEXLOWER.encode(id);
    format!("objects/{}/{hex}", &hex[..2])
}

/// Length of the sealed object of a value of `size` bytes; `None` if the value may not be so long.
pub fn sealed_bytes(size: u64) -> Option<u64> {
    let padded = padded(size)?;
    let tags = padded.div_ceil(SEGMENT_BYTES) * TAG_BYTES;
    u64::try_from(PREFIX_BYTES + padded + tags).ok()
}

/// Length of the padded value.
fn padded(size: u64) -> Option<usize> {
    let size = usize::try_from(size).ok().filter(|_| size <= OBJECT_BYTES_MAX)?;
    Some(padded_bytes(size))
}

fn cipher(key: &ObjectKey) -> XChaCha20Poly1305 {
    let key = zeroize::Zeroizing::new(Label::OBJECT_KEY.hash(&[key.bytes()]));
    XChaCha20Poly1305::new((&*key).into())
}

/// Place of a segment in its object.
#[derive(Clone, Copy)]
struct Segment {
    index: u64,
    last: bool,
}

impl Segment {
    /// The key seals one object only, so the place alone never repeats under it. The flag makes a cut at a boundary fail.
    fn nonce(self) -> XNonce {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.index.to_be_bytes());
        nonce[8] = u8::from(self.last);
        nonce.into()
    }

    fn associated_data(self) -> Vec<u8> {
        let mut data = Label::OBJECT_SEGMENT.text().as_bytes().to_vec();
        data.extend_from_slice(&[0, VERSION]);
        data.extend_from_slice(&self.index.to_be_bytes());
        data
    }
}

#[cfg(test)]
mod tests;
