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
/// What comes later than that after the first of them is written, and they with it: a process that ends loses no more.
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
}

impl Unwritten {
    /// Whether these frames are the middle of a delta, and there is room for them in what all follows of a state share.
    pub(super) fn admits(&mut self, frames: &[Reply], all: &Arc<Semaphore>) -> bool {
        let Some(bytes) = frames.iter().map(part_bytes).sum::<Option<usize>>() else { return false };
        if self.before.as_ref().is_some_and(|(_, since)| since.elapsed() > LASTS_MAX) {
            return false;
        }
        let taken = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = u32::try_from(bytes).ok().filter(|_| taken + bytes <= FOLLOW_BYTES_MAX) else { return false };
        let Ok(permit) = all.clone().try_acquire_many_owned(more) else { return false };
        match &mut self.room {
            Some(room) => room.merge(permit),
            None => self.room = Some(permit),
        }
        true
    }

    /// The rows, for a step that writes them or gives them back.
    pub(super) fn take(&mut self) -> Staged {
        std::mem::take(&mut self.rows)
    }

    /// They are still not written. `reader`: before the step that staged the last of them.
    pub(super) fn keep(&mut self, rows: Staged, reader: &Reader) {
        self.rows = rows;
        self.before.get_or_insert_with(|| (reader.clone(), Instant::now()));
    }

    /// Whether there are any.
    pub(super) fn has_waited(&self) -> bool {
        self.before.is_some()
    }

    /// They were written, or are not needed any more.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// They are lost with a step that failed. Gives the reader that knows nothing of them, if there were any.
    pub(super) fn lose(&mut self) -> Option<Reader> {
        std::mem::take(self).before.map(|(reader, _)| reader)
    }
}

/// What a part of a delta takes; `None`: it is its end, or something else.
fn part_bytes(frame: &Reply) -> Option<usize> {
    match frame {
        Reply::Chunk(chunk) if !chunk.complete => Some(chunk.entries.iter().map(|entry| ROW_BYTES + entry.len()).sum()),
        _ => None,
    }
}
