//! What a reader keeps outside itself: held rows, staged rows, changes not yet handed out.

use bytes::Bytes;
use tidings_proto::{Birth, EntryDigest, Offset, Term};

use super::change::Change;
use crate::path::RecordPath;

/// What a held entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldKind {
    /// A record; `bytes` is the encoded mutation.
    Value,
    /// A delete; `bytes` is the encoded mutation.
    Tombstone,
    /// An entry that did not open, is of a newer version, or names another path than its birth had. `bytes` is the sealed
    /// entry. It counts in the set and blocks no other record. [P-15]
    Quarantined,
}

/// One entry of the held set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Its record's pseudonym.
    pub birth: Birth,
    /// Its offset.
    pub offset: Offset,
    /// Term it was signed in.
    pub term: Term,
    /// Its digest.
    pub digest: EntryDigest,
    /// What it is.
    pub kind: HeldKind,
    /// Its record; of a quarantined row the one that its birth had, `None` if it was never read.
    pub path: Option<RecordPath>,
    /// Encoded mutation, or the sealed entry of a quarantined row.
    pub bytes: Bytes,
}

/// A sealed entry that no verified set holds yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedRow {
    /// Its record's pseudonym.
    pub birth: Birth,
    /// Its offset.
    pub offset: Offset,
    /// Its digest.
    pub digest: EntryDigest,
    /// The encoded entry.
    pub entry: Bytes,
}

/// The durable tables of one follow.
///
/// All calls between two frames belong into one transaction. Rows are keyed by birth. `Error` is the caller's own; the
/// reader passes it on and decides nothing from it.
pub trait ReaderStore {
    /// The caller's error.
    type Error;

    /// The held row of a birth.
    fn held(&self, birth: Birth) -> Result<Option<HeldRow>, Self::Error>;
    /// Adds a held row, or replaces `old`: what [`Self::held`] gives for its birth.
    fn put_held(&mut self, row: HeldRow, old: Option<&HeldRow>) -> Result<(), Self::Error>;
    /// Removes a held row, if it is there.
    fn remove_held(&mut self, birth: Birth) -> Result<(), Self::Error>;
    /// At most `limit` held rows with a birth above `after`, ascending by birth.
    fn held_after(&self, after: Birth, limit: usize) -> Result<Vec<HeldRow>, Self::Error>;
    /// The held row of `path` with the highest offset, of whatever kind.
    fn winner(&self, path: &RecordPath) -> Result<Option<HeldRow>, Self::Error>;
    /// Held tombstones and quarantined rows with an offset at or below `floor`.
    fn ending_through(&self, floor: Offset) -> Result<Vec<HeldRow>, Self::Error>;

    /// Adds or replaces a staged row.
    fn stage(&mut self, row: StagedRow) -> Result<(), Self::Error>;
    /// Removes a staged row.
    fn unstage(&mut self, birth: Birth) -> Result<(), Self::Error>;
    /// At most `limit` staged rows with a birth above `after`, ascending by birth.
    fn staged_after(&self, after: Birth, limit: usize) -> Result<Vec<StagedRow>, Self::Error>;
    /// Removes all staged rows.
    fn clear_staged(&mut self) -> Result<(), Self::Error>;

    /// Moves the whole held set aside (replacing what was aside), so that it can be read again from zero beside it.
    fn set_aside(&mut self) -> Result<(), Self::Error>;
    /// The winner of `path` in the set aside. A row that cannot be read any more counts as absent.
    fn aside(&self, path: &RecordPath) -> Result<Option<HeldRow>, Self::Error>;
    /// All paths in the set aside.
    fn aside_paths(&self) -> Result<Vec<RecordPath>, Self::Error>;
    /// Forgets the set aside.
    fn clear_aside(&mut self) -> Result<(), Self::Error>;

    /// Does a computation for each of these, which come back in order. Whoever has more than one processor may do several at once.
    fn each<T: Send, U: Send>(&self, of: Vec<T>, compute: impl Fn(T) -> U + Sync) -> Vec<U> {
        of.into_iter().map(compute).collect()
    }

    /// Keeps a change for the application, until it is handed out. One for each path: the caller merges it with one that
    /// waits (see [`Change::after`]).
    fn change(&mut self, change: Change) -> Result<(), Self::Error>;
}

/// Rows read at once from a store.
pub(super) const PAGE: usize = 1_024;
