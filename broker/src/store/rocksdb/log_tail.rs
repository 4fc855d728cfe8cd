//! Tells a log that a crash cut short from one whose last block was damaged.
//!
//! RocksDB takes a record that reaches over the end of the log for the one that was being written when the machine stopped,
//! and drops it with whatever comes behind. But a damaged length in the last block looks the same, and what comes behind was
//! acknowledged. Behind a torn record nothing was ever written, so a whole record there says which of the two it is.
//! Log format: <https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format>.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

pub(super) const BLOCK_BYTES: u64 = 32 * 1024;
/// Masked CRC-32C `u32`, length `u16`, type `u8`; little-endian.
pub(super) const HEADER_BYTES: usize = 7;
/// Full, first, middle and last part of a write.
const KINDS: std::ops::RangeInclusive<u8> = 1..=4;

/// Name of a log in `folder` that holds a whole record behind one that does not end, if there is one. Changes nothing.
pub(super) fn damaged_log(folder: &Path) -> io::Result<Option<String>> {
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "log") && damaged(&last_block(&path)?) {
            return Ok(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn last_block(path: &Path) -> io::Result<Vec<u8>> {
    let mut log = File::open(path)?;
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES))?;
    let mut block = Vec::new();
    log.take(BLOCK_BYTES).read_to_end(&mut block)?;
    Ok(block)
}

fn damaged(block: &[u8]) -> bool {
    let mut rest = block;
    while let Some(length) = record_bytes(rest) {
        match rest.get(length..) {
            Some(behind) => rest = behind,
            // Whoever holds the queue could plant a whole record in a ciphertext: then a crash in that very write needs a person.
            None => return (1..rest.len()).any(|place| whole(&rest[place..])),
        }
    }
    false
}

/// Length of the record that begins here, its header with it. `None` where no header fits.
pub(super) fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER_BYTES)?;
    Some(HEADER_BYTES + usize::from(u16::from_le_bytes([header[4], header[5]])))
}

/// Whether a record begins here that ends in time and has the right checksum.
pub(super) fn whole(bytes: &[u8]) -> bool {
    let Some(record) = record_bytes(bytes).and_then(|length| bytes.get(..length)) else { return false };
    KINDS.contains(&record[6]) && record[..4] == masked(crc32c(&record[6..])).to_le_bytes()
}

/// As the log holds it, so that a checksum of bytes that contain checksums stays one.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: at most a block is read, once, at open.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn record(payload: &[u8]) -> Vec<u8> {
        part(1, payload)
    }

    pub(in super::super) fn part(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut covered = vec![kind];
        covered.extend_from_slice(payload);
        let mut record = masked(crc32c(&covered)).to_le_bytes().to_vec();
        record.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        record.extend_from_slice(&covered);
        record
    }

    fn three() -> Vec<u8> {
        [record(b"one"), record(b"two"), record(b"three")].concat()
    }

    /// RFC 3720, appendix B.4.
    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_log_cut_short_anywhere_is_not_damaged() {
        let log = three();
        assert!((0..=log.len()).all(|length| !damaged(&log[..length])));
    }

    #[test]
    fn a_length_that_hides_whole_records_is_damage() {
        let mut log = three();
        log[5] = 0x80;
        assert!(damaged(&log));
    }

    #[test]
    fn zeros_behind_the_last_record_are_no_damage() {
        assert!(!damaged(&[three(), vec![0; 100]].concat()));
    }
}
