//! Who the nodes of a run are.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use tidings_core::{Entropy, NodeKey};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// 32 bytes from which the keys of all nodes of a run follow.
#[derive(Clone)]
pub(super) struct Seed(Zeroizing<[u8; 32]>);

/// Keys in their order: the same ones for the same seed.
#[derive(Debug)]
pub(super) struct Keys(Entropy);

impl Seed {
    /// One that nobody foresees.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(super) fn random() -> Result<Self, Failure> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| Failure::new(format!("the system gives no randomness: {error}"), "repeat later"))?;
        Ok(Self(seed))
    }

    /// Keys of owners, and keys of readers. How many are taken of the one changes nothing about the other.
    pub(super) fn keys(&self) -> (Keys, Keys) {
        let mut root = Entropy::new(*self.0);
        (Keys(Entropy::new(root.bytes())), Keys(Entropy::new(root.bytes())))
    }
}

impl Keys {
    /// The next one.
    pub(super) fn next(&mut self) -> NodeKey {
        NodeKey::generate(&mut self.0)
    }
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| wrong())?);
        let seed: [u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong())?;
        Ok(Self(Zeroizing::new(seed)))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed([secret])")
    }
}

fn wrong() -> String {
    "a seed has 64 hexadecimal digits".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(text: &str, readers: usize) -> Vec<String> {
        let (mut owners, mut others) = text.parse::<Seed>().expect("a seed").keys();
        (0..readers).for_each(|_| drop(others.next()));
        (0..3).map(|_| owners.next().did().to_string()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_owners_however_many_readers_there_are() {
        let (one, other) = ("01".repeat(32), "02".repeat(32));
        assert_eq!(owners(&one, 0), owners(&one, 5));
        assert_ne!(owners(&one, 0), owners(&other, 0));
    }

    #[test]
    fn what_is_no_seed_is_refused_and_a_seed_is_not_shown() {
        assert!("0".repeat(63).parse::<Seed>().is_err() && "g".repeat(64).parse::<Seed>().is_err());
        assert_eq!(format!("{:?}", "ab".repeat(32).parse::<Seed>()), "Ok(Seed([secret]))");
    }
}
