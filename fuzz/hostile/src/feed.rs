//! What a decoder is fed: honest rows, and everything hostile that is made of them.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::alone::{FED, Peak};
use crate::mutation::{Dice, mutated};

/// How much of what depends on a seed.
#[derive(Clone, Copy, Debug)]
pub struct Meal {
    /// Inputs of random bytes.
    pub random: u64,
    /// Mutations of honest rows.
    pub mutations: u64,
}

impl Meal {
    /// For what reads bytes.
    pub const LARGE: Self = Self { random: 2_000, mutations: 6_000 };
    /// For what goes through a database, or starts something.
    pub const SMALL: Self = Self { random: 200, mutations: 1_000 };
}

/// Longest random input, bytes.
const RANDOM_BYTES_MAX: usize = 600;
/// What takes the place of every four bytes: as a length or a count, what no row holds.
const LENGTHS: [u32; 4] = [u32::MAX, i32::MAX as u32, 1 << 24, 0];

/// Feeds a decoder: each honest row, cut at every place, with every single bit flipped, with every four bytes read as a length that nothing
/// keeps, with something behind it; random bytes; mutations.
///
/// `read` gives what the value that was read is written to, or `None` if the bytes were refused. Of a row of an older version, which is
/// written otherwise, it checks that itself and gives the bytes back.
///
/// # Panics
/// If `read` does, if an honest row is refused, if bytes are read that are written otherwise, or if more memory was asked for than
/// [`alone`](crate::alone) allows; with the input, and what it was made from.
pub fn feed(name: &str, meal: Meal, honest: &[Vec<u8>], read: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let (peak, mut eaten, mut taken) = (Peak::now(), 0_u64, 0_u64);
    let mut give = |input: &[u8], what: &dyn Fn() -> String| {
        let right = catch_unwind(AssertUnwindSafe(|| {
            let written = read(input);
            assert!(
                written.as_ref().is_none_or(|written| written == input),
                "it is written as other bytes: {}",
                hex(&written.unwrap_or_default())
            );
            written.is_some()
        }));
        eaten += 1;
        taken += u64::from(*right.as_ref().unwrap_or_else(|_| panic!("{name}, {}: {}", what(), hex(input))));
        right.is_ok_and(|taken| taken)
    };
    for (number, row) in honest.iter().enumerate() {
        assert!(give(row, &|| format!("honest row {number}")), "{name}: honest row {number} is refused: {}", hex(row));
        bent(row, |input, what| {
            give(input, &|| format!("honest row {number} {}", what()));
        });
    }
    for seed in 0..meal.random {
        give(&random(seed), &|| format!("random seed {seed}"));
    }
    for seed in 0..meal.mutations {
        let mut dice = Dice::new(seed);
        let (at, other) = (dice.below(honest.len()), dice.below(honest.len()));
        give(&mutated(&honest[at], &honest[other], &mut dice), &|| format!("mutation seed {seed}"));
    }
    peak.holds(name);
    println!("{name}: {eaten}{FED}, {taken} of them read");
}

/// Everything that is made of one row without a seed.
fn bent(row: &[u8], mut give: impl FnMut(&[u8], &dyn Fn() -> String)) {
    (0..row.len()).for_each(|length| give(&row[..length], &|| format!("cut at {length}")));
    let mut bytes = row.to_vec();
    for bit in 0..row.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        give(&bytes, &|| format!("with bit {bit} flipped"));
        bytes[bit / 8] = row[bit / 8];
    }
    for at in 0..row.len().saturating_sub(3) {
        for length in LENGTHS {
            bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            give(&bytes, &|| format!("with {length} at {at}"));
        }
        bytes[at..at + 4].copy_from_slice(&row[at..at + 4]);
    }
    give(&[row, &[0]].concat(), &|| "with a byte behind it".to_owned());
    give(&[row, row].concat(), &|| "twice".to_owned());
}

fn random(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(!seed);
    (0..dice.below(RANDOM_BYTES_MAX)).map(|_| dice.roll() as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alone;

    /// A length and so many bytes.
    fn counted(bytes: &[u8]) -> Option<Vec<u8>> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        (u32::from_be_bytes(*length) as usize == rest.len()).then(|| bytes.to_vec())
    }

    fn honest() -> [Vec<u8>; 1] {
        [b"\0\0\0\x03row".to_vec()]
    }

    #[test]
    fn a_decoder_that_keeps_the_law_is_satisfied() {
        alone(concat!(module_path!(), "::a_decoder_that_keeps_the_law_is_satisfied"), || {
            feed("counted", Meal::LARGE, &honest(), counted);
        });
    }

    #[test]
    #[should_panic(expected = "with bit 40 flipped")]
    fn a_decoder_that_overlooks_a_bit_is_found() {
        feed("careless", Meal::SMALL, &honest(), |bytes| {
            let mut read = counted(bytes)?;
            read.iter_mut().skip(5).take(1).for_each(|byte| *byte |= 1);
            Some(read)
        });
    }

    #[test]
    #[should_panic(expected = "honest row 0 cut at 0")]
    fn a_decoder_that_panics_is_found() {
        feed("hasty", Meal::SMALL, &honest(), |bytes| (bytes[3] == 3).then(|| bytes.to_vec()));
    }

    #[test]
    #[should_panic(expected = "honest row 0 is refused")]
    fn a_decoder_that_reads_nothing_is_found() {
        feed("blind", Meal::SMALL, &honest(), |_| None);
    }

    #[test]
    fn a_decoder_that_believes_a_length_is_found() {
        alone(concat!(module_path!(), "::a_decoder_that_believes_a_length_is_found"), || {
            let greedy = |bytes: &[u8]| {
                let mut room = Vec::with_capacity(u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize);
                room.extend_from_slice(std::hint::black_box(bytes));
                counted(std::hint::black_box(&room))
            };
            let found = catch_unwind(|| feed("greedy", Meal::SMALL, &honest(), greedy)).expect_err("it asks for gigabytes");
            let found = found.downcast::<String>().expect("a text");
            assert!(found.ends_with("KiB were asked for"), "{found}");
        });
    }

    #[test]
    #[should_panic(expected = "there is no test")]
    fn a_test_that_is_not_there_is_missed() {
        alone("tidings_hostile::feed::tests::nothing", || ());
    }
}
