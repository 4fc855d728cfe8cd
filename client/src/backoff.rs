//! When to try again: full jitter, so that many clients of one broker do not come back together.
//! Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

use tokio::time::Instant;

const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A broker that says nothing costs it nothing: for the first half minute it is tried so often that a path that returns is found within
/// seconds.
const UNANSWERED_LONGEST: Duration = Duration::from_secs(1);
/// After that, the longest delay is this part of the time without any answer.
const UNANSWERED_PART: u32 = 30;

/// Delays between attempts that fail in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    hurried: bool,
    /// Since when nobody answers.
    unanswered_since: Option<Instant>,
}

impl Backoff {
    /// An attempt failed: how long to wait for the next one. `chance` is a random number; the highest gives the longest delay.
    pub(crate) fn failed(&mut self, chance: u64) -> Duration {
        self.answered();
        part(self.bound(LONGEST), chance)
    }

    /// The same where nobody answered at all: a path that was away for a minute is found again within seconds, and the delays grow
    /// with the time that it is away, not with the attempts.
    pub(crate) fn unanswered(&mut self, now: Instant, chance: u64) -> Duration {
        let away = now.saturating_duration_since(*self.unanswered_since.get_or_insert(now));
        let longest = (away / UNANSWERED_PART).clamp(UNANSWERED_LONGEST, LONGEST);
        part(self.bound(longest), chance)
    }

    /// Somebody answered, whatever came of it.
    pub(crate) fn answered(&mut self) {
        self.unanswered_since = None;
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Somebody waits for the result: true once in a row of failures.
    pub(crate) fn hurry(&mut self) -> bool {
        !std::mem::replace(&mut self.hurried, true)
    }

    /// Doubles with every attempt.
    fn bound(&mut self, longest: Duration) -> Duration {
        let bound = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        bound
    }
}

/// The part of `bound` that a random number stands for.
pub(crate) fn part(bound: Duration, chance: u64) -> Duration {
    bound.mul_f64(chance as f64 / u64::MAX as f64)
}

/// A random number for [`Backoff::failed`]. Without randomness the longest delay is as good as any.
pub(crate) fn chance() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_a_bound_that_doubles_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let bounds = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        for bound in bounds {
            let mut same = backoff.clone();
            assert_eq!(same.failed(u64::MAX), Duration::from_millis(bound));
            assert_eq!(backoff.failed(0), Duration::ZERO);
        }
    }

    #[test]
    fn a_broker_that_does_not_answer_is_tried_every_second_at_first_and_ever_less_often_after_it() {
        let (mut backoff, lost) = (Backoff::default(), Instant::now());
        let mut longest = |away: u64| backoff.unanswered(lost + Duration::from_secs(away), u64::MAX).as_millis();
        let delays = [0, 10, 20, 30, 60, 120, 480, 3_600].map(&mut longest);
        assert_eq!(delays, [250, 500, 1_000, 1_000, 2_000, 4_000, 16_000, 30_000]);
    }

    #[test]
    fn an_answer_ends_the_time_without_one() {
        let (mut backoff, lost) = (Backoff::default(), Instant::now());
        let hour = lost + Duration::from_secs(3_600);
        for _ in 0..9 {
            backoff.unanswered(lost, 0);
        }
        backoff.answered();
        assert!(backoff.unanswered(hour, u64::MAX) <= UNANSWERED_LONGEST);
        backoff.failed(0);
        assert!(backoff.unanswered(hour + Duration::from_secs(3_600), u64::MAX) <= UNANSWERED_LONGEST);
    }

    #[test]
    fn a_success_begins_again_with_short_delays() {
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            backoff.failed(0);
        }
        backoff.succeeded();
        assert!(backoff.failed(u64::MAX) <= SHORTEST);
    }

    #[test]
    fn a_hurry_counts_once_until_something_succeeds() {
        let mut backoff = Backoff::default();
        assert!(backoff.hurry());
        assert!(!backoff.hurry());
        backoff.succeeded();
        assert!(backoff.hurry());
    }
}
