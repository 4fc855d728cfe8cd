//! What was found, and what of it both branches have. [P-5]

use std::collections::HashMap;

use tidings_core::merge::{Branch, Parting, Side, SignedAt};
use tidings_core::recovery::{Opened, Recovered};
use tidings_core::writer::OwnRecord;
use tidings_core::{Cursor, Version};
use tidings_proto::{HeadHash, HeadNumber, Offset, Term};

use super::super::owner::Owner;
use super::MergeError;
use crate::state::{OwnView, StateError};

/// What was found, opened, and where it parts from the own history.
pub(super) struct Found<'a> {
    pub(super) recovered: &'a Recovered,
    pub(super) opened: Opened,
    /// The newest head that both histories have.
    pub(super) fork: HeadNumber,
    parting: Parting,
    /// Of the own live entries; only where the fork is known by its hash alone.
    own_terms: HashMap<Offset, Term>,
}

/// What becomes of a record that lives at the base and not on the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacked {
    /// It came after the fork.
    Lives,
    /// The tail had it, and deleted it.
    Deleted,
    /// Either.
    Doubtful,
}

impl Found<'_> {
    /// Where the entry of an own record lies.
    pub(super) fn own(&self, record: &OwnRecord) -> Side {
        self.parting.own(self.own_terms.get(&record.offset).copied(), record.offset)
    }

    /// Where the entry of one of their records lies.
    pub(super) fn theirs(&self, record: &OwnRecord) -> Side {
        let entries = self.recovered.entries();
        let at = entries.binary_search_by_key(&record.offset, |(entry, _)| entry.offset);
        self.parting.theirs(at.ok().map(|at| entries[at].0.term), record.offset)
    }

    /// Hashes of the heads above the fork, ascending, the newest last.
    pub(super) fn heads(&self) -> Result<Vec<HeadHash>, StateError> {
        let newest = self.recovered.head().rank().number.value();
        let missing = || StateError::Damaged("a head of a recovered history is missing".into());
        (self.fork.value() + 1..=newest).map(|number| self.recovered.hash_of(HeadNumber::new(number)).ok_or_else(missing)).collect()
    }
}

/// What becomes of a live `record` at the base that the tail lacks, where all tombstones of the tail up to `floor_version` may be purged.
pub(super) fn lacked(side: Side, record: &OwnRecord, floor_version: Version) -> Lacked {
    match side {
        _ if record.tombstone => Lacked::Lives,
        Side::Common => Lacked::Deleted,
        // A delete of it would be later, and its tombstone would be there.
        Side::Unsure if record.version < floor_version => Lacked::Doubtful,
        Side::Unsure | Side::Newer => Lacked::Lives,
    }
}

impl Owner {
    /// Opens what was recovered, and finds where it parts from the own history.
    pub(super) fn find<'a>(&self, recovered: &'a Recovered) -> Result<Found<'a>, MergeError> {
        let (opened, fork) = (recovered.open(&self.key)?, self.fork(recovered)?);
        let below = self.state.read(|transaction| OwnView(transaction).cursor_at_or_below(fork))?;
        let below = below.unwrap_or_else(|| Cursor::start(&self.writer.queue()));
        let head = self.writer.head().filter(|_| below.rank.number != fork);
        let Some(head) = head else {
            return Ok(Found { recovered, opened, fork, parting: Parting::at(&below), own_terms: HashMap::new() });
        };
        let own = self.state.read(|transaction| OwnView(transaction).signed_at())?;
        let signed_at = |(entry, record): (&tidings_core::Entry, &OwnRecord)| SignedAt {
            term: Some(entry.term),
            offset: entry.offset,
            digest: record.digest,
        };
        let entries = recovered.entries().iter().map(|(entry, _)| entry);
        let theirs: Vec<SignedAt> = entries.zip(opened.records.iter().map(|row| &row.record)).map(signed_at).collect();
        let (own_branch, their_branch) =
            (Branch { head: head.head(), live: &own }, Branch { head: recovered.head().head(), live: &theirs });
        let parting = Parting::between(fork, &below, own_branch, their_branch);
        let own_terms = own.iter().filter_map(|entry| Some((entry.offset, entry.term?))).collect();
        Ok(Found { recovered, opened, fork, parting, own_terms })
    }

    /// The newest head that both histories have; 0 is the start. Each history is a prefix of its later ones, so halving finds it.
    fn fork(&self, recovered: &Recovered) -> Result<HeadNumber, StateError> {
        self.state.read(|transaction| {
            let view = OwnView(transaction);
            let (mut common, mut parted) = (0, view.newest()?.min(recovered.head().rank().number).value() + 1);
            while parted - common > 1 {
                let middle = HeadNumber::new(common + (parted - common) / 2);
                let (own, theirs) = (view.hash_of(middle)?, recovered.hash_of(middle));
                if own.is_some() && own == theirs { common = middle.value() } else { parted = middle.value() }
            }
            Ok(HeadNumber::new(common))
        })
    }
}
