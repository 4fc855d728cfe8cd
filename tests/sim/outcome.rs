//! What happened in one run, or in several.

use crate::merge::Merged;
use crate::truth::Judged;

/// What may happen in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Crashes, lost connections, failing writes, brokers that are away; changes of access and of brokers.
    Crashes,
    /// Also backups that are put back, lost state, and brokers that are rolled back, emptied, or show their owner an old copy.
    Restores,
    /// Also a home that is copied to a second machine.
    Copies,
}

impl Kind {
    pub(crate) fn of(seed: u64) -> Self {
        [Self::Crashes, Self::Restores, Self::Copies][(seed % 3) as usize]
    }
}

/// Counts of one run, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    pub(crate) crashes: u64,
    pub(crate) signed: u64,
    pub(crate) receipts: u64,
    pub(crate) accepted: u64,
    pub(crate) bitmaps: u64,
    pub(crate) behind: u64,
    pub(crate) denied: u64,
    pub(crate) revoked: u64,
    pub(crate) moved: u64,
    pub(crate) rolled_back: u64,
    pub(crate) lies: u64,
    pub(crate) put_back: u64,
    pub(crate) lost: u64,
    pub(crate) copied: u64,
    pub(crate) conflicts: u64,
    pub(crate) rebuilt: u64,
    pub(crate) parted: u64,
    pub(crate) rescued: u64,
    pub(crate) deleted: u64,
    pub(crate) rewound: u64,
    pub(crate) kept: u64,
    pub(crate) excused: u64,
    pub(crate) resurrected: u64,
    /// Readers that saw a higher term of which nobody else knows any more.
    pub(crate) ahead: u64,
    /// Hash over all events; equal for equal seeds.
    pub(crate) trace: [u8; 32],
}

impl Outcome {
    pub(crate) fn merge(&mut self, merged: &Merged) {
        self.rebuilt += u64::from(merged.rebuilt);
        self.parted += u64::from(merged.parted);
        self.rescued += merged.rescued;
        self.deleted += merged.deleted;
    }

    pub(crate) fn judge(&mut self, judged: &Judged) {
        self.kept += judged.kept;
        self.excused += judged.excused;
        self.resurrected += judged.resurrected;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let sums = self.counts().into_iter().zip(other.clone().counts().map(|count| *count));
        sums.for_each(|(sum, more)| *sum += more);
    }

    /// Whether a thousand seeds were as troubled as they should be.
    pub(crate) fn is_enough(&self) -> bool {
        let often = [self.crashes, self.receipts, self.accepted, self.behind, self.rewound, self.rebuilt, self.parted];
        let sometimes = [self.bitmaps, self.denied, self.revoked, self.moved, self.conflicts, self.rescued, self.copied, self.lies];
        let restores = [self.rolled_back, self.put_back, self.lost, self.kept];
        often.iter().all(|count| *count > 200) && sometimes.iter().chain(&restores).all(|count| *count > 50)
    }

    fn counts(&mut self) -> [&mut u64; 25] {
        [
            &mut self.events,
            &mut self.crashes,
            &mut self.signed,
            &mut self.receipts,
            &mut self.accepted,
            &mut self.bitmaps,
            &mut self.behind,
            &mut self.denied,
            &mut self.revoked,
            &mut self.moved,
            &mut self.rolled_back,
            &mut self.lies,
            &mut self.put_back,
            &mut self.lost,
            &mut self.copied,
            &mut self.conflicts,
            &mut self.rebuilt,
            &mut self.parted,
            &mut self.rescued,
            &mut self.deleted,
            &mut self.rewound,
            &mut self.kept,
            &mut self.excused,
            &mut self.resurrected,
            &mut self.ahead,
        ]
    }
}
