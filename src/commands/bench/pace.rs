//! When writes are due.
//!
//! With a rate, moments are fixed before the run begins, and a latency counts from its moment, whatever the broker was doing then: a
//! measurement that waits for the broker before it looks at the clock again leaves out just those who would have waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::tally::Tally;

/// Groups in which moments that were missed are counted: their number is not bounded, the work is.
const GROUPS: u64 = 1_000;

/// When the next write is due.
#[derive(Debug)]
pub(super) enum Pace {
    /// As soon as one is answered.
    AtOnce,
    /// At its moment.
    Schedule(Timer),
}

/// Moments at equal distances.
#[derive(Debug)]
pub(super) struct Schedule {
    first: Instant,
    rate: f64,
    total: u64,
    taken: AtomicU64,
    /// One permit for each moment that has come.
    due: Semaphore,
    ended: AtomicBool,
}

/// A schedule with the thread that watches its clock: timers of the runtime are late by up to a millisecond, more than what is measured.
/// The thread ends with it.
#[derive(Debug)]
pub(super) struct Timer {
    schedule: Arc<Schedule>,
    thread: Option<JoinHandle<()>>,
}

impl Pace {
    /// The moment of the next write, once it has come; `None` after the last one. Safe to cancel but for that moment.
    pub(super) async fn next(&self) -> Option<Instant> {
        match self {
            Self::AtOnce => Some(Instant::now()),
            Self::Schedule(timer) => timer.schedule.next().await,
        }
    }

    /// Gives out no more moments.
    pub(super) fn close(&self) {
        if let Self::Schedule(timer) = self {
            timer.schedule.close();
        }
    }

    /// Tells `tally` of the moments up to `end` that counted, from `begin` on, and were not given out. After [`Pace::close`].
    pub(super) fn tell_missed(&self, tally: &Tally, begin: Instant, end: Instant) {
        if let Self::Schedule(timer) = self {
            timer.schedule.tell_missed(tally, begin, end);
        }
    }

    /// Whether more was due at `then` than `answered`. Without a rate something always waits.
    pub(super) fn is_behind(&self, then: Instant, answered: u64) -> bool {
        match self {
            Self::AtOnce => true,
            Self::Schedule(timer) => timer.schedule.come(then) > answered,
        }
    }

    /// The last moment; `None` without a rate.
    pub(super) fn last(&self) -> Option<Instant> {
        match self {
            Self::AtOnce => None,
            Self::Schedule(timer) => Some(timer.schedule.at(timer.schedule.total.saturating_sub(1))),
        }
    }
}

impl Timer {
    /// `total` moments from `first` on, `rate` in a second.
    pub(super) fn start(first: Instant, rate: f64, total: u64) -> Self {
        let schedule = Schedule { first, rate, total, taken: AtomicU64::new(0), due: Semaphore::new(0), ended: AtomicBool::new(false) };
        let schedule = Arc::new(schedule);
        let watched = Arc::clone(&schedule);
        Self { schedule, thread: Some(thread::spawn(move || watched.watch())) }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.schedule.close();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Schedule {
    #[expect(clippy::cast_precision_loss, reason = "a schedule has far fewer moments than 2^52")]
    fn at(&self, number: u64) -> Instant {
        self.first + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many moments have come at `now`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and bounded by the total")]
    fn come(&self, now: Instant) -> u64 {
        let Some(passed) = now.checked_duration_since(self.first) else { return 0 };
        let mut come = ((passed.as_secs_f64() * self.rate) as u64).saturating_add(1).min(self.total);
        // The two directions of the arithmetic may round differently.
        while come > 0 && self.at(come - 1) > now {
            come -= 1;
        }
        come
    }

    async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if number + 1 >= self.total {
            self.close();
        }
        Some(self.at(number))
    }

    fn close(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.due.close();
    }

    /// Gives a permit for each moment when it comes.
    fn watch(&self) {
        let mut given = 0;
        while given < self.total && !self.ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            let come = self.come(now);
            if come > given {
                self.due.add_permits(usize::try_from(come - given).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS / 2));
                given = come;
            } else {
                thread::park_timeout(self.at(given).saturating_duration_since(now));
            }
        }
    }

    fn tell_missed(&self, tally: &Tally, begin: Instant, end: Instant) {
        let mut number = self.taken.load(Ordering::Relaxed).max(self.come(begin).saturating_sub(1));
        if number < self.total && self.at(number) < begin {
            number += 1;
        }
        let come = self.come(end);
        let group = (come.saturating_sub(number) / GROUPS).max(1);
        while number < come {
            let count = group.min(come - number);
            tally.missed(self.at(number + count / 2), count);
            number += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(first: Instant, rate: f64, total: u64) -> Schedule {
        Schedule { first, rate, total, taken: AtomicU64::new(0), due: Semaphore::new(0), ended: AtomicBool::new(false) }
    }

    #[test]
    fn moments_come_when_they_are_due_and_never_more_than_there_are() {
        let first = Instant::now();
        let schedule = schedule(first, 30.0, 5);
        let come = [0, 33, 34, 66, 67, 100, 10_000].map(|millis| schedule.come(first + Duration::from_millis(millis)));
        assert_eq!(come, [1, 1, 2, 2, 3, 4, 5]);
        let each = (0..5).map(|number| schedule.come(schedule.at(number)));
        assert_eq!(each.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    /// A run that waits for the broker before it begins the next write must not forget those that were due meanwhile.
    #[tokio::test]
    async fn moments_that_nobody_was_free_for_are_not_forgotten() {
        let first = Instant::now() - Duration::from_secs(1);
        let pace = Pace::Schedule(Timer::start(first, 100.0, 1_000));
        let taken = [pace.next().await, pace.next().await].map(|due| due.map(|due| due - first));
        assert_eq!(taken, [Some(Duration::ZERO), Some(Duration::from_millis(10))]);
        pace.close();
        assert_eq!(pace.next().await, None);
        let tally = Tally::default();
        pace.tell_missed(&tally, first, first + Duration::from_millis(995));
        let total = tally.total();
        assert_eq!((total.missed, total.latency.n, total.messages), (98, 98, 0));
        assert!(total.latency.max >= 900_000, "{:?}", total.latency);
    }

    #[tokio::test]
    async fn moments_of_the_warm_up_are_not_missed() {
        let first = Instant::now() - Duration::from_secs(1);
        let pace = Pace::Schedule(Timer::start(first, 10.0, 100));
        pace.close();
        let tally = Tally::default();
        pace.tell_missed(&tally, first + Duration::from_millis(500), first + Duration::from_millis(950));
        assert_eq!(tally.total().missed, 5);
    }

    #[tokio::test]
    async fn after_the_last_moment_there_is_none() {
        let pace = Pace::Schedule(Timer::start(Instant::now(), 1e6, 3));
        let mut count = 0;
        while pace.next().await.is_some() {
            count += 1;
        }
        assert_eq!(count, 3);
    }
}
