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

/// Moments at equal distances, dealt to the owners in turn.
#[derive(Debug)]
pub(super) struct Schedule {
    first: Instant,
    rate: f64,
    total: u64,
    lanes: Vec<Lane>,
    ended: AtomicBool,
}

/// The moments of one owner.
#[derive(Debug)]
struct Lane {
    taken: AtomicU64,
    /// One permit for each moment that has come.
    due: Semaphore,
}

/// A schedule with the thread that watches its clock: timers of the runtime are late by up to a millisecond, more than what is measured.
/// The thread ends with it.
#[derive(Debug)]
pub(super) struct Timer {
    schedule: Arc<Schedule>,
    thread: Option<JoinHandle<()>>,
}

impl Pace {
    /// The moment of an owner's next write, once it has come; `None` after the last one. Safe to cancel but for that moment.
    pub(super) async fn next(&self, owner: usize) -> Option<Instant> {
        match self {
            Self::AtOnce => Some(Instant::now()),
            Self::Schedule(timer) => timer.schedule.next(owner).await,
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
            (0..timer.schedule.lanes.len()).for_each(|lane| timer.schedule.tell_missed(lane, tally, begin, end));
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
    /// `total` moments from `first` on, `rate` in a second, for this many owners.
    pub(super) fn start(first: Instant, rate: f64, total: u64, owners: usize) -> Self {
        let schedule = Arc::new(Schedule::new(first, rate, total, owners));
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
    fn new(first: Instant, rate: f64, total: u64, owners: usize) -> Self {
        let lane = |_| Lane { taken: AtomicU64::new(0), due: Semaphore::new(0) };
        Self { first, rate, total, lanes: (0..owners.max(1)).map(lane).collect(), ended: AtomicBool::new(false) }
    }

    #[expect(clippy::cast_precision_loss, reason = "a schedule has far fewer moments than 2^52")]
    fn at(&self, number: u64) -> Instant {
        self.first + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many moments have come at `now`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and bounded by the total")]
    fn come(&self, now: Instant) -> u64 {
        let Some(passed) = now.checked_duration_since(self.first) else { return 0 };
        let mut come = ((passed.as_secs_f64() * self.rate) as u64).min(self.total);
        // The two directions of the arithmetic may round differently.
        while come > 0 && self.at(come - 1) > now {
            come -= 1;
        }
        while come < self.total && self.at(come) <= now {
            come += 1;
        }
        come
    }

    /// How many of the first `count` moments are a lane's.
    fn share(&self, lane: usize, count: u64) -> u64 {
        let lanes = self.lanes.len() as u64;
        (count + lanes - 1 - lane as u64) / lanes
    }

    /// The moment that is a lane's `place`-th.
    fn number(&self, lane: usize, place: u64) -> u64 {
        place * self.lanes.len() as u64 + lane as u64
    }

    async fn next(&self, at: usize) -> Option<Instant> {
        let lane = &self.lanes[at];
        lane.due.acquire().await.ok()?.forget();
        let place = lane.taken.fetch_add(1, Ordering::Relaxed);
        if place + 1 >= self.share(at, self.total) {
            lane.due.close();
        }
        Some(self.at(self.number(at, place)))
    }

    fn close(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.lanes.iter().for_each(|lane| lane.due.close());
    }

    /// Gives a permit for each moment when it comes.
    fn watch(&self) {
        // An owner beyond the last moment has none to wait for.
        (0..self.lanes.len()).filter(|lane| self.share(*lane, self.total) == 0).for_each(|lane| self.lanes[lane].due.close());
        let mut given = 0;
        while given < self.total && !self.ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            let come = self.come(now);
            if come > given {
                self.give(given, come);
                given = come;
            } else {
                thread::park_timeout(self.at(given).saturating_duration_since(now));
            }
        }
    }

    fn give(&self, given: u64, come: u64) {
        let lanes = self.lanes.len() as u64;
        // No more lanes are looked at than there are moments.
        for number in given..come.min(given + lanes) {
            let lane = usize::try_from(number % lanes).unwrap_or_default();
            let permits = usize::try_from(self.share(lane, come) - self.share(lane, given)).unwrap_or(usize::MAX);
            self.lanes[lane].due.add_permits(permits.min(Semaphore::MAX_PERMITS / 2));
        }
    }

    fn tell_missed(&self, lane: usize, tally: &Tally, begin: Instant, end: Instant) {
        let mut place = self.lanes[lane].taken.load(Ordering::Relaxed).max(self.share(lane, self.come(begin)).saturating_sub(1));
        let come = self.share(lane, self.come(end));
        if place < come && self.at(self.number(lane, place)) < begin {
            place += 1;
        }
        let groups = (GROUPS / self.lanes.len() as u64).max(1);
        let group = (come.saturating_sub(place) / groups).max(1);
        while place < come {
            let count = group.min(come - place);
            tally.missed(self.at(self.number(lane, place + count / 2)), count);
            place += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_when_they_are_due_and_never_more_than_there_are() {
        let first = Instant::now();
        let schedule = Schedule::new(first, 30.0, 5, 1);
        let come = [0, 33, 34, 66, 67, 100, 10_000].map(|millis| schedule.come(first + Duration::from_millis(millis)));
        assert_eq!(come, [1, 1, 2, 2, 3, 4, 5]);
        let each = (0..5).map(|number| schedule.come(schedule.at(number)));
        assert_eq!(each.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    /// A run that waits for the broker before it begins the next write must not forget those that were due meanwhile.
    #[tokio::test]
    async fn moments_that_nobody_was_free_for_are_not_forgotten() {
        let first = Instant::now() - Duration::from_secs(1);
        let pace = Pace::Schedule(Timer::start(first, 100.0, 1_000, 1));
        let taken = [pace.next(0).await, pace.next(0).await].map(|due| due.map(|due| due - first));
        assert_eq!(taken, [Some(Duration::ZERO), Some(Duration::from_millis(10))]);
        pace.close();
        assert_eq!(pace.next(0).await, None);
        let tally = Tally::default();
        pace.tell_missed(&tally, first, first + Duration::from_millis(995));
        let total = tally.total();
        assert_eq!((total.missed, total.latency.n, total.messages), (98, 98, 0));
        assert!(total.latency.max >= 900_000, "{:?}", total.latency);
    }

    #[tokio::test]
    async fn moments_of_the_warm_up_are_not_missed() {
        let first = Instant::now() - Duration::from_secs(1);
        let pace = Pace::Schedule(Timer::start(first, 10.0, 100, 1));
        pace.close();
        let tally = Tally::default();
        pace.tell_missed(&tally, first + Duration::from_millis(500), first + Duration::from_millis(950));
        assert_eq!(tally.total().missed, 5);
    }

    #[tokio::test]
    async fn moments_are_dealt_to_owners_in_turn_until_there_are_none() {
        let first = Instant::now() - Duration::from_secs(1);
        let pace = Pace::Schedule(Timer::start(first, 100.0, 5, 3));
        for (owner, millis) in [(0, vec![0, 30]), (1, vec![10, 40]), (2, vec![20])] {
            for expected in millis {
                assert_eq!(pace.next(owner).await.map(|due| (due - first).as_millis()), Some(expected));
            }
            assert_eq!(pace.next(owner).await, None);
        }
    }

    #[tokio::test]
    async fn an_owner_for_whom_there_is_no_moment_does_not_wait_for_one() {
        let pace = Pace::Schedule(Timer::start(Instant::now(), 1e6, 3, 4));
        assert_eq!(pace.next(3).await, None);
    }

    #[tokio::test]
    async fn what_each_owner_missed_is_told() {
        let first = Instant::now() - Duration::from_secs(1);
        let pace = Pace::Schedule(Timer::start(first, 1_000.0, 700, 7));
        let taken = [pace.next(0).await, pace.next(3).await];
        pace.close();
        let tally = Tally::default();
        pace.tell_missed(&tally, first, first + Duration::from_secs(1));
        assert_eq!((taken.map(|due| due.is_some()), tally.total().missed), ([true; 2], 698));
    }
}
