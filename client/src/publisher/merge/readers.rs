//! Who is a reader after a merge: an access that ended on either branch stays ended. [P-5]

use std::collections::HashSet;

use tidings_core::access::Rights;
use tidings_core::writer::{GrantedReader, Writer};
use tidings_proto::{HeadNumber, Pseudonym};

use super::super::owner::Owner;
use super::Found;
use crate::state::{MergedReader, OwnView, StateError};

impl Owner {
    /// Readers of the own branch that their tail lacks: it ended their access, unless they came after the fork.
    pub(super) fn removed_on_their_tail(&self, found: &Found<'_>) -> Result<Vec<Pseudonym>, StateError> {
        let lacked = lacking(&self.writer, &found.opened.writer);
        self.state.read(|transaction| {
            let view = OwnView(transaction);
            let mut removed = Vec::new();
            for reader in lacked {
                let since = view.reader_row(&reader)?.map_or(HeadNumber::ZERO, |row| row.since);
                if since <= found.fork {
                    removed.push(reader);
                }
            }
            Ok(removed)
        })
    }

    /// Readers of their branch whose access this owner ended itself. Others came after the fork, unless this state was rebuilt above it:
    /// then an earlier incarnation may have ended their access, and nobody here knows.
    pub(super) fn removed_on_the_own_tail(&self, found: &Found<'_>) -> Result<Vec<Pseudonym>, StateError> {
        let lacked = lacking(&found.opened.writer, &self.writer);
        self.state.read(|transaction| {
            let view = OwnView(transaction);
            let unsure = view.rebuilt()? > found.fork;
            let mut removed = Vec::new();
            for reader in lacked {
                if unsure || view.reader_row(&reader)?.is_some_and(|row| row.ended > HeadNumber::ZERO) {
                    removed.push(reader);
                }
            }
            Ok(removed)
        })
    }
}

/// Readers of one that the other does not have. The owner is none of them.
fn lacking(one: &Writer, other: &Writer) -> Vec<Pseudonym> {
    let others: HashSet<Pseudonym> = other.readers().iter().map(|reader| reader.row.pseudonym).collect();
    let readers = one.readers().iter().filter(|reader| reader.row.rights != Rights::Owner).map(|reader| reader.row.pseudonym);
    readers.filter(|pseudonym| !others.contains(pseudonym)).collect()
}

/// Readers of the tail that the base does not have.
pub(super) fn only(tail: &Writer, base: &Writer) -> Vec<MergedReader> {
    named(tail, &lacking(tail, base))
}

pub(super) fn named(writer: &Writer, readers: &[Pseudonym]) -> Vec<MergedReader> {
    let wanted: HashSet<&Pseudonym> = readers.iter().collect();
    let name = |reader: &GrantedReader| MergedReader { name: reader.copy.name.clone(), did: reader.copy.card.did().to_string() };
    writer.readers().iter().filter(|reader| wanted.contains(&reader.row.pseudonym)).map(name).collect()
}
