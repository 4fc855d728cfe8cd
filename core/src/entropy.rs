//! Randomness as an argument: a seed from the caller, expanded here.

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};
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

/// The same stream, for HPKE.
impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.stream.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy([secret])")
    }
}
