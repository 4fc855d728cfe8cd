//! The part of a delta that is only in memory. [P-11]
//!
//! A delta shows nothing before its set is verified, and what a crash loses of it is fetched again. So its entries are written only if they are
//! many or take long, or when something else is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_core::reader::Reader;
use tidings_proto::Reply;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::state::Staged;

/// What one follow has in memory at most, bytes.
const FOLLOW_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What comes later than that after the first of them is written, and they with it.
const LASTS_MAX: Duration = Duration::from_secs(10);
/// What an entry is counted as beside its own length, bytes.
const ROW_BYTES: usize = 160;

/// Entries that were staged since the last step that was written.
#[derive(Default)]
pub(super) struct Unwritten {
    rows: Staged,
    /// The reader as it was written, which knows nothing of them, and when the first of them came.
    before: Option<(Reader, Instant)>,
    room: Option<OwnedSemaphorePermit>,
    /// They are too many, or have waited too long.
    due: bool,
}

impl Unwritten {
    /// Whether these frames are the middle of a delta, and there is room for them in what all follows of a state share.
    pub(super) fn admits(&mut self, frames: &[Reply], all: &Arc<Semaphore>) -> bool {
        let Some(bytes) = frames.iter().map(part_bytes).sum::<Option<usize>>() else { return false };
        let waited = self.before.as_ref().is_some_and(|(_, since)| since.elapsed() > LASTS_MAX);
        let taken = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(bytes).ok().filter(|_| !waited && taken + bytes <= FOLLOW_BYTES_MAX);
        match (more.and_then(|more| all.clone().try_acquire_many_owned(more).ok()), &mut self.room) {
            (None, _) => self.due = self.before.is_some(),
            (Some(permit), Some(room)) => room.merge(permit),
            (Some(permit), room) => *room = Some(permit),
        }
        !self.due && self.room.is_some()
    }

    /// The rows, for a step that writes them or gives them back. Until it is done, `reader` is the one that knows nothing of them: a step
    /// that fails, however it does, loses both.
    pub(super) fn take(&mut self, reader: &mut Reader) -> (Reader, Staged) {
        let ahead = reader.clone();
        if let Some((before, _)) = &self.before {
            *reader = before.clone();
        }
        (ahead, std::mem::take(&mut self.rows))
    }

    /// They are still not written, and neither is anything that the reader knows since `before`.
    pub(super) fn keep(&mut self, rows: Staged, before: &Reader) {
        self.rows = rows;
        self.before.get_or_insert_with(|| (before.clone(), Instant::now()));
    }

    /// Whether there are any.
    pub(super) fn has_waited(&self) -> bool {
        self.before.is_some()
    }

    /// Whether they should be written now.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// They were written, or are lost.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}

/// What a part of a delta takes; `None`: it is its end, or something else.
fn part_bytes(frame: &Reply) -> Option<usize> {
    match frame {
        Reply::Chunk(chunk) if !chunk.complete => Some(chunk.entries.iter().map(|entry| ROW_BYTES + entry.len()).sum()),
        _ => None,
    }
}
