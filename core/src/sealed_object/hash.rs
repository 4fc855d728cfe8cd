//! The two hashes of an object, taken piece by piece.

use std::fmt;

use crate::label::Label;

/// Id of a sealed object: labelled hash of all its sealed bytes.
pub struct ObjectHasher(blake3::Hasher);

impl ObjectHasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self(Label::OBJECT.hasher(&[]))
    }

    /// The next sealed bytes.
    pub fn update(&mut self, sealed: &[u8]) {
        self.0.update(sealed);
    }

    /// The id.
    pub fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// BLAKE3 of a value, as references and events tell it.
pub struct ValueHasher(blake3::Hasher);

impl ValueHasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    /// The next bytes of the value.
    pub fn update(&mut self, value: &[u8]) {
        self.0.update(value);
    }

    /// The hash.
    pub fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

impl Default for ObjectHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for ValueHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ObjectHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectHasher")
    }
}

impl fmt::Debug for ValueHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValueHasher([secret])")
    }
}
