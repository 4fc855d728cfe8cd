//! Tells a log whose last write the disk has only in part from one that was damaged.
//!
//! A disk writes sectors in any order. So a power cut in the middle of the last write can leave its end and not its beginning: the log
//! then has its whole length and a checksum that does not fit, and RocksDB calls it corrupt. That write was never answered. It is
//! told from damage by two things. What was never written is zeros up to the end of a sector, and ciphertext is not; and behind it
//! no other write begins, since each is synced before the next.

use std::io;
use std::path::{Path, PathBuf};

use super::log_tail::{BLOCK_BYTES, HEADER_BYTES, record_bytes, whole};

const BLOCK: usize = BLOCK_BYTES as usize;
/// What a disk writes at once, at least.
const SECTOR: usize = 512;
/// Zeros at the very end that may be there by chance.
const CHANCE: usize = 8;
/// Sequence number `u64`, and number of changes `u32`: all that a write without changes holds.
const EMPTY_BYTES: usize = 12;
/// First parts of writes: of one in one part, and of one in several.
const BEGINNINGS: std::ops::RangeInclusive<u8> = 1..=2;

/// Whether the only thing that does not read in the logs of `folder` is a last write of which a part is missing. Reads all logs.
pub(super) fn ends_torn(folder: &Path) -> io::Result<bool> {
    let mut logs = logs(folder)?.into_iter();
    while let Some(log) = logs.next() {
        let bytes = std::fs::read(log)?;
        if let Some(place) = first_irregular(&bytes) {
            // A start that was cut short may have begun the next log.
            let mut later = logs.map(std::fs::read);
            return Ok(is_torn(&bytes, place) && later.try_fold(true, |none, log| log.map(|log| none && !begins_behind(&log, 0)))?);
        }
    }
    Ok(false)
}

/// By their numbers.
fn logs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<io::Result<_>>()?;
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let mut logs: Vec<_> = paths.into_iter().filter(is_log).filter_map(|path| Some((number(&path)?, path))).collect();
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// Where the first record begins that is not whole.
fn first_irregular(log: &[u8]) -> Option<usize> {
    let mut place = 0;
    while place < log.len() {
        let rest = in_block(log, place);
        if BLOCK - place % BLOCK < HEADER_BYTES {
            place += BLOCK - place % BLOCK;
        } else if whole(rest) {
            place += record_bytes(rest)?;
        } else {
            return Some(place);
        }
    }
    None
}

fn is_torn(log: &[u8], place: usize) -> bool {
    has_hole(log, place) && !begins_behind(log, place + 1)
}

/// Whether a sector from `place` on, or what of it is behind `place`, is zeros.
fn has_hole(log: &[u8], place: usize) -> bool {
    let mut from = place;
    while from < log.len() {
        let end = from + SECTOR - from % SECTOR;
        let piece = &log[from..end.min(log.len())];
        if piece.iter().all(|byte| *byte == 0) && (end <= log.len() || piece.len() >= CHANCE) {
            return true;
        }
        from = end;
    }
    false
}

/// Whether a whole write, or the whole first part of one, is at `place` or behind it.
fn begins_behind(log: &[u8], place: usize) -> bool {
    let begins = |at: usize| {
        let record = in_block(log, at);
        log.get(at + HEADER_BYTES - 1).is_some_and(|kind| BEGINNINGS.contains(kind)) && whole(record) && !changes_nothing(record)
    };
    (place..log.len()).any(begins)
}

/// Whether a whole record is a write without changes: a start that read a torn log begins the next one with such a write, before
/// the torn log is done with.
fn changes_nothing(record: &[u8]) -> bool {
    record_bytes(record) == Some(HEADER_BYTES + EMPTY_BYTES) && record[HEADER_BYTES + 8..HEADER_BYTES + EMPTY_BYTES] == [0; 4]
}

/// What is left of the block that `place` is in: no record reaches over its end.
fn in_block(log: &[u8], place: usize) -> &[u8] {
    &log[place..log.len().min(place + BLOCK - place % BLOCK)]
}

#[cfg(test)]
mod tests {
    use super::super::log_tail::tests::{part, record};
    use super::*;

    /// Two writes that are whole, and where a third one begins, which has more than two sectors.
    fn three() -> (Vec<u8>, usize) {
        let two = [record(&[1; 700]), record(&[2; 900])].concat();
        let third = two.len();
        ([two, record(&[3; 1500])].concat(), third)
    }

    fn zero(log: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut log = log.to_vec();
        log[from..to].fill(0);
        log
    }

    fn torn(log: &[u8]) -> bool {
        first_irregular(log).is_some_and(|place| is_torn(log, place))
    }

    #[test]
    fn a_last_write_of_which_a_sector_is_missing_is_torn() {
        let (log, third) = three();
        assert_eq!(first_irregular(&log), None);
        assert!(torn(&zero(&log, third, 2048)));
        assert!(torn(&zero(&log, 2048, 2560)));
        assert!(torn(&zero(&log, 2560, log.len())));
    }

    #[test]
    fn a_last_write_in_which_bytes_changed_is_damaged() {
        let (log, third) = three();
        for place in [third, third + 5, third + 6, third + 7, 2048, log.len() - 1] {
            let mut log = log.clone();
            log[place] ^= 0x40;
            assert!(!torn(&log), "{place}");
        }
    }

    /// What stands behind was acknowledged.
    #[test]
    fn a_missing_sector_before_another_write_is_damage() {
        let (log, _) = three();
        assert!(!torn(&zero(&log, 512, 707)));
        assert!(!torn(&zero(&log, 1024, 1536)));
    }

    /// The first start after a power cut was cut short too, before the torn log was done with.
    #[test]
    fn a_start_that_read_a_torn_log_and_was_cut_short_leaves_no_damage() {
        let (log, third) = three();
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("written");
        put("000004.log", &zero(&log, third, 2048));
        let empty = [&7_u64.to_le_bytes()[..], &0_u32.to_le_bytes()].concat();
        put("000009.log", &record(&empty));
        assert!(ends_torn(folder.path()).expect("read"));
        let one = [&7_u64.to_le_bytes()[..], &1_u32.to_le_bytes()].concat();
        put("000009.log", &[record(&empty), record(&one)].concat());
        assert!(!ends_torn(folder.path()).expect("read"));
    }

    #[test]
    fn later_parts_of_the_same_write_may_be_there() {
        let mut log = record(&[1; 700]);
        log.extend(part(2, &vec![2; BLOCK - log.len() - HEADER_BYTES]));
        log.extend(part(4, &[3; 100]));
        assert_eq!(first_irregular(&log), None);
        assert!(torn(&zero(&log, 1024, 1536)));
    }
}
