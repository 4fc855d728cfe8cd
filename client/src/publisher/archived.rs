//! What whoever writes the owner's storage has to know of its queue. [P-21, P-22]

use tidings_core::{Mutation, RecordPath, SignedHead};
use tidings_proto::HeadNumber;

use super::Publisher;
use super::task::Command;
use crate::state::{OwnView, StateError};

/// How a head that the storage shows stands to the own history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchivedHead {
    /// It is a head of it.
    Own,
    /// It is of a branch that was merged, and the head of this number contains the whole merge.
    Merged(HeadNumber),
    /// It is of a branch that was merged, and not everything of that is signed yet.
    Merging,
    /// It is of a branch that this owner does not have.
    Other,
}

impl Publisher {
    /// How `head`, which is this owner's by its signature, stands to the own history.
    pub fn archived(&self, head: &SignedHead) -> Result<ArchivedHead, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            if view.hash_of(head.rank().number)? == Some(head.hash()) {
                return Ok(ArchivedHead::Own);
            }
            if !view.is_merged(&head.hash())? {
                return Ok(ArchivedHead::Other);
            }
            let whole = view.is_merged_whole(&head.hash())? && !view.writer()?.is_some_and(|writer| writer.term_is_open());
            Ok(if whole { ArchivedHead::Merged(view.newest()?) } else { ArchivedHead::Merging })
        })
    }

    /// Has the archive compared with once more, soon: something stands there that this owner does not have. [P-5]
    pub async fn compare_archive(&self) {
        // A publisher that is closed compares when it is opened again.
        let _ = self.commands.send(Command::CompareArchive).await;
    }

    /// Objects in storage that live entries and waiting writes at `prefix` or below it name, reserved paths among them, with the path
    /// of the record whose value each is or, of a rescued value, was. Ascending by the path that names it; blocks for a pass over them.
    pub fn objects(&self, prefix: &str) -> Result<Vec<(RecordPath, [u8; 32])>, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            let mut found = Vec::new();
            for path in view.paths(prefix.trim_end_matches('/'))? {
                let signed = view.record(&path)?.map(|(_, mutation)| mutation);
                found.extend([signed, view.outbox_row(&path)?].into_iter().flatten().filter_map(named));
            }
            Ok(found)
        })
    }
}

fn named(mutation: Mutation) -> Option<(RecordPath, [u8; 32])> {
    let was = mutation.rescued().map(|rescued| rescued.path);
    Some((was.unwrap_or(mutation.path), mutation.object?.id))
}
