//! Tells a log whose last write the disk has only in part from one that was damaged.
//!
//! A disk writes sectors in any order. So a power cut in the middle of the last write can leave its end and not its beginning: the log
//! then has its whole length and a checksum that does not fit, and RocksDB calls it corrupt. That write was never answered. It is
//! told from damage by two things. What was never written is zeros up to the end of a sector, and ciphertext is not; and behind it
//! no other write begins, since each is synced before the next.

use std::cell::LazyCell;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::checksum::Runs;
use super::log_tail::{BLOCK_BYTES, HEADER_BYTES, logs, name, opened, record_at, whole};

const BLOCK: usize = BLOCK_BYTES as usize;
/// What a disk writes at once, at least.
const SECTOR: usize = 512;
/// Zeros at the very end that may be there by chance.
const CHANCE: usize = 8;
/// Sequence number `u64`, and number of changes `u32`: all that a write without changes holds.
const EMPTY_BYTES: usize = 12;
/// Kinds of a record: a write in one part; of one in several parts the first, and one that is neither the first nor the last.
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;

/// The first place in the logs of a folder that does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Name of that log.
    pub(super) log: String,
    /// What of it is left out if the logs are read without it: from where the write begins that does not read whole to the log's end.
    pub(super) bytes: Range<u64>,
    /// Whether it is a last write of which a part is missing, and not damage.
    pub(super) is_torn: bool,
}

/// Looks for a gap in the logs of `folder`. Reads all of them, a block at a time; each byte costs the same, whatever it is. Changes
/// nothing.
pub(super) fn first_gap(folder: &Path) -> io::Result<Option<Gap>> {
    let (mut found, mut unfinished): (Option<Gap>, Option<Gap>) = (None, None);
    for path in logs(folder)? {
        let Some(log) = opened(&path)? else { continue };
        let length = log.metadata()?.len();
        let of = |from, is_torn| Gap { log: name(&path), bytes: from..length, is_torn };
        match &mut found {
            // A start that was cut short may have begun the next log.
            Some(gap) => gap.is_torn &= !Reading::behind_a_gap().through(log)?.begins_behind,
            None => {
                let read = Reading::default().through(log)?;
                found = read.gap.map(|from| of(from, read.has_hole && !read.begins_behind));
                unfinished = unfinished.or(read.unfinished.map(|from| of(from, false)));
            }
        }
    }
    Ok(found.or(unfinished))
}

/// What is known of one log so far.
#[derive(Default)]
struct Reading {
    /// Bytes of it that were read.
    read: u64,
    /// Where the write begins whose last part did not come yet.
    unfinished: Option<u64>,
    /// Where the first write begins that does not read whole.
    gap: Option<u64>,
    /// Whether a sector in the gap, or what of it is behind the gap's start, is zeros.
    has_hole: bool,
    /// Whether a whole write, or the whole first part of one, is in the gap.
    begins_behind: bool,
}

impl Reading {
    /// Of a log that comes behind one with a gap.
    fn behind_a_gap() -> Self {
        Self { gap: Some(0), ..Self::default() }
    }

    /// Reads until nothing more can be learned.
    fn through(mut self, mut log: impl Read) -> io::Result<Self> {
        let mut block = Vec::with_capacity(BLOCK);
        while !self.begins_behind {
            block.clear();
            (&mut log).take(BLOCK_BYTES).read_to_end(&mut block)?;
            self.take(&block);
            if block.len() < BLOCK {
                break;
            }
        }
        Ok(self)
    }

    fn take(&mut self, block: &[u8]) {
        if self.gap.is_some() {
            self.look(block, 0, 0);
        } else if let Some(place) = self.records(block) {
            self.gap = Some(self.unfinished.unwrap_or(self.read + place as u64));
            self.look(block, place, place + 1);
        }
        self.read += block.len() as u64;
    }

    /// Where the first record of a block begins that is not whole.
    fn records(&mut self, block: &[u8]) -> Option<usize> {
        let mut place = 0;
        while place < block.len() && BLOCK - place >= HEADER_BYTES {
            let Some(record) = whole(&block[place..]) else { return Some(place) };
            self.unfinished = match record[6] {
                FIRST => Some(self.read + place as u64),
                MIDDLE => self.unfinished,
                _ => None,
            };
            place += record.len();
        }
        None
    }

    /// Looks for a hole from `place` on, and for the beginning of a write from `behind` on.
    fn look(&mut self, block: &[u8], place: usize, behind: usize) {
        self.has_hole |= has_hole(block, place);
        self.begins_behind |= begins_behind(block, behind);
    }
}

/// Whether a sector from `place` on, or what of it is behind `place`, is zeros.
fn has_hole(block: &[u8], place: usize) -> bool {
    let mut from = place;
    while from < block.len() {
        let end = from + SECTOR - from % SECTOR;
        let piece = &block[from..end.min(block.len())];
        if piece.iter().all(|byte| *byte == 0) && (end <= block.len() || piece.len() >= CHANCE) {
            return true;
        }
        from = end;
    }
    false
}

/// Whether a whole write, or the whole first part of one, is at `place` or behind it.
fn begins_behind(block: &[u8], place: usize) -> bool {
    let runs = LazyCell::new(|| Runs::of(block));
    let kinds = block.iter().enumerate().skip(place + HEADER_BYTES - 1);
    let mut may_begin = kinds.filter(|(_, kind)| [WHOLE, FIRST].contains(kind)).map(|(at, _)| at + 1 - HEADER_BYTES);
    may_begin.any(|at| record_at(block, &runs, at).is_some_and(|record| !changes_nothing(record)))
}

/// Whether a whole record is a write without changes: a start that read a torn log begins the next one with such a write, before
/// the torn log is done with.
fn changes_nothing(record: &[u8]) -> bool {
    record.len() == HEADER_BYTES + EMPTY_BYTES && record[HEADER_BYTES + 8..] == [0; 4]
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

    fn read(log: &[u8]) -> Reading {
        Reading::default().through(log).expect("memory reads")
    }

    fn torn(log: &[u8]) -> bool {
        let read = read(log);
        read.gap.is_some() && read.has_hole && !read.begins_behind
    }

    fn ends_torn(folder: &Path) -> bool {
        first_gap(folder).expect("readable").is_some_and(|gap| gap.is_torn)
    }

    #[test]
    fn a_last_write_of_which_a_sector_is_missing_is_torn() {
        let (log, third) = three();
        assert_eq!(read(&log).gap, None);
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
        assert!(ends_torn(folder.path()));
        let one = [&7_u64.to_le_bytes()[..], &1_u32.to_le_bytes()].concat();
        put("000009.log", &[record(&empty), record(&one)].concat());
        assert!(!ends_torn(folder.path()));
    }

    #[test]
    fn later_parts_of_the_same_write_may_be_there() {
        let mut log = record(&[1; 700]);
        log.extend(part(2, &vec![2; BLOCK - log.len() - HEADER_BYTES]));
        log.extend(part(4, &[3; 100]));
        assert_eq!(read(&log).gap, None);
        assert!(torn(&zero(&log, 1024, 1536)));
    }

    /// What is left out begins where the write does, also if its first part is whole.
    #[test]
    fn a_gap_reaches_from_the_beginning_of_the_write_to_the_end_of_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let begun = record(&[1; 700]);
        let mut log = begun.clone();
        log.extend(part(2, &vec![2; BLOCK - log.len() - HEADER_BYTES]));
        let first = log.len();
        log.extend(part(4, &[3; 1500]));
        let gap = |log: &[u8]| {
            std::fs::write(folder.path().join("000004.log"), log).expect("written");
            first_gap(folder.path()).expect("readable").map(|gap| (gap.log, gap.bytes, gap.is_torn))
        };
        let named = |to: usize, is_torn| Some(("000004.log".to_owned(), begun.len() as u64..to as u64, is_torn));
        assert_eq!(gap(&log), None);
        assert_eq!(gap(&zero(&log, first, log.len())), named(log.len(), true));
        assert_eq!(gap(&log[..first + 100]), named(first + 100, false));
        assert_eq!(gap(&log[..first]), named(first, false));
    }

    /// A checksum was begun at every byte of such a log, and each read half a block: a start took minutes for each MiB.
    #[test]
    fn a_log_of_bytes_that_repeat_is_looked_at_in_the_time_of_any_other() {
        let mut log = [0x20, 0x02].repeat(2 * 1024 * 1024);
        log[BLOCK..BLOCK + 1024].fill(0);
        let began = std::time::Instant::now();
        assert!(torn(&log));
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }

    /// All of a log of several GiB was held in memory.
    #[test]
    fn a_log_is_read_a_block_at_a_time() {
        struct Zeros(usize);
        impl Read for Zeros {
            fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
                assert!(place.len() <= BLOCK, "{} bytes at once", place.len());
                let given = place.len().min(self.0);
                self.0 -= given;
                place[..given].fill(0);
                Ok(given)
            }
        }
        let read = Reading::default().through(Zeros(64 * BLOCK + 1)).expect("memory reads");
        assert_eq!((read.gap, read.read), (Some(0), 64 * BLOCK_BYTES + 1));
    }
}
