//! Randomness as an argument: a seed from the caller, expanded here.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::label::Label;

/// A stream of random bytes expanded from 32 bytes of the operating system's randomness.
///
/// The core draws no randomness of its own: a simulation passes a counter, a program passes fresh bytes for every call.
#[derive(ZeroizeOnDrop)]
pub struct Entropy {
    seed: [u8; 32],
    #[zeroize(skip)]
    stream: blake3::OutputReader,
}

impl Entropy {
    /// Expands `seed`. The same seed gives the same stream.
    pub fn new(mut seed: [u8; 32]) -> Self {
        let stream = Label::ENTROPY.expand(&[&seed]);
        let entropy = Self { seed, stream };
        seed.zeroize();
        entropy
    }

    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.fill(&mut bytes);
        bytes
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy([secret])")
    }
}
