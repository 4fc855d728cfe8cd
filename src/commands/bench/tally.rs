//! What came of the messages of a run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::latency::{Latencies, Latency};

/// Counts what was answered and how long it took. Shared by all tasks of a run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counted: Mutex<Counted>,
    /// Everything that was answered, counted or not.
    answered: AtomicU64,
}

#[derive(Debug, Default)]
struct Counted {
    latencies: Latencies,
    messages: u64,
    last: Option<Instant>,
    unanswered: u64,
    missed: u64,
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    /// Messages that were answered.
    pub(super) messages: u64,
    /// When the last of them was.
    pub(super) last: Option<Instant>,
    /// Messages that were begun and not answered before the run ended. Their latencies are counted as long as they had waited.
    pub(super) unanswered: u64,
    /// Messages that were due and not begun before the run ended. Their latencies are counted in the same way.
    pub(super) missed: u64,
    /// Latencies of all three.
    pub(super) latency: Latency,
}

impl Tally {
    /// A message that was due at `due`, `None` if it does not count, is answered now.
    pub(super) fn answered(&self, due: Option<Instant>) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let Some(due) = due else { return };
        let now = Instant::now();
        let mut counted = self.counted();
        counted.latencies.record(now.saturating_duration_since(due));
        counted.messages += 1;
        counted.last = Some(now);
    }

    /// `count` messages that were due at `due` are not waited for any longer. One that waits for an answer and gets none has waited at
    /// least so long: left out, a broker that stalls would look fast.
    pub(super) fn unanswered(&self, due: Instant, count: u64) {
        let mut counted = self.counted();
        counted.latencies.record_many(due.elapsed(), count);
        counted.unanswered += count;
    }

    /// `count` messages that were due at about `due` were never begun.
    pub(super) fn missed(&self, due: Instant, count: u64) {
        let mut counted = self.counted();
        counted.latencies.record_many(due.elapsed(), count);
        counted.missed += count;
    }

    /// Rises with everything that is answered.
    pub(super) fn progress(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// What it came to so far.
    pub(super) fn total(&self) -> Total {
        let counted = self.counted();
        let Counted { latencies, messages, last, unanswered, missed } = &*counted;
        Total { messages: *messages, last: *last, unanswered: *unanswered, missed: *missed, latency: latencies.summary() }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
