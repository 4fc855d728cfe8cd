//! Changes: the net effect of verified deltas for each record.

use bytes::Bytes;
use tidings_proto::{Offset, Term};

use crate::path::RecordPath;

/// What changed between what the application saw and what it sees now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The record was not there.
    Create,
    /// The record was there.
    Update,
    /// The record is gone.
    Delete,
}

/// Net effect for one record. Its stable id is (term, offset); it may be handed out more than once. [P-15]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The record.
    pub path: RecordPath,
    /// What changed.
    pub kind: ChangeKind,
    /// Term of the entry that decides. For a record whose tombstone was purged unseen: of the head that shows it.
    pub term: Term,
    /// Offset of the entry that decides, or of that head.
    pub offset: Offset,
    /// Encoded mutation; empty if the record went and its tombstone was purged unseen.
    pub mutation: Bytes,
}

/// Whether the application may have seen a change that waits for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It was not handed out since it was written, by this process, and no other process had it.
    Never,
    /// It was handed out, or it waited already when the process started.
    Perhaps,
}

impl Change {
    /// This change after `earlier`, which waits: `None` if the two cancel out.
    ///
    /// They cancel out only if the application cannot have seen the earlier one: it would keep a record for ever that is gone.
    #[must_use]
    pub fn after(mut self, earlier: Option<(&Self, Handed)>) -> Option<Self> {
        let Some((earlier, handed)) = earlier else { return Some(self) };
        let existed = earlier.kind != ChangeKind::Create;
        self.kind = match (existed, self.kind) {
            (false, ChangeKind::Delete) if handed == Handed::Never => return None,
            (_, ChangeKind::Delete) => ChangeKind::Delete,
            (false, _) => ChangeKind::Create,
            (true, _) => ChangeKind::Update,
        };
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ChangeKind) -> Change {
        let path = "/record".parse().expect("a path");
        Change { path, kind, term: Term::new(1), offset: Offset::new(1), mutation: Bytes::new() }
    }

    /// [P-15] What an application did not see in between does not reach it.
    #[test]
    fn a_record_that_came_and_went_unseen_is_no_change() {
        assert_eq!(change(ChangeKind::Delete).after(Some((&change(ChangeKind::Create), Handed::Never))), None);
    }

    /// [P-15] A create was handed out, the process stopped before the acknowledgement, and the record was deleted: the two once
    /// cancelled out, and the application kept the record for ever.
    #[test]
    fn the_delete_of_a_record_that_may_have_been_seen_is_handed_out() {
        let merged = change(ChangeKind::Delete).after(Some((&change(ChangeKind::Create), Handed::Perhaps)));
        assert_eq!(merged.map(|change| change.kind), Some(ChangeKind::Delete));
    }

    #[test]
    fn a_record_that_went_and_came_back_unseen_is_an_update() {
        let merged = change(ChangeKind::Create).after(Some((&change(ChangeKind::Delete), Handed::Perhaps)));
        assert_eq!(merged.map(|change| change.kind), Some(ChangeKind::Update));
    }
}
