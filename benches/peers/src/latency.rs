//! Latencies as a histogram.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

const SIGNIFICANT_DIGITS: u8 = 3;
const NANOS_A_MICRO: f64 = 1000.0;

/// Gathers durations.
pub(crate) struct Latencies(Histogram<u64>);

/// Percentiles, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Percentiles {
    /// How many were measured.
    pub(crate) n: u64,
    /// Half took at most this.
    pub(crate) p50: f64,
    /// 99 of 100.
    pub(crate) p99: f64,
    /// 999 of 1,000.
    pub(crate) p999: f64,
    /// The longest.
    pub(crate) max: f64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Histogram::new(SIGNIFICANT_DIGITS).expect("three digits are allowed"))
    }

    /// Adds one.
    pub(crate) fn add(&mut self, took: Duration) {
        // It grows as it must, so everything that fits into 64 bits of nanoseconds is kept.
        self.0.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)).expect("it resizes itself");
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both grow as they must");
    }

    /// What there is to say about them; `None` of none.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / NANOS_A_MICRO;
        (!self.0.is_empty()).then(|| Percentiles {
            n: self.0.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / NANOS_A_MICRO,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    /// The first run of all said 0 µs everywhere: a histogram that grows by itself does not when values are saturated into it.
    #[test]
    fn latencies_of_a_microsecond_and_of_an_hour_are_told_apart() {
        let mut latencies = Latencies::new();
        (0..99).for_each(|_| latencies.add(Duration::from_micros(1)));
        latencies.add(Duration::from_secs(3600));
        let told = latencies.percentiles().expect("there are some");
        assert_eq!((told.n, told.p50.round(), told.p99.round()), (100, 1.0, 1.0));
        assert!((told.max - 3.6e9).abs() < 3.6e7, "{}", told.max);
    }

    #[test]
    fn of_nothing_nothing_is_told() {
        assert!(Latencies::new().percentiles().is_none());
    }
}
