//! Histograms of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart, microseconds: one hour.
const MICROS_MAX: u64 = 3_600_000_000;
/// Decimal digits of a latency that are kept.
const DIGITS: u8 = 3;

/// Latencies, to three digits, in bounded memory.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// What is told of latencies, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latency {
    /// How many there are.
    pub(super) n: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
    pub(super) mean: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("the bounds are in order, and the digits at most five"))
    }
}

impl Latencies {
    /// Takes one.
    pub(super) fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Takes `count` that are the same.
    pub(super) fn record_many(&mut self, latency: Duration, count: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, MICROS_MAX);
        self.0.saturating_record_n(micros, count);
    }

    /// What they come to.
    pub(super) fn summary(&self) -> Latency {
        let at = |quantile| self.0.value_at_quantile(quantile);
        let mean = (self.0.mean() * 10.0).round() / 10.0;
        Latency { n: self.0.len(), p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: self.0.max(), mean }
    }
}

impl Latency {
    /// One line for people.
    pub(super) fn words(&self) -> String {
        let Self { p50, p90, p99, p999, max, .. } = *self;
        let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(time);
        format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, longest {max}")
    }
}

/// Microseconds in the unit that people read best.
#[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|millis| latencies.record(Duration::from_millis(millis)));
        let Latency { n, p50, p99, max, .. } = latencies.summary();
        let near = |found: u64, millis: u64| found.abs_diff(millis * 1_000) <= millis;
        assert!(n == 1_000 && near(p50, 500) && near(p99, 990) && near(max, 1_000), "{:?}", latencies.summary());
    }

    #[test]
    fn what_is_out_of_bounds_counts_at_the_bound() {
        let mut latencies = Latencies::default();
        [Duration::ZERO, Duration::from_secs(100_000)].into_iter().for_each(|latency| latencies.record(latency));
        let Latency { n, p50, max, .. } = latencies.summary();
        assert!(n == 2 && p50 == 1 && max >= MICROS_MAX, "{:?}", latencies.summary());
    }

    #[test]
    fn a_time_is_told_in_the_unit_that_fits() {
        assert_eq!([12, 1_250, 2_500_000].map(time), ["12 us", "1.25 ms", "2.50 s"]);
    }
}
