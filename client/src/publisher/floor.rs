//! How high the floor may rise. [P-6]

use std::collections::HashMap;
use std::time::Duration;

use tidings_core::Cursor;
use tidings_core::access::Rights;
use tidings_core::writer::{FloorStep, OwnRecord, Writer};
use tidings_proto::caps::PUBLISH_PURGED_MAX;
use tidings_proto::{Offset, Pseudonym, Timestamp};

use crate::state::{OwnStep, StateError};

/// What a raise of the floor goes with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// There are other changes in the publish.
    pub(super) accompanied: bool,
    /// All brokers were compared since the owner started.
    pub(super) compared: bool,
}

/// What the readers acknowledged, and from what age on a tombstone goes anyway.
#[derive(Debug)]
pub(super) struct FloorPolicy {
    tombstone_age: Duration,
    acknowledged: HashMap<Pseudonym, Cursor>,
}

impl FloorPolicy {
    pub(super) fn new(tombstone_age: Duration) -> Self {
        Self { tombstone_age, acknowledged: HashMap::new() }
    }

    /// Takes a verified acknowledgement; false if a newer one is known.
    pub(super) fn acknowledged(&mut self, reader: Pseudonym, cursor: Cursor) -> bool {
        let known = self.acknowledged.get(&reader);
        if known.is_some_and(|known| known.rank >= cursor.rank) {
            return false;
        }
        self.acknowledged.insert(reader, cursor);
        true
    }

    /// What was acknowledged on a branch that is left counts no more.
    pub(super) fn forget(&mut self) {
        self.acknowledged.clear();
    }

    pub(super) fn all_acknowledged(&self) -> HashMap<Pseudonym, Cursor> {
        self.acknowledged.clone()
    }

    /// The raise that is due with the next publish. Without other changes in it, only if something is purged. Not above the term's
    /// base before all brokers were compared: what another branch has must meet the tombstones here. [P-6]
    pub(super) fn step(
        &self,
        step: &OwnStep<'_>,
        writer: &Writer,
        Due { accompanied, compared }: Due,
        now: Timestamp,
    ) -> Result<Option<FloorStep>, StateError> {
        let Some(head) = writer.head().map(|head| head.head()) else { return Ok(None) };
        let seen = self.seen_by_all(writer, head.offset);
        let aged = |record: &OwnRecord| crate::clock::until(record.signed_at, self.tombstone_age, now).is_zero();
        let tombstones = step.live()?.tombstones(PUBLISH_PURGED_MAX + 1, |record| record.offset <= seen || aged(record))?;
        let oldest_kept = tombstones.last().map_or(Offset::ZERO, |record| record.offset);
        let highest = if compared || writer.term_is_open() { head.offset } else { head.base.offset };
        let target = seen.max(oldest_kept).min(highest);
        if target <= head.floor || (tombstones.is_empty() && !accompanied) {
            return Ok(None);
        }
        Ok(Some(FloorStep::capped(target, tombstones)))
    }

    /// The offset that every reader but the owner has acknowledged; all of them, if there is none but the owner.
    fn seen_by_all(&self, writer: &Writer, newest: Offset) -> Offset {
        let readers = writer.readers().iter().filter(|reader| reader.row.rights != Rights::Owner);
        let seen = readers.map(|reader| self.acknowledged.get(&reader.row.pseudonym).map_or(Offset::ZERO, |cursor| cursor.offset));
        seen.min().unwrap_or(newest)
    }
}
