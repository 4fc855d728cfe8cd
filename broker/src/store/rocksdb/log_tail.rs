//! Tells a log that a crash cut short from one whose last block was damaged.
//!
//! RocksDB takes a record that reaches over the end of the log for the one that was being written when the machine stopped,
//! and drops it with whatever comes behind. But a damaged length in the last block looks the same, and what comes behind was
//! acknowledged. Behind a torn record nothing was ever written, so a whole record there says which of the two it is.
//! Log format: <https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format>.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::checksum::{Runs, masked_crc};

pub(super) const BLOCK_BYTES: u64 = 32 * 1024;
/// Masked CRC-32C `u32`, length `u16`, type `u8`; little-endian.
pub(super) const HEADER_BYTES: usize = 7;
/// Full, first, middle and last part of a write.
const KINDS: std::ops::RangeInclusive<u8> = 1..=4;

/// Name of a log in `folder` that holds a whole record behind one that does not end, if there is one. Changes nothing.
pub(super) fn damaged_log(folder: &Path) -> io::Result<Option<String>> {
    for path in logs(folder)? {
        if damaged(&last_block(&path)?) {
            return Ok(Some(name(&path)));
        }
    }
    Ok(None)
}

/// The logs in `folder`, by their numbers.
pub(super) fn logs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<io::Result<_>>()?;
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let mut logs: Vec<_> = paths.into_iter().filter(is_log).filter_map(|path| Some((number(&path)?, path))).collect();
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Opens a log; one that was removed since it was listed, because another broker runs here, is empty.
pub(super) fn opened(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        log => log.map(Some),
    }
}

fn last_block(path: &Path) -> io::Result<Vec<u8>> {
    let mut block = Vec::new();
    let Some(mut log) = opened(path)? else { return Ok(block) };
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES))?;
    log.take(BLOCK_BYTES).read_to_end(&mut block)?;
    Ok(block)
}

fn damaged(block: &[u8]) -> bool {
    let mut place = 0;
    while let Some(length) = record_bytes(&block[place..]) {
        place += length;
        if place > block.len() {
            // Whoever holds the queue could plant a whole record in a ciphertext: then a crash in that very write needs a person.
            let runs = Runs::of(block);
            return (place - length + 1..block.len()).any(|place| record_at(block, &runs, place).is_some());
        }
    }
    false
}

/// Length of the record that begins here, its header with it. `None` where no header fits.
pub(super) fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER_BYTES)?;
    Some(HEADER_BYTES + usize::from(u16::from_le_bytes([header[4], header[5]])))
}

/// The record that begins here, if it is whole: it ends in time and has the right checksum.
pub(super) fn whole(bytes: &[u8]) -> Option<&[u8]> {
    framed(bytes, 0).filter(|record| record[..4] == masked_crc(&record[6..]).to_le_bytes())
}

/// The same at a place in a block whose checksums are known.
pub(super) fn record_at<'a>(block: &'a [u8], runs: &Runs, place: usize) -> Option<&'a [u8]> {
    let record = framed(block, place)?;
    let checksum = runs.masked_crc(place + 6, place + record.len())?;
    (record[..4] == checksum.to_le_bytes()).then_some(record)
}

/// What a header at a place in a block says is a record, if there may be one.
fn framed(block: &[u8], place: usize) -> Option<&[u8]> {
    let rest = block.get(place..)?;
    let record = rest.get(..record_bytes(rest)?)?;
    KINDS.contains(&record[6]).then_some(record)
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
        let mut record = masked_crc(&covered).to_le_bytes().to_vec();
        record.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        record.extend_from_slice(&covered);
        record
    }

    fn three() -> Vec<u8> {
        [record(b"one"), record(b"two"), record(b"three")].concat()
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
