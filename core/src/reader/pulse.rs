//! What the owner says between heads, and until when its silence is no news. [P-16]

use core::time::Duration;

use tidings_proto::{HeadHash, HeadRank, Timestamp};

use super::Reader;
use crate::cursor::Cursor;
use crate::pulse::Pulse;

/// How far an owner's clock may be ahead of the reader's before its pulse is ignored.
pub const PULSE_FUTURE_MAX: Duration = Duration::from_secs(5 * 60);

/// What a pulse came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PulseTaken {
    /// The owner was heard of; nothing newer than what is verified is named.
    Heard,
    /// The owner was heard of, and signed a head newer than the verified one: whoever passed the pulse on owes it.
    Ahead(HeadRank),
    /// It names another head at a rank that is known: the owner's key signed two, which only the other head could prove.
    Contradicts,
    /// Not the owner's, of an older term, not newer than the last one, or from the future. Nothing changed.
    Void,
}

/// The last pulse taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastPulse {
    pub(super) rank: HeadRank,
    pub(super) head: HeadHash,
    pub(super) time: Timestamp,
    /// 0 promises nothing.
    pub(super) next: Timestamp,
}

impl Reader {
    /// Takes a pulse that was passed on at `now` by the reader's clock. It can confirm and ask for more, never accuse.
    pub fn on_pulse(&mut self, bytes: &[u8], now: Timestamp) -> PulseTaken {
        let Ok(pulse) = Pulse::verify(bytes, &self.descriptor.signing_key) else { return PulseTaken::Void };
        let horizon = after(now, PULSE_FUTURE_MAX);
        // A replayed pulse must not bring back a promise, nor one from the future make all later ones void.
        let is_void = pulse.queue != self.queue
            // While another branch is read, the one that was given up says nothing any more.
            || pulse.rank.term < if self.rewinding { self.staging.stamp.term } else { self.rank_before().term }
            || pulse.time > horizon
            || self.pulse.is_some_and(|last| pulse.time <= last.time);
        if is_void {
            return PulseTaken::Void;
        }
        let announced = self.attempt.as_ref().and_then(|attempt| attempt.head()).map(|head| head.cursor());
        let contradicts = |known: &Cursor| known.rank == pulse.rank && known.head != pulse.head;
        if contradicts(&self.cursor) || announced.as_ref().is_some_and(contradicts) {
            return PulseTaken::Contradicts;
        }
        self.pulse = Some(LastPulse { rank: pulse.rank, head: pulse.head, time: pulse.time, next: pulse.next });
        self.owed().map_or(PulseTaken::Heard, PulseTaken::Ahead)
    }

    /// Rank of a head that the owner says it signed and that is not verified yet.
    pub fn owed(&self) -> Option<HeadRank> {
        self.pulse.map(|pulse| pulse.rank).filter(|rank| *rank > self.cursor.rank)
    }

    /// Whether the last pulse names another head at the verified rank.
    pub fn is_contradicted(&self) -> bool {
        self.pulse.is_some_and(|pulse| pulse.rank == self.cursor.rank && pulse.head != self.cursor.head)
    }

    /// When the verified head was the owner's newest, by the owner's clock: at its signing, or later if a pulse says so; 0 if
    /// none is verified. While the set is read again from zero, that of the head before: the application has its set.
    pub fn as_of(&self) -> Timestamp {
        let signed = self.head.as_ref().or(self.ancestor.as_ref()).map_or(Timestamp::ZERO, |head| head.head().time);
        let confirmed = self.pulse.filter(|pulse| pulse.rank == self.cursor.rank && pulse.head == self.cursor.head);
        confirmed.map_or(signed, |pulse| pulse.time.max(signed))
    }

    /// Until when the verified view is young enough, by the owner's clock: the end of the owner's promise, or `max_age` after
    /// it was last known to be the newest.
    pub fn fresh_until(&self, max_age: Duration) -> Timestamp {
        self.promise().unwrap_or_else(|| after(self.as_of(), max_age))
    }

    /// Whether the owner promised to be heard of. A head signed after the end of a promise shows that the owner goes on without.
    pub fn is_promised(&self) -> bool {
        self.promise().is_some()
    }

    fn promise(&self) -> Option<Timestamp> {
        let signed = self.head.as_ref().map_or(Timestamp::ZERO, |head| head.head().time);
        self.pulse.map(|pulse| pulse.next).filter(|next| *next != Timestamp::ZERO && *next > signed)
    }
}

fn after(time: Timestamp, age: Duration) -> Timestamp {
    Timestamp::new(time.value().saturating_add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
}
