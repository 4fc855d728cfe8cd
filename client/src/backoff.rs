//! When to try again: full jitter, so that many clients of one broker do not come back together.
//! Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// Delays between attempts that fail in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    hurried: bool,
}

impl Backoff {
    /// An attempt failed: how long to wait for the next one. `chance` is a random number; the highest gives the longest delay.
    pub(crate) fn failed(&mut self, chance: u64) -> Duration {
        let bound = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(chance as f64 / u64::MAX as f64)
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Somebody waits for the result: true once in a row of failures.
    pub(crate) fn hurry(&mut self) -> bool {
        !std::mem::replace(&mut self.hurried, true)
    }
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
