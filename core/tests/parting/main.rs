//! Where two branches part, found without knowing the fork: never wrong, and seldom unsure. [P-5]

#[allow(unreachable_pub, reason = "shared by test binaries of two packages")]
#[path = "../paper/mod.rs"]
mod paper;

use std::collections::BTreeMap;

use paper::Dice;
use tidings_core::merge::{Branch, Parting, Side, SignedAt};
use tidings_core::{Cursor, Head, QueueState, Version, WriterId};
use tidings_proto::{EntryDigest, Epoch, HeadHash, HeadNumber, HeadRank, Offset, QueueId, Term, Timestamp};

const QUEUE: QueueId = QueueId::new([1; 32]);

/// A branch as it grows.
#[derive(Clone)]
struct Growing {
    base: Cursor,
    newest: Cursor,
    live: BTreeMap<u64, SignedAt>,
}

impl Growing {
    fn new() -> Self {
        let start = Cursor::start(&QUEUE);
        let newest = Cursor { rank: HeadRank { term: Term::new(1), number: HeadNumber::ZERO }, ..start };
        Self { base: start, newest, live: BTreeMap::new() }
    }

    fn open_term(&mut self, dice: &mut Dice) {
        self.base = self.newest;
        self.newest.rank.term = Term::new(self.newest.rank.term.value() + 1 + dice.roll(1 << 32));
    }

    /// A head with a few entries; what is deleted leaves no tombstone here.
    fn sign(&mut self, dice: &mut Dice) {
        for _ in 0..dice.roll(4) {
            let offset = Offset::new(self.newest.offset.value() + 1);
            let digest = EntryDigest::new(std::array::from_fn(|_| dice.roll(256) as u8));
            self.newest.offset = offset;
            self.live.insert(dice.roll(40), SignedAt { term: Some(self.newest.rank.term), offset, digest });
        }
        if dice.chance(30) {
            self.live.remove(&dice.roll(40));
        }
        self.newest.rank.number = HeadNumber::new(self.newest.rank.number.value() + 1);
        self.newest.head = HeadHash::new(std::array::from_fn(|_| dice.roll(256) as u8));
    }

    fn grow(&mut self, dice: &mut Dice, terms: u64) {
        for _ in 0..1 + dice.roll(30) {
            if dice.chance(terms) {
                self.open_term(dice);
            }
            self.sign(dice);
        }
    }

    fn head(&self) -> Head {
        Head {
            queue: QUEUE,
            writer: WriterId([2; 16]),
            term: self.newest.rank.term,
            base: self.base,
            number: self.newest.rank.number,
            offset: self.newest.offset,
            live_count: self.live.len() as u64,
            live_root: [0; 32],
            floor: Offset::ZERO,
            floor_version: Version::ZERO,
            purged: [0; 32],
            epoch: Epoch::new(1),
            epochs: Vec::new(),
            access_root: [0; 32],
            access_count: 0,
            history_root: [0; 32],
            previous: HeadHash::new([0; 32]),
            state: QueueState::Open,
            time: Timestamp::ZERO,
        }
    }

    fn live(&self) -> Vec<SignedAt> {
        self.live.values().copied().collect()
    }
}

#[derive(Debug, Default)]
struct Tally {
    common: u64,
    newer: u64,
    unsure: u64,
}

/// Two branches of one queue; `below` is where the common history is known last.
struct Pair {
    fork: Cursor,
    below: Cursor,
    branches: [Growing; 2],
}

impl Pair {
    /// One of the two may go on in the fork's term; the other one begins another there. [P-4]
    fn grown(dice: &mut Dice, terms: u64) -> Self {
        let mut common = Growing::new();
        common.grow(dice, terms);
        let below = if dice.chance(50) { common.newest } else { Cursor::start(&QUEUE) };
        common.grow(dice, terms);
        let (fork, mut branches) = (common.newest, [common.clone(), common]);
        let goes_on = dice.roll(3) as usize;
        for (at, branch) in branches.iter_mut().enumerate() {
            if at != goes_on {
                branch.open_term(dice);
            }
            branch.grow(dice, terms);
        }
        Self { fork, below, branches }
    }

    /// Compares what is found with what is so.
    fn judge(&self, tally: &mut Tally) {
        let (heads, live) = (self.branches.each_ref().map(Growing::head), self.branches.each_ref().map(Growing::live));
        let branch = |at: usize| Branch { head: &heads[at], live: &live[at] };
        let parting = Parting::between(self.fork.rank.number, &self.below, branch(0), branch(1));
        for at in [0, 1] {
            for entry in &live[at] {
                let side = if at == 0 { parting.own(entry.term, entry.offset) } else { parting.theirs(entry.term, entry.offset) };
                let is_common = entry.offset <= self.fork.offset;
                match side {
                    Side::Common => (tally.common, _) = (tally.common + 1, assert!(is_common, "{parting:?} {entry:?} {:?}", self.fork)),
                    Side::Newer => (tally.newer, _) = (tally.newer + 1, assert!(!is_common, "{parting:?} {entry:?} {:?}", self.fork)),
                    Side::Unsure => tally.unsure += 1,
                }
            }
        }
    }
}

/// Both where new terms are frequent, as of an owner who cannot compare, and where they are rare.
#[test]
fn what_is_found_of_a_fork_is_never_wrong() {
    for (terms, most) in [(0, 1), (5, 30), (50, 80)] {
        let mut tally = Tally::default();
        for seed in 0..4_000 {
            Pair::grown(&mut Dice::new(seed), terms).judge(&mut tally);
        }
        println!("{terms} % of heads begin a term: {tally:?}");
        let all = tally.common + tally.newer + tally.unsure;
        assert!(tally.common > 10_000 && tally.newer > 10_000, "{tally:?}");
        assert!(tally.unsure * 1_000 < all * most, "{tally:?}");
    }
}

#[test]
fn a_fork_that_is_known_is_told_by_the_offset_alone() {
    let fork = Cursor { offset: Offset::new(7), ..Cursor::start(&QUEUE) };
    let parting = Parting::at(&fork);
    assert_eq!((parting.own(None, Offset::new(7)), parting.theirs(Some(Term::new(3)), Offset::new(8))), (Side::Common, Side::Newer));
}
