//! One connection's part of a catch-up. Nothing here outlives the connection.

use std::collections::BTreeSet;

use roaring::RoaringTreemap;
use tidings_proto::{Birth, Offset};

use crate::cursor::Cursor;
use crate::head::SignedHead;

/// What one connection announced and streamed.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The broker, for messages.
    pub(super) broker: String,
    /// What the next announced head must descend from.
    pub(super) base: Cursor,
    first: Option<SignedHead>,
    head: Option<SignedHead>,
    /// Entries that may still be streamed at or below the offset. [P-11]
    budget: (Offset, u64),
    /// A floor above this may have purged something held or staged. [P-12]
    pub(super) witness: Offset,
    /// Floor of the newest bitmap's head.
    pub(super) bitmap_floor: Offset,
    /// Held rows that a bitmap showed to be gone; they leave when a head is accepted.
    pub(super) dropped: BTreeSet<Birth>,
    pub(super) bitmap: BitmapState,
    /// The branch announced here does not descend from what was set aside. [P-14]
    pub(super) lacks_ancestor: bool,
    /// Entries and bytes streamed since the last accepted head.
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// Where the question for a bitmap stands.
#[derive(Clone, Debug)]
pub(super) enum BitmapState {
    Idle,
    Asked { live: RoaringTreemap, through: Offset },
}

impl Attempt {
    pub(super) fn new(broker: &str, base: Cursor) -> Self {
        Self {
            broker: broker.to_owned(),
            base,
            first: None,
            head: None,
            budget: (Offset::ZERO, 0),
            witness: Offset::ZERO,
            bitmap_floor: Offset::ZERO,
            dropped: BTreeSet::new(),
            bitmap: BitmapState::Idle,
            lacks_ancestor: false,
            entries: 0,
            bytes: 0,
        }
    }

    /// The first head announced on this connection.
    pub(super) fn first(&self) -> Option<&SignedHead> {
        self.first.as_ref()
    }

    /// The newest head announced on this connection.
    pub(super) fn head(&self) -> Option<&SignedHead> {
        self.head.as_ref()
    }

    /// How far an asked bitmap has come.
    pub(super) fn bitmap_through(&self) -> Option<Offset> {
        match &self.bitmap {
            BitmapState::Idle => None,
            BitmapState::Asked { through, .. } => Some(*through),
        }
    }

    /// A head that was found to descend from `base`.
    pub(super) fn adopt(&mut self, head: SignedHead) {
        self.base = head.cursor();
        match self.first {
            None => {
                self.renew_budget(&head);
                self.first = Some(head.clone());
            }
            Some(_) => self.extend_budget(&head),
        }
        self.head = Some(head);
    }

    /// No more entries at or below this head's offset than it signs.
    pub(super) fn renew_budget(&mut self, head: &SignedHead) {
        self.budget = (head.head().offset, head.head().live_count);
    }

    /// What is streamed from now on up to this head's offset lives at it; and above the bound before there are only so many offsets.
    fn extend_budget(&mut self, head: &SignedHead) {
        let (bound, left) = self.budget;
        let more = head.head().offset.value().saturating_sub(bound.value());
        self.budget = (head.head().offset.max(bound), left.saturating_add(more).min(head.head().live_count));
    }

    /// Takes one entry at `offset` from the budget; false if the first head does not sign that many.
    pub(super) fn spend(&mut self, offset: Offset) -> bool {
        let (bound, left) = &mut self.budget;
        if offset > *bound {
            return true;
        }
        match left.checked_sub(1) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}
