//! That the newest head is still the newest, said again and again. [P-16]

use std::time::Duration;

use bytes::Bytes;
use tidings_core::{Pulse, SignedHead};
use tidings_proto::Timestamp;
use tokio::time::Instant;

use super::super::lines::Up;
use super::Task;
use crate::clock;

/// Within how many intervals the next pulse is promised: a lost one, or a slow one, breaks no promise.
const PROMISED_INTERVALS: u32 = 3;

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    /// Time of the last pulse. The next one is later, even if the clock went back.
    last: Timestamp,
    /// Another pulse was promised.
    promised: bool,
}

impl Task {
    /// Says that the newest head is the newest, where that is due, to every broker that holds it.
    pub(super) fn pulse(&mut self) {
        let Some(every) = self.config.pulse_every else { return };
        let now = Instant::now();
        if self.lines.ups().all(|up| up.pulse_at.is_none_or(|due| due > now)) {
            return;
        }
        self.send_pulse(Some(every), |up| up.pulse_at.is_some_and(|due| due <= now), Some(now + every));
    }

    /// Takes the promise of another pulse back, before this node falls silent on purpose. True if that was said.
    pub(super) fn promise_nothing(&mut self) -> bool {
        self.pulses.promised && self.send_pulse(None, |_| true, None)
    }

    /// A reader that hears of a head which the broker does not have would accuse the broker: so nothing is said there until it is
    /// receipted there.
    fn send_pulse(&mut self, every: Option<Duration>, to: impl Fn(&Up) -> bool, again: Option<Instant>) -> bool {
        let (pulse, number) = {
            let owner = self.owner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let Some(head) = owner.writer.head() else { return false };
            let pulse = next(head, self.pulses.last, clock::now(), every);
            (Pulsing { time: pulse.time, bytes: pulse.sign(&owner.key) }, head.rank().number)
        };
        let mut sent = false;
        for up in self.lines.ups_mut().filter(|up| up.session.holds(number) && to(up)) {
            if up.session.send_pulse(pulse.bytes.clone()) {
                (up.pulse_at, sent) = (again, true);
            }
        }
        if sent {
            self.pulses.last = pulse.time;
            self.pulses.promised = every.is_some();
        }
        sent
    }
}

/// A signed pulse.
struct Pulsing {
    time: Timestamp,
    bytes: Bytes,
}

/// The pulse for `head` after one at `last`.
fn next(head: &SignedHead, last: Timestamp, now: Timestamp, every: Option<Duration>) -> Pulse {
    let time = now.max(head.head().time).max(Timestamp::new(last.value().saturating_add(1)));
    let promise = |every: Duration| {
        let millis = u64::try_from((every * PROMISED_INTERVALS).as_millis()).unwrap_or(u64::MAX);
        Timestamp::new(time.value().saturating_add(millis.max(1)))
    };
    let queue = head.head().queue;
    Pulse { queue, rank: head.rank(), head: head.hash(), time, next: every.map_or(Timestamp::ZERO, promise) }
}
