//! Merging: what becomes of a value that only another branch has, or that was never signed. [P-5]

mod parting;

pub use parting::{Branch, Parting, Side, SignedAt};

use crate::label::Label;
use crate::mutation::{Mutation, Operation, Rescued};
use crate::path::RecordPath;
use crate::seal::fits;
use crate::version::Version;

/// What a merge does with a value or delete of a tail or of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives at the base already.
    There,
    /// It is published with its version.
    Publish,
    /// It is dropped: a delete that comes too late, or of nothing.
    Nothing,
    /// It is published below `/.tidings/rescued/`, see [`rescue`], for a person to decide.
    Rescue,
}

/// What becomes of `row` at a base where `live` is the live mutation of its record (a delete included), and `floor_version` the
/// latest version among all tombstones that were purged.
///
/// The same version is the same write only if it has the same content: two copies of one node can give one version to two values.
pub fn fate(row: &Mutation, live: Option<&Mutation>, floor_version: Version) -> Fate {
    if row.path.is_rescued() {
        return fate_of_rescued(row, live);
    }
    let deletes = row.operation == Operation::Delete;
    match live {
        Some(live) if live.version == row.version && is_same(row, live) => Fate::There,
        // There is nothing to delete, or what is there is as late.
        None if deletes => Fate::Nothing,
        Some(live) if deletes && (live.operation == Operation::Delete || row.version <= live.version) => Fate::Nothing,
        Some(live) if row.version > live.version => Fate::Publish,
        None if row.version > floor_version => Fate::Publish,
        Some(_) | None => Fate::Rescue,
    }
}

/// A rescued value is named by its content: it is there, was taken or dropped, or is missing. It is never rescued again.
fn fate_of_rescued(row: &Mutation, live: Option<&Mutation>) -> Fate {
    let lives = live.is_some_and(|live| live.operation != Operation::Delete);
    match (row.operation == Operation::Delete, live) {
        (false, None) => Fate::Publish,
        (false, Some(_)) if lives => Fate::There,
        (true, Some(live)) if lives && row.version > live.version => Fate::Publish,
        (true, Some(live)) if live.version == row.version => Fate::There,
        (_, _) => Fate::Nothing,
    }
}

/// The mutation that keeps the value of `row`: below `/.tidings/rescued/`, with the version and value of `row`, and with a note of the
/// record it had. The same value of the same record and version always gets the same place.
///
/// Fields of later versions go along unless the entry would become too long.
pub fn rescue(row: &Mutation) -> Mutation {
    let mut kept = row.clone();
    kept.path = place(row);
    kept.operation = Operation::Create;
    kept.set_rescued(&Rescued { path: row.path.clone(), version: row.version });
    if !fits(&kept) {
        kept.unknown.clear();
        kept.set_rescued(&Rescued { path: row.path.clone(), version: row.version });
    }
    kept
}

/// The value counts too: two of one version must not take each other's place.
fn place(row: &Mutation) -> RecordPath {
    let path = row.path.as_str().as_bytes();
    let length = u32::try_from(path.len()).unwrap_or(u32::MAX).to_be_bytes();
    let (clock, value) = (row.version.clock.to_be_bytes(), row.value_hash().unwrap_or_default());
    RecordPath::rescued(&Label::RESCUED.hash(&[&length, path, &clock, &row.version.node, &value]))
}

/// A create of one branch may be an update in the other.
fn is_same(row: &Mutation, live: &Mutation) -> bool {
    let deletes = |mutation: &Mutation| mutation.operation == Operation::Delete;
    deletes(row) == deletes(live) && row.value_hash() == live.value_hash() && row.headers == live.headers && row.unknown == live.unknown
}

#[cfg(test)]
mod tests;
