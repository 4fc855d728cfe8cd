//! Heads that hold what real ones commit to.

use std::collections::BTreeMap;
use std::rc::Rc;

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    Plain(usize),
    /// A value of that path and version, kept for a person.
    Rescued(usize, u64),
}

/// One mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) path: Path,
    pub(crate) version: u64,
    pub(crate) delete: bool,
    pub(crate) body: u64,
}

/// A live entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) birth: u64,
    pub(crate) row: Row,
}

/// A signed head, with the live set and the history that it commits to.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) id: u64,
    pub(crate) rank: (u64, u64),
    pub(crate) offset: u64,
    pub(crate) floor: u64,
    pub(crate) floor_version: u64,
    /// Offset of the base of its term.
    pub(crate) base: u64,
    pub(crate) writer: u64,
    pub(crate) live: BTreeMap<u64, Entry>,
    pub(crate) parent: At,
}

/// A place in a history; `None` is the start.
pub(crate) type At = Option<Rc<Head>>;

impl Head {
    pub(crate) fn entry(&self, path: Path) -> Option<&Entry> {
        self.live.values().find(|entry| entry.row.path == path)
    }
}

/// All heads up to this one, the newest first.
pub(crate) fn history(at: &At) -> impl Iterator<Item = Rc<Head>> + use<> {
    std::iter::successors(at.clone(), |head| head.parent.clone())
}

pub(crate) fn contains(at: &At, id: u64) -> bool {
    history(at).any(|head| head.id == id)
}

/// Whether `old` is in the history of `new`.
pub(crate) fn within(old: &At, new: &At) -> bool {
    old.as_ref().is_none_or(|head| contains(new, head.id))
}

/// The newest head that both have.
pub(crate) fn fork(one: &At, other: &At) -> At {
    history(one).find(|head| contains(other, head.id))
}

pub(crate) fn id(at: &At) -> Option<u64> {
    at.as_ref().map(|head| head.id)
}
