//! What a run prints.

use std::time::Duration;

use serde::Serialize;
use tidings_client::connection::Traffic;

use super::connections::Connections;
use super::ground::{Ground, Keeping};
use super::latency::Latency;
use super::usage;

/// What this process used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    cpu: Option<Duration>,
    traffic: Traffic,
}

/// Parameters of every workload.
#[derive(Debug, Serialize)]
pub(super) struct Base {
    workload: &'static str,
    broker: String,
    state: Keeping,
}

/// Figures of every workload.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// From the first moment that counts to the last answer.
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) per_second: f64,
    pub(super) latency_us: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_message: Option<f64>,
    sent_bytes: u64,
    received_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_max_bytes: Option<u64>,
    pub(super) interrupted: bool,
    tidings: &'static str,
}

impl Spent {
    /// Up to now, with what went over these connections.
    pub(super) fn now(connections: &[&Connections]) -> Self {
        let traffic = connections.iter().map(|connections| connections.traffic());
        let traffic = traffic.fold(Traffic::default(), sum_of);
        Self { cpu: usage::cpu(), traffic }
    }

    /// Since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        let cpu = self.cpu.zip(before.cpu).map(|(now, before)| now.saturating_sub(before));
        let sent = self.traffic.sent.saturating_sub(before.traffic.sent);
        let received = self.traffic.received.saturating_sub(before.traffic.received);
        Self { cpu, traffic: Traffic { sent, received } }
    }

    /// This and more.
    pub(super) fn and(self, more: Self) -> Self {
        Self { cpu: self.cpu.zip(more.cpu).map(|(one, other)| one + other), traffic: sum_of(self.traffic, more.traffic) }
    }

    /// Bytes that left.
    pub(super) fn sent(&self) -> u64 {
        self.traffic.sent
    }

    /// Bytes that came.
    pub(super) fn received(&self) -> u64 {
        self.traffic.received
    }
}

impl Base {
    /// Of this run.
    pub(super) fn new(workload: &'static str, ground: &Ground) -> Self {
        Self { workload, broker: ground.broker.to_string(), state: ground.keeping }
    }
}

impl Figures {
    /// `messages` in `time`.
    pub(super) fn new(messages: u64, time: Duration, latency_us: Latency, spent: Spent, interrupted: bool) -> Self {
        let seconds = time.as_secs_f64();
        Self {
            seconds: rounded(seconds, 1e6),
            messages,
            per_second: per(messages, time),
            latency_us,
            cpu_us_per_message: spent.cpu.filter(|_| messages > 0).map(|cpu| rounded(cpu.as_secs_f64() * 1e6 / float(messages), 100.0)),
            sent_bytes: spent.traffic.sent,
            received_bytes: spent.traffic.received,
            rss_max_bytes: usage::rss_max(),
            interrupted,
            tidings: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Lines for people: how many of what, how long each took, and what it cost here.
    pub(super) fn words(&self, what: &str, latency: &str) -> String {
        let Self { seconds, messages, per_second, latency_us, .. } = self;
        let each = |bytes: u64| if *messages == 0 { 0.0 } else { float(bytes) / float(*messages) };
        let cpu = self.cpu_us_per_message.map_or_else(String::new, |cpu| format!("{cpu:.1} us of processor time, "));
        let memory = self.rss_max_bytes.map_or_else(String::new, |bytes| format!("; at most {} MiB of memory", bytes >> 20));
        let stopped = if self.interrupted { " (interrupted)" } else { "" };
        format!(
            "{messages} {what} in {seconds:.2} s: {per_second:.0} a second{stopped}\n{latency}: {}\nhere, for each: {cpu}{:.0} bytes sent, \
             {:.0} received{memory}",
            latency_us.words(),
            each(self.sent_bytes),
            each(self.received_bytes),
        )
    }
}

/// How many in a second, to one digit behind the point.
pub(super) fn per(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { rounded(float(count) / time.as_secs_f64(), 10.0) }
}

/// `1 owner`, `2 owners`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Seconds to the microsecond.
pub(super) fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64(), 1e6)
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[expect(clippy::cast_precision_loss, reason = "figures are told to a few digits")]
fn float(count: u64) -> f64 {
    count as f64
}

fn sum_of(one: Traffic, other: Traffic) -> Traffic {
    Traffic { sent: one.sent + other.sent, received: one.received + other.received }
}
