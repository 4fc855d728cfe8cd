//! CRC-32C (Castagnoli) as RocksDB's log has it: of one run of bytes, and of every run within a block.
//!
//! Whoever looks for a record at every byte of a damaged block would read it thousands of times over: bytes that repeat look like a
//! header everywhere. A checksum is linear, so the checksum of any run follows from those of two beginnings of the block.

use std::sync::LazyLock;

use super::log_tail::BLOCK_BYTES;

const BLOCK: usize = BLOCK_BYTES as usize;
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1: the highest coefficient comes last.
const ONE: u32 = 1 << 31;
/// By how many zero bytes behind it a byte is moved on, and the byte.
const TABLES: [[u32; 256]; 8] = tables();
/// What `n` zero bytes multiply by.
static POWERS: LazyLock<Vec<u32>> =
    LazyLock::new(|| std::iter::successors(Some(ONE), |power| Some(moved(*power, 0))).take(BLOCK + 1).collect());

/// The checksum of `bytes`, masked as the log holds it.
pub(super) fn masked_crc(bytes: &[u8]) -> u32 {
    masked(crc32c(bytes))
}

/// Checksums of every run of bytes within one block, each in the same short time.
pub(super) struct Runs {
    /// Of each beginning, nothing before it.
    beginnings: Vec<u32>,
}

impl Runs {
    /// Of `block`, which is at most as long as a block of the log.
    pub(super) fn of(block: &[u8]) -> Self {
        let mut beginnings = vec![0];
        beginnings.extend(block.iter().scan(0, |crc, byte| {
            *crc = moved(*crc, *byte);
            Some(*crc)
        }));
        Self { beginnings }
    }

    /// As [`masked_crc`] of the bytes from `from` up to `to`. `None` if there are none.
    pub(super) fn masked_crc(&self, from: usize, to: usize) -> Option<u32> {
        let (before, whole) = (self.beginnings.get(from)?, self.beginnings.get(to)?);
        let power = POWERS.get(to.checked_sub(from)?)?;
        Some(masked(!(product(!before, *power) ^ whole)))
    }
}

/// As the log holds it, so that a checksum of bytes that contain checksums stays one.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c(bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(u32::MAX, |crc, eight| {
        let [a, b, c, d] = crc.to_le_bytes();
        let own = [eight[0] ^ a, eight[1] ^ b, eight[2] ^ c, eight[3] ^ d, eight[4], eight[5], eight[6], eight[7]];
        own.iter().zip(TABLES.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    !rest.iter().fold(crc, |crc, byte| moved(crc, *byte))
}

/// One byte further.
fn moved(crc: u32, byte: u8) -> u32 {
    let [low, ..] = crc.to_le_bytes();
    (crc >> 8) ^ TABLES[0][usize::from(low ^ byte)]
}

/// Of two polynomials.
fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    for place in (0..32).rev() {
        sum ^= b & (a >> place & 1).wrapping_neg();
        b = times_x(b);
    }
    sum
}

const fn times_x(a: u32) -> u32 {
    (a >> 1) ^ (POLYNOMIAL & (a & 1).wrapping_neg())
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bits = 0;
        while bits < 64 {
            crc = times_x(crc);
            bits += 1;
            if bits % 8 == 0 {
                tables[bits / 8 - 1][byte] = crc;
            }
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&std::array::from_fn::<u8, 32, _>(|place| place as u8)), 0x46dd_794e);
    }

    #[test]
    fn the_checksum_of_a_run_is_that_of_its_bytes() {
        let block: Vec<u8> = (0..BLOCK as u32).map(|place| (place.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let runs = Runs::of(&block);
        for (from, to) in [(0, 0), (0, 1), (0, BLOCK), (1, BLOCK), (6, 700), (700, 701), (BLOCK - 9, BLOCK), (BLOCK, BLOCK)] {
            assert_eq!(runs.masked_crc(from, to), Some(masked_crc(&block[from..to])), "{from} to {to}");
        }
        assert_eq!((runs.masked_crc(0, BLOCK + 1), runs.masked_crc(2, 1)), (None, None));
    }
}
