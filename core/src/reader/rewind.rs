//! Rewinding: the owner went on from before the verified head, in a higher term, and this reader follows. [P-14]

use tidings_proto::{ContentHash, HeadRank, Offset};

use super::accuse::Leaf;
use super::{Reader, ReaderStore, Staging, Step, Verdict};
use crate::cursor::Cursor;
use crate::head::SignedHead;
use crate::path::RecordPath;
use crate::set_hash::{SetHash, SetKind};

/// Paths that [`Rewound::gone`] lists.
pub const REWOUND_GONE_MAX: usize = 10_000;

/// What became of the set that was held when another branch took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// The head that was held, which the new one does not descend from.
    pub from: Cursor,
    /// Records that the application saw and that the new branch lacks: ascending, the first [`REWOUND_GONE_MAX`] of them. The
    /// changes of this delta delete them.
    pub gone: Vec<RecordPath>,
    /// How many there are.
    pub gone_count: u64,
}

impl Reader {
    /// `head` is of a higher term and does not descend from the verified head. The first one is a verdict with its evidence; from
    /// then on such a branch is read from zero, and the application keeps what it has until a set is verified.
    ///
    /// Nobody but the owner can cause this: it takes a signed head, and one of a rank not below any seen.
    pub(super) fn rewind<S: ReaderStore>(&mut self, detail: &str, head: SignedHead, leaf: Leaf, store: &mut S) -> Result<Step, S::Error> {
        if self.rewinding {
            if let Some(attempt) = &mut self.attempt {
                attempt.lacks_ancestor = true;
            }
            return self.adopt_first(head, store);
        }
        let step = self.accuse(Verdict::Rewound, detail, &head, leaf, store)?;
        if let Step::Verdict(_) = step {
            self.read_from_zero(store)?;
            self.rewinding = true;
            self.staging.stamp = self.staging.stamp.max(head.rank());
            // The other branch may have given the numbers of these epochs to other secrets: its newest grant is to be sent.
            self.grant = ContentHash::ZERO;
        }
        Ok(step)
    }

    /// Sets what is held aside and reads again from zero, to give the net difference once that is verified.
    ///
    /// The highest rank seen stays: nothing must let an older head in. The verified head stays as an ancestor: neither damage nor a
    /// rewind must make a fork look like a beginning.
    pub(super) fn read_from_zero<S: ReaderStore>(&mut self, store: &mut S) -> Result<(), S::Error> {
        if !self.rebuilding {
            store.set_aside()?;
        }
        self.rebuilding = true;
        self.cursor = Cursor::start(&self.queue);
        // What of it the owner did not sign proves nothing.
        let verified = self.head.take().filter(|head| head.verify(&self.descriptor.signing_key).is_ok());
        self.ancestor = verified.or(self.ancestor.take());
        self.live = SetHash::new(SetKind::Live);
        self.live_count = 0;
        self.attempt = None;
        self.suspect = None;
        store.clear_staged()?;
        self.staging = Staging { position: Offset::ZERO, stamp: self.staging.stamp, floor: None };
        Ok(())
    }

    /// What is handed out with a verified set that took another one's place; `None` if it descends from the one that was held.
    pub(super) fn rewound(&self, gone: Vec<RecordPath>, gone_count: u64) -> Option<Rewound> {
        let lacks = self.attempt.as_ref().is_some_and(|attempt| attempt.lacks_ancestor);
        let from = self.ancestor.as_ref().filter(|_| lacks)?.cursor();
        Some(Rewound { from, gone, gone_count })
    }

    /// Rank below which nothing is news: that of the verified head, or of the one that was set aside.
    pub(super) fn rank_before(&self) -> HeadRank {
        self.ancestor.as_ref().map_or(self.cursor.rank, |head| head.rank().max(self.cursor.rank))
    }

    /// Whether staged entries belong to the branch of `head`. [P-13]
    ///
    /// In one term heads follow each other, so a base at or above the stamp, in its term, has all of it in its history.
    pub(super) fn staging_goes_on_in(&self, head: &SignedHead) -> bool {
        let (stamp, base) = (self.staging.stamp, head.head().base.rank);
        head.rank().term == stamp.term || (base.term == stamp.term && base >= stamp)
    }
}
