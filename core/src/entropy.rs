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

#[cfg(test)]
mod tests {
    use super::*;
    use hpke::rand_core::Rng;

    #[test]
    fn the_same_seed_gives_the_same_stream_however_it_is_taken() {
        let (mut whole, mut parts) = (Entropy::new([1; 32]), Entropy::new([1; 32]));
        let bytes: [u8; 16] = whole.bytes();
        let mut filled = [0; 4];
        parts.fill_bytes(&mut filled);
        let (middle, last) = (parts.next_u64().to_le_bytes(), parts.next_u32().to_le_bytes());
        assert_eq!(bytes.as_slice(), [filled.as_slice(), &middle, &last].concat());
    }

    #[test]
    fn a_stream_goes_on_and_does_not_repeat() {
        let mut entropy = Entropy::new([1; 32]);
        assert_ne!(entropy.bytes::<32>(), entropy.bytes::<32>());
        assert_ne!(Entropy::new([1; 32]).bytes::<32>(), Entropy::new([2; 32]).bytes::<32>());
    }
}
