//! Which writes count.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Length {
    /// For so long.
    Time(Duration),
    /// So many writes.
    Count(u64),
}

/// From when to when writes count. Shared by all tasks of a run.
#[derive(Debug)]
pub(super) struct Window {
    begin: Instant,
    end: Option<Instant>,
    left: Option<AtomicU64>,
    closed: AtomicBool,
}

/// Writes that may be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// How many, at least 1.
    pub(super) count: u64,
    /// Whether they count: those of the warm-up do not.
    pub(super) counts: bool,
}

impl Window {
    /// Counts what is due from `begin` on.
    pub(super) fn new(begin: Instant, length: Length) -> Self {
        let (end, left) = match length {
            Length::Time(time) => (Some(begin + time), None),
            Length::Count(count) => (None, Some(AtomicU64::new(count))),
        };
        Self { begin, end, left, closed: AtomicBool::new(false) }
    }

    /// From when it counts.
    pub(super) fn begin(&self) -> Instant {
        self.begin
    }

    /// Takes at most `most` writes that are due at `due`; `None` if no more are begun.
    pub(super) fn take(&self, due: Instant, most: u64) -> Option<Share> {
        if self.closed.load(Ordering::Relaxed) || self.end.is_some_and(|end| due >= end) {
            return None;
        }
        let Some(left) = self.left.as_ref().filter(|_| due >= self.begin) else {
            return Some(Share { count: most, counts: due >= self.begin });
        };
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(most)));
        let count = taken.unwrap_or_else(|left| left).min(most);
        (count > 0).then_some(Share { count, counts: true })
    }

    /// No more writes are begun.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_in_the_warm_up_is_written_and_does_not_count() {
        let now = Instant::now();
        let window = Window::new(now + Duration::from_secs(1), Length::Time(Duration::from_secs(2)));
        let at = |millis| window.take(now + Duration::from_millis(millis), 4).map(|share| share.counts);
        assert_eq!([0, 999, 1_000, 2_999, 3_000].map(at), [Some(false), Some(false), Some(true), Some(true), None]);
    }

    #[test]
    fn as_many_are_begun_as_were_asked_for() {
        let now = Instant::now();
        let window = Window::new(now, Length::Count(10));
        let counts: Vec<_> = std::iter::from_fn(|| window.take(now, 4)).map(|share| share.count).collect();
        assert_eq!(counts, [4, 4, 2]);
    }

    #[test]
    fn none_is_begun_after_the_end_was_said() {
        let now = Instant::now();
        let window = Window::new(now, Length::Count(10));
        window.close();
        assert_eq!(window.take(now, 1), None);
    }
}
