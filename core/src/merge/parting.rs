//! What of two branches is common history, where the head that they part at may be known by its hash alone. [P-5]
//!
//! A state that was rebuilt knows of the heads before the newest one only their hashes. Terms and offsets of the live entries tell where
//! the fork lies: terms step at random, so one that both branches have entries of began before the fork; and of an offset that both
//! have different entries at, both were signed after it.

use std::collections::{HashMap, HashSet};

use tidings_proto::{EntryDigest, HeadNumber, Offset, Term};

use crate::cursor::Cursor;
use crate::head::Head;

/// Where a live entry was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedAt {
    /// Its term; `None` if that is not kept.
    pub term: Option<Term>,
    /// Its offset.
    pub offset: Offset,
    /// Its digest.
    pub digest: EntryDigest,
}

/// One of two branches of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// Its newest head.
    pub head: &'a Head,
    /// Its live entries, in any order.
    pub live: &'a [SignedAt],
}

/// Where an entry of a branch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At the fork or before: the other branch had it too.
    Common,
    /// After the fork: the other branch never had it.
    Newer,
    /// What is known does not tell.
    Unsure,
}

/// Where two branches part, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The fork's term lies here, ends included.
    terms: (Term, Term),
    /// Its newest offset lies here, ends included.
    offsets: (Offset, Offset),
    /// Whether the own branch, and the other one, may have gone on in the fork's term.
    goes_on: [bool; 2],
}

impl Parting {
    /// At a head of which all is known.
    pub fn at(fork: &Cursor) -> Self {
        Self { terms: (Term::ZERO, Term::new(u64::MAX)), offsets: (fork.offset, fork.offset), goes_on: [true; 2] }
    }

    /// At head `fork`, which both branches have and are longer than. `below` is a head of the common history, not above the fork.
    pub fn between(fork: HeadNumber, below: &Cursor, own: Branch<'_>, theirs: Branch<'_>) -> Self {
        let branches = [own, theirs];
        let mut known = branches.iter().map(|branch| &branch.head.base).chain([below]);
        if let Some(at) = known.find(|cursor| cursor.rank.number == fork) {
            return Self::at(at);
        }
        // A term that began before the fork and in which its branch ends goes across it: the other branch began one there.
        let crosses = branches.map(|branch| branch.head.base.rank.number < fork);
        let mut parting = Self {
            terms: (below.rank.term, Term::new(u64::MAX)),
            offsets: (below.offset, own.head.offset.min(theirs.head.offset)),
            goes_on: [!crosses[1] || crosses[0], !crosses[0] || crosses[1]],
        };
        for (branch, crosses) in branches.iter().zip(crosses) {
            let base = &branch.head.base;
            if crosses {
                parting.terms = (branch.head.term, branch.head.term);
                parting.above(base.offset);
            } else {
                parting.terms.1 = parting.terms.1.min(base.rank.term);
                parting.below(base.offset);
            }
        }
        if crosses == [false; 2] {
            let terms = branches.map(|branch| branch.live.iter().filter_map(|entry| entry.term).collect::<HashSet<_>>());
            let both = terms[0].intersection(&terms[1]).max().copied();
            parting.terms.0 = parting.terms.0.max(both.unwrap_or_default());
        }
        parting.compare(branches);
        if parting.offsets.0 > parting.offsets.1 {
            // An owner that signed a rank twice: nothing between them is known.
            parting.offsets = (parting.offsets.1, parting.offsets.0);
        }
        parting
    }

    /// Where an own entry lies.
    pub fn own(&self, term: Option<Term>, offset: Offset) -> Side {
        self.side(0, term, offset)
    }

    /// Where an entry of the other branch lies.
    pub fn theirs(&self, term: Option<Term>, offset: Offset) -> Side {
        self.side(1, term, offset)
    }

    fn side(&self, branch: usize, term: Option<Term>, offset: Offset) -> Side {
        let by_term = term.map_or(Side::Unsure, |term| self.side_of_term(branch, term));
        match by_term {
            Side::Unsure if offset <= self.offsets.0 => Side::Common,
            Side::Unsure if offset > self.offsets.1 => Side::Newer,
            known => known,
        }
    }

    fn side_of_term(&self, branch: usize, term: Term) -> Side {
        let (first, last) = self.terms;
        match term {
            _ if term < first => Side::Common,
            _ if term > last => Side::Newer,
            _ if first == last && !self.goes_on[branch] => Side::Common,
            _ => Side::Unsure,
        }
    }

    /// What entries tell of the fork's offset.
    fn compare(&mut self, branches: [Branch<'_>; 2]) {
        let by_terms = *self;
        let own: HashMap<Offset, &SignedAt> = branches[0].live.iter().map(|entry| (entry.offset, entry)).collect();
        for entry in branches[1].live {
            match own.get(&entry.offset) {
                Some(twin) if twin.digest == entry.digest => self.above(entry.offset),
                Some(_) => self.below(before(entry.offset)),
                None => {}
            }
        }
        for (at, branch) in branches.iter().enumerate() {
            for entry in branch.live {
                match entry.term.map_or(Side::Unsure, |term| by_terms.side_of_term(at, term)) {
                    Side::Common => self.above(entry.offset),
                    Side::Newer => self.below(before(entry.offset)),
                    Side::Unsure => {}
                }
            }
        }
    }

    /// The fork is at this offset or above it.
    fn above(&mut self, offset: Offset) {
        self.offsets.0 = self.offsets.0.max(offset);
    }

    /// The fork is at this offset or below it.
    fn below(&mut self, offset: Offset) {
        self.offsets.1 = self.offsets.1.min(offset);
    }
}

fn before(offset: Offset) -> Offset {
    Offset::new(offset.value().saturating_sub(1))
}
