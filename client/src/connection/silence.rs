//! A path on which nothing comes back any more.
//!
//! QUIC itself gives a connection up half a minute after the last packet, and asks ever more rarely until then: whoever waits for it
//! hears of a path that has returned as late as the path was away. So a connection whose packets are not acknowledged for a few seconds
//! is closed, and dialing begins, which asks every second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn_proto::ConnectionStats;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::error::{CloseReason, ConnectionError};

/// How often a connection is looked at. Nothing is sent for it.
const GLANCE: Duration = Duration::from_secs(1);
/// Glances in a row that find something sent and nothing acknowledged, after which a path counts as lost.
const GLANCES_MIN: u32 = 4;
/// On slow paths it is so many round trips.
const ROUND_TRIPS: u32 = 8;

/// Closes a connection whose path carries nothing back. Ends with the connection's last handle.
#[derive(Debug)]
pub(super) struct Silence {
    fell: Arc<AtomicBool>,
    _watch: JoinSet<()>,
}

impl Silence {
    /// Watches a connection. Needs a tokio runtime.
    pub(super) fn watch(quic: quinn::Connection) -> Self {
        let fell = Arc::new(AtomicBool::new(false));
        let mut watch = JoinSet::new();
        watch.spawn(glance(quic, fell.clone()));
        Self { fell, _watch: watch }
    }

    /// For the streams of this connection.
    pub(super) fn word(&self) -> Word {
        Word(self.fell.clone())
    }
}

/// Tells whether a connection that was closed here was closed for silence.
#[derive(Clone, Debug)]
pub(super) struct Word(Arc<AtomicBool>);

impl Word {
    pub(super) fn reason(&self, reason: CloseReason) -> CloseReason {
        match reason {
            CloseReason::Local if self.0.load(Ordering::Acquire) => {
                CloseReason::Lost("nothing that was sent was acknowledged for seconds".into())
            }
            reason => reason,
        }
    }

    pub(super) fn error(&self, error: ConnectionError) -> ConnectionError {
        match error {
            ConnectionError::Closed { reason } => ConnectionError::closed(self.reason(reason)),
            error => error,
        }
    }
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Passed {
    /// Frames that the other end has to acknowledge.
    sent: u64,
    /// The estimate of a round trip, which every news of something that arrived changes.
    round_trip: Duration,
}

/// Counts glances, not time: a process that was itself stopped for a while has not looked.
#[derive(Debug, Default)]
struct Unacknowledged {
    at_last_word: Passed,
    glances: u32,
}

impl Unacknowledged {
    /// Whether the path counts as lost after `most` glances without a word.
    fn is_silent(&mut self, passed: Passed, most: u32) -> bool {
        if passed.round_trip != self.at_last_word.round_trip {
            *self = Self { at_last_word: passed, glances: 0 };
        } else if passed.sent != self.at_last_word.sent {
            self.glances += 1;
        }
        self.glances >= most
    }
}

async fn glance(quic: quinn::Connection, fell: Arc<AtomicBool>) {
    let mut unacknowledged = Unacknowledged::default();
    let mut glances = interval(GLANCE);
    glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        glances.tick().await;
        if quic.close_reason().is_some() {
            return;
        }
        let stats = quic.stats();
        if unacknowledged.is_silent(passed(&stats), most(stats.path.rtt)) {
            tracing::debug!("a path carries nothing back; its connection is given up");
            fell.store(true, Ordering::Release);
            return quic.close(0u32.into(), b"");
        }
    }
}

fn passed(stats: &ConnectionStats) -> Passed {
    let sent = &stats.frame_tx;
    let streams = sent.stream + sent.reset_stream + sent.stop_sending + sent.max_data + sent.max_stream_data;
    let connection = sent.crypto + sent.new_connection_id + sent.retire_connection_id + sent.path_challenge;
    // What is asked again while no answer comes: of a peer that can be asked to answer at once, nothing else.
    let probes = sent.ping + sent.immediate_ack;
    // Not the acknowledgements that came: a broker that hears nothing repeats its last one with all that it repeats.
    Passed { sent: streams + connection + probes, round_trip: stats.path.rtt }
}

fn most(round_trip: Duration) -> u32 {
    let slow = round_trip.saturating_mul(ROUND_TRIPS).as_secs();
    u32::try_from(slow).unwrap_or(u32::MAX).max(GLANCES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent_after(glances: impl IntoIterator<Item = (u64, u64)>) -> Option<usize> {
        let mut unacknowledged = Unacknowledged::default();
        let passed = |(sent, round_trip)| Passed { sent, round_trip: Duration::from_millis(round_trip) };
        let is_silent = |glance| unacknowledged.is_silent(passed(glance), GLANCES_MIN);
        glances.into_iter().map(is_silent).position(|silent| silent)
    }

    #[test]
    fn a_connection_without_traffic_is_never_given_up() {
        assert_eq!(silent_after([(9, 4); 100]), None);
    }

    #[test]
    fn what_is_not_acknowledged_within_four_glances_is_lost() {
        let path = [(9, 4), (9, 4), (10, 4), (12, 4), (12, 4), (14, 4)];
        assert_eq!(silent_after(path), Some(5));
    }

    /// Something was lost in the very second in which something else was acknowledged: only what is asked again shows it. A path was
    /// found 13 s after its return because that was not counted.
    #[test]
    fn asking_again_for_an_answer_counts_as_sent() {
        let mut stats = ConnectionStats::default();
        let before = passed(&stats);
        stats.frame_tx.immediate_ack += 1;
        assert_eq!(passed(&stats).sent, before.sent + 1);
    }

    #[test]
    fn one_acknowledgement_begins_again() {
        let path = [(9, 4), (10, 4), (11, 4), (12, 4), (13, 5), (14, 5), (14, 5), (15, 5)];
        assert_eq!(silent_after(path), None);
    }

    #[test]
    fn a_slow_path_is_given_eight_round_trips() {
        let glances = [20, 500, 1_500, 20_000].map(|millis| most(Duration::from_millis(millis)));
        assert_eq!(glances, [4, 4, 12, 160]);
    }
}
