//! The newest pulse of each queue, in memory: passed on to live subscriptions, and to whoever subscribes next. [P-16]
//!
//! A restarted broker knows none: the owner's next one comes soon enough, and a reader never needs one to verify anything. A queue
//! whose owner promised nothing any more costs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidings_core::{QueueDescriptor, SignedHead};
use tidings_proto::{HeadRank, QueueId, Refusal, Timestamp};

use super::shared::{Shared, now};
use super::wakes::Wakes;
use crate::engine::{Pulsed, check_pulse, refusal_of};

/// Queues of which a pulse is kept, about 400 bytes each.
const QUEUES_MAX: usize = 100_000;
/// A pulse that comes sooner after another of its queue is dropped, milliseconds. [P-19]
const PACE: u64 = 1_000;

/// Newest pulses.
#[derive(Debug)]
pub(super) struct Pulses {
    wakes: Arc<Wakes>,
    kept: Mutex<Kept>,
}

/// The oldest are forgotten first, and those whose promise is over.
#[derive(Debug)]
struct Kept {
    queues_max: usize,
    clock: u64,
    newest: HashMap<QueueId, Newest>,
    by_arrival: BTreeMap<u64, QueueId>,
}

#[derive(Debug)]
struct Newest {
    arrival: u64,
    /// When it came, by this broker's clock.
    at: Timestamp,
    pulse: Pulsed,
}

impl Pulses {
    pub(super) fn new(wakes: Arc<Wakes>) -> Self {
        Self { wakes, kept: Mutex::new(Kept::new(QUEUES_MAX)) }
    }

    /// The newest pulse of a queue, if one is kept.
    pub(super) fn newest(&self, queue: &QueueId) -> Option<Pulsed> {
        self.lock().newest.get(queue).map(|newest| newest.pulse.clone())
    }

    /// Whether one that comes now would be looked at.
    fn expects(&self, queue: &QueueId, now: Timestamp) -> bool {
        self.lock().newest.get(queue).is_none_or(|newest| newest.is_past(now))
    }

    /// Keeps a pulse whose head stands here, and tells live subscriptions, if it is newer than the one kept.
    fn keep(&self, queue: QueueId, pulse: Pulsed, now: Timestamp) {
        if self.lock().put(queue, &pulse, now) {
            self.wakes.pulse(&queue, &pulse);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Both maps are whole after every step.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Takes a pulse that came on the publish stream of the queue of `descriptor`. There is no answer to one that is taken, nor to one
    /// that is dropped: too soon after another, older than the one kept, or of a head that does not stand here (yet).
    ///
    /// # Errors
    /// What the owner may not send: the stream ends with it. Or the store cannot be read: that is not for the owner.
    pub(super) async fn take_pulse(&self, descriptor: &QueueDescriptor, bytes: &Bytes) -> Result<(), Refusal> {
        let queue = descriptor.id();
        if !self.pulses.expects(&queue, now()) {
            return Ok(());
        }
        // One signature, about fifty microseconds, once a second.
        let pulse = check_pulse(descriptor, bytes)?;
        let row = self.read(move |store| store.queue(&queue)).await.map_err(|error| refusal_of(&error))?;
        let standing = row.and_then(|row| SignedHead::parse(row.head).ok()).map_or(HeadRank::default(), |head| head.rank());
        // One of an older term is about a branch that was left.
        if pulse.rank <= standing && pulse.rank.term == standing.term {
            self.pulses.keep(queue, pulse, now());
        }
        Ok(())
    }
}

impl Newest {
    /// Whether the next may come. A clock that was set back must not silence an owner.
    fn is_past(&self, now: Timestamp) -> bool {
        now.value().abs_diff(self.at.value()) >= PACE
    }
}

impl Kept {
    fn new(queues_max: usize) -> Self {
        Self { queues_max, clock: 0, newest: HashMap::new(), by_arrival: BTreeMap::new() }
    }

    /// Whether it is newer than the one kept.
    fn put(&mut self, queue: QueueId, pulse: &Pulsed, now: Timestamp) -> bool {
        if let Some(kept) = self.newest.get(&queue) {
            // Two terms may be of two clocks.
            if (kept.pulse.rank.term, kept.pulse.time) >= (pulse.rank.term, pulse.time) {
                return false;
            }
            self.by_arrival.remove(&kept.arrival);
        }
        self.clock += 1;
        self.by_arrival.insert(self.clock, queue);
        self.newest.insert(queue, Newest { arrival: self.clock, at: now, pulse: pulse.clone() });
        self.forget(now);
        true
    }

    /// What is too much, and of the two that came longest ago those whose promise is over: so none stays for long, and no pulse costs a
    /// walk over all.
    fn forget(&mut self, now: Timestamp) {
        let oldest: Vec<(u64, QueueId)> = self.by_arrival.iter().take(2).map(|(arrival, queue)| (*arrival, *queue)).collect();
        for (arrival, queue) in oldest {
            let over = |newest: &Newest| newest.pulse.promise.is_none_or(|promise| promise < now) && newest.is_past(now);
            if self.newest.len() > self.queues_max || self.newest.get(&queue).is_some_and(over) {
                self.newest.remove(&queue);
                self.by_arrival.remove(&arrival);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{HeadNumber, Term};

    use super::*;

    fn queue(id: u8) -> QueueId {
        QueueId::new([id; 32])
    }

    fn pulse(time: u64, promise: u64) -> Pulsed {
        let rank = HeadRank { term: Term::new(1), number: HeadNumber::new(1) };
        Pulsed { rank, time: Timestamp::new(time), promise: Some(Timestamp::new(promise)), bytes: Bytes::from(time.to_be_bytes().to_vec()) }
    }

    fn kept(kept: &Kept) -> Vec<QueueId> {
        assert_eq!(kept.newest.len(), kept.by_arrival.len());
        kept.by_arrival.values().copied().collect()
    }

    #[test]
    fn an_older_pulse_changes_nothing() {
        let mut all = Kept::new(9);
        let news = [5, 5, 4, 6].map(|time| all.put(queue(1), &pulse(time, 100), Timestamp::new(0)));
        assert_eq!((news, kept(&all)), ([true, false, false, true], vec![queue(1)]));
    }

    /// [P-16] The owner's state was put back on a machine whose clock is behind.
    #[test]
    fn a_pulse_of_a_higher_term_is_newer_whatever_its_clock_says() {
        let mut all = Kept::new(9);
        let of_term = |term, time| {
            let mut pulse = pulse(time, 100);
            pulse.rank.term = Term::new(term);
            pulse
        };
        let news = [of_term(1, 50), of_term(2, 5), of_term(1, 60), of_term(2, 6)].map(|pulse| all.put(queue(1), &pulse, Timestamp::new(0)));
        assert_eq!(news, [true, true, false, true]);
    }

    /// [P-19]
    #[test]
    fn the_queues_that_were_quiet_longest_are_forgotten_first() {
        let mut all = Kept::new(2);
        for (time, id) in [1, 2, 1, 3].into_iter().enumerate() {
            all.put(queue(id), &pulse(time as u64 + 1, 100), Timestamp::new(0));
        }
        assert_eq!(kept(&all), [queue(1), queue(3)]);
    }

    #[test]
    fn a_queue_whose_owner_promises_nothing_any_more_costs_nothing() {
        let mut all = Kept::new(9);
        all.put(queue(1), &pulse(1, 10), Timestamp::new(1));
        all.put(queue(2), &pulse(1, 9_000), Timestamp::new(1 + PACE));
        assert_eq!(kept(&all), [queue(2)]);
    }

    /// [P-19]
    #[test]
    fn a_queue_is_heard_once_a_second() {
        let pulses = Pulses::new(Arc::default());
        pulses.keep(queue(1), pulse(1, 10), Timestamp::new(5_000));
        let expected = [5_000, 5_999, 6_000, 4_001, 4_000].map(|now| pulses.expects(&queue(1), Timestamp::new(now)));
        assert_eq!(expected, [false, false, true, false, true]);
    }
}
