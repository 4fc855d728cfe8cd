//! What was read: one reading of each system in each case and round, then the median of the rounds.

use std::future::Future;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::latency::Percentiles;
use crate::meter::Cost;
use crate::peer::System;

const MICROS_A_SECOND: f64 = 1e6;

/// What a case is judged by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Judge {
    /// Messages a second; more is better.
    PerSecond,
    /// Median latency in microseconds; less is better, as below.
    P50,
    /// Seconds from the beginning to the end.
    Seconds,
    /// Bytes of memory for each.
    Bytes,
}

/// One system, one case, one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Messages that were answered or read, or things that bytes are divided among.
    pub(crate) messages: u64,
    /// Time for all of them.
    pub(crate) seconds: f64,
    /// Bytes for each, if that is what is measured.
    pub(crate) bytes: f64,
    /// Latency of each message.
    pub(crate) latency: Option<Percentiles>,
    /// Cost of each message.
    pub(crate) cost: Cost,
    /// How the system was used, in words.
    pub(crate) setting: String,
    /// The figure over time: seconds since the beginning of the workload, and what it was then.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// One line of a table: the rounds of one system in one case.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    /// The case.
    pub(crate) case: String,
    /// What it is judged by.
    pub(crate) judge: Judge,
    /// The system.
    pub(crate) system: System,
    /// How it was used.
    pub(crate) setting: String,
    /// Rounds that gave a figure.
    pub(crate) rounds: usize,
    /// Messages of the median round.
    pub(crate) messages: u64,
    /// The median figure, in the unit of the judge; `None` if it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) figure: Option<f64>,
    /// The smallest and the largest figure of the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spread: Option<(f64, f64)>,
    /// Latency in the median round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Percentiles>,
    /// Cost in the median round.
    pub(crate) cost: Cost,
    /// The figure over time in the median round, if it was watched: seconds and the figure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curve: Vec<(f64, f64)>,
    /// Why there is no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// The readings of one workload, in the order of the first round.
#[derive(Default)]
pub(crate) struct Sheet(Vec<Taken>);

struct Taken {
    case: String,
    judge: Judge,
    system: System,
    readings: Vec<Reading>,
    failure: Option<String>,
}

impl Judge {
    /// The figure of a reading.
    fn figure(self, reading: &Reading) -> f64 {
        match self {
            Self::PerSecond => reading.messages as f64 / reading.seconds,
            Self::P50 => reading.latency.map_or(f64::NAN, |latency| latency.p50),
            Self::Seconds => reading.seconds,
            Self::Bytes => reading.bytes,
        }
    }

    /// How many times better `ours` is than `theirs`.
    pub(crate) fn ratio(self, ours: f64, theirs: f64) -> f64 {
        if self == Self::PerSecond { ours / theirs } else { theirs / ours }
    }

    /// A figure as people read it.
    pub(crate) fn written(self, figure: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", grouped(figure)),
            Self::P50 => duration(figure),
            Self::Seconds => duration(figure * MICROS_A_SECOND),
            Self::Bytes => bytes(figure),
        }
    }
}

impl Sheet {
    /// Does one reading and notes it, or why there is none: one system that fails must not end the run of the others.
    pub(crate) async fn take(&mut self, case: &str, judge: Judge, system: System, work: impl Future<Output = Result<Reading>>) {
        let read = work.await;
        match &read {
            Ok(reading) => eprintln!("  {case}, {}: {} {}", system.name(), judge.written(judge.figure(reading)), reading.setting),
            Err(error) => eprintln!("  {case}, {}: {error:#}", system.name()),
        }
        self.note(case, judge, system, read);
    }

    /// Notes a reading that was taken in the course of another one.
    pub(crate) fn note(&mut self, case: &str, judge: Judge, system: System, read: Result<Reading>) {
        let place = self.0.iter().position(|taken| taken.case == case && taken.system == system).unwrap_or_else(|| {
            self.0.push(Taken { case: case.to_owned(), judge, system, readings: Vec::new(), failure: None });
            self.0.len() - 1
        });
        match read {
            Ok(reading) => self.0[place].readings.push(reading),
            Err(error) => self.0[place].failure = Some(format!("{error:#}")),
        }
    }

    /// One line for each system in each case, the lines of a case together.
    pub(crate) fn rows(self) -> Vec<Row> {
        let mut cases: Vec<String> = Vec::new();
        for taken in &self.0 {
            if !cases.contains(&taken.case) {
                cases.push(taken.case.clone());
            }
        }
        let mut rows: Vec<_> = self.0.into_iter().map(row).collect();
        rows.sort_by_key(|row| cases.iter().position(|case| *case == row.case));
        rows
    }
}

fn row(mut taken: Taken) -> Row {
    let judge = taken.judge;
    taken.readings.sort_by(|one, other| judge.figure(one).total_cmp(&judge.figure(other)));
    let rounds = taken.readings.len();
    let figures: Vec<f64> = taken.readings.iter().map(|reading| judge.figure(reading)).collect();
    let spread = figures.first().copied().zip(figures.last().copied());
    let median = taken.readings.into_iter().nth(rounds.saturating_sub(1) / 2);
    let figure = median.as_ref().map(|reading| judge.figure(reading));
    let Reading { messages, latency, cost, setting, curve, .. } = median.unwrap_or_default();
    let failure = taken.failure.filter(|_| rounds == 0);
    Row { case: taken.case, judge, system: taken.system, setting, rounds, messages, figure, spread, latency, cost, curve, failure }
}

/// Microseconds as a time of three digits.
pub(crate) fn duration(micros: f64) -> String {
    match micros {
        _ if micros >= 1e7 => format!("{:.1} s", micros / 1e6),
        _ if micros >= 1e6 => format!("{:.2} s", micros / 1e6),
        _ if micros >= 1e5 => format!("{:.0} ms", micros / 1e3),
        _ if micros >= 1e4 => format!("{:.1} ms", micros / 1e3),
        _ if micros >= 1e3 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{micros:.0} µs"),
    }
}

/// Bytes as a size of three digits.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        _ if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        _ if bytes >= 1e7 => format!("{:.0} MB", bytes / 1e6),
        _ if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        _ if bytes >= 1e4 => format!("{:.1} KB", bytes / 1e3),
        _ => format!("{} B", grouped(bytes)),
    }
}

/// A number with commas; above 10,000 to three digits.
pub(crate) fn grouped(number: f64) -> String {
    let unit = if number >= 1e4 { 10f64.powi(number.log10().floor() as i32 - 2) } else { 1.0 };
    let digits = format!("{:.0}", (number / unit).round() * unit);
    let places = digits.len();
    let marked =
        digits.char_indices().map(|(at, digit)| if at > 0 && (places - at) % 3 == 0 { format!(",{digit}") } else { digit.to_string() });
    marked.collect()
}

#[cfg(test)]
mod tests {
    use super::{Judge, Reading, Sheet, bytes, duration, grouped};
    use crate::peer::System;

    fn reading(messages: u64) -> anyhow::Result<Reading> {
        Ok(Reading { messages, seconds: 1.0, ..Reading::default() })
    }

    #[test]
    fn the_median_round_speaks_for_a_system_and_the_others_are_its_spread() {
        let mut sheet = Sheet::default();
        for messages in [30, 10, 20] {
            sheet.note("a", Judge::PerSecond, System::JetStream, reading(messages));
        }
        let rows = sheet.rows();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].rounds, rows[0].figure, rows[0].spread), (3, Some(20.0), Some((10.0, 30.0))));
    }

    #[test]
    fn a_system_that_failed_in_every_round_says_why_and_one_that_failed_once_does_not() {
        let mut sheet = Sheet::default();
        sheet.note("a", Judge::PerSecond, System::JetStream, Err(anyhow::anyhow!("no")));
        sheet.note("a", Judge::PerSecond, System::Tidings, Err(anyhow::anyhow!("no")));
        sheet.note("a", Judge::PerSecond, System::Tidings, reading(1));
        let failures: Vec<_> = sheet.rows().into_iter().map(|row| row.failure).collect();
        assert_eq!(failures, [Some("no".to_owned()), None]);
    }

    #[test]
    fn lines_of_one_case_stand_together_however_they_were_taken() {
        let mut sheet = Sheet::default();
        for system in [System::Tidings, System::JetStream] {
            for case in ["b", "a"] {
                sheet.note(case, Judge::PerSecond, system, reading(1));
            }
        }
        let cases: Vec<_> = sheet.rows().into_iter().map(|row| row.case).collect();
        assert_eq!(cases, ["b", "b", "a", "a"]);
    }

    #[test]
    fn a_ratio_above_one_says_that_ours_is_better_whatever_is_measured() {
        assert_eq!(Judge::PerSecond.ratio(20.0, 10.0), 2.0);
        assert_eq!(Judge::Seconds.ratio(10.0, 20.0), 2.0);
    }

    #[test]
    fn figures_are_written_with_three_digits() {
        assert_eq!([grouped(87_654.0), grouped(999.4), grouped(1_234_567.0)], ["87,700", "999", "1,230,000"]);
        assert_eq!([duration(138.2), duration(12_345.0), duration(2_500_000.0)], ["138 µs", "12.3 ms", "2.50 s"]);
        assert_eq!([bytes(36_900.0), bytes(256.0)], ["36.9 KB", "256 B"]);
    }
}
