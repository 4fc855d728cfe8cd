//! An owner: what it keeps, and what it signs.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::head::{At, Entry, Head, Path, Row};
use super::random::Random;

/// What is durable at an owner; a clone is a backup, or the home of another machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) head: At,
    pub(crate) outbox: BTreeMap<Path, Row>,
    pub(crate) clock: u64,
    pub(crate) writer: u64,
    pub(crate) known: BTreeSet<u64>,
    /// The term that was opened and in which nothing is signed.
    pub(crate) open: Option<u64>,
    /// A person said that it is to be rebuilt.
    pub(crate) restoring: bool,
    /// What of a merge is not signed yet.
    pub(crate) merging: BTreeSet<Path>,
    /// Rescued values that the owner alone keeps.
    pub(crate) kept: Vec<Row>,
    /// Latest version of deletes that a merge dropped, and of those purged on either branch.
    pub(crate) floor_version: u64,
}

/// One running owner.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) state: State,
    /// Head that each broker showed when it was compared with; `None` if it was not since the start.
    pub(crate) compared: Vec<Option<Option<u64>>>,
    pub(crate) conflict: bool,
    /// How long it has run.
    pub(crate) age: u32,
}

/// How a process begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Where it lay.
    Again,
    /// From a copy: the mark is another one. [P-4]
    Moved,
}

impl Owner {
    pub(crate) fn new(state: State, brokers: usize) -> Self {
        Self { state, compared: vec![None; brokers], conflict: false, age: 0 }
    }

    pub(crate) fn start(&mut self, begin: Begin, random: &mut Random) {
        self.compared.fill(None);
        (self.conflict, self.age) = (false, 0);
        if begin == Begin::Moved {
            self.state.writer = random.next();
            self.state.known.insert(self.state.writer);
            self.open_term(0, random);
        }
    }

    /// The highest term seen plus a random step. [P-4]
    pub(crate) fn open_term(&mut self, seen: u64, random: &mut Random) {
        let own = self.state.head.as_ref().map_or(0, |head| head.rank.0);
        self.state.open = Some(self.state.open.unwrap_or(0).max(own).max(seen) + random.step());
    }

    pub(crate) fn has_compared_all(&self) -> bool {
        self.compared.iter().all(Option::is_some)
    }

    /// [P-4] After all were compared with, or some and the others were waited for: then in a new term.
    pub(crate) fn may_sign(&self) -> bool {
        let waited = self.age > 3 && self.compared.iter().any(Option::is_some);
        !self.conflict && !self.state.restoring && (self.has_compared_all() || waited)
    }

    /// A change of a record, versioned by the clock. `None`: it would change nothing.
    pub(crate) fn write(&mut self, path: Path, now: u64, random: &mut Random) -> Option<Row> {
        let state = &mut self.state;
        let signed = state.head.as_ref().and_then(|head| head.entry(path)).is_some_and(|entry| !entry.row.delete);
        let lives = state.outbox.get(&path).map_or(signed, |row| !row.delete);
        let delete = lives && random.chance(40);
        state.clock = state.clock.max(now * 16) + 1;
        let row = Row { path, version: state.clock, delete, body: random.next() };
        // A create and a delete that wait cancel out.
        if delete && !signed {
            state.outbox.remove(&path);
        } else {
            state.outbox.insert(path, row.clone());
        }
        Some(row)
    }

    /// Signs some of what waits. Gives the head, the rows in it, and those rows that went over something newer.
    pub(crate) fn sign(&mut self, id: u64, guard: bool, random: &mut Random) -> (Rc<Head>, Vec<Row>, Vec<Row>) {
        let all = self.has_compared_all();
        if !all && self.state.open.is_none() && self.age < u32::MAX / 2 {
            self.open_term(0, random);
            self.age = u32::MAX / 2;
        }
        let state = &mut self.state;
        let before = state.head.clone();
        let previous = before.as_ref().map_or(0, |head| head.offset);
        let (term, base) = match (state.open.take(), &before) {
            (None, Some(head)) => (head.rank.0, head.base),
            (open, _) => (open.unwrap_or(1), previous),
        };
        let mut live = before.as_ref().map_or_else(BTreeMap::new, |head| head.live.clone());
        let some = if random.chance(30) { 1 + random.below(4) } else { usize::MAX };
        let (mut offset, mut signed, mut wrong) = (previous, Vec::new(), Vec::new());
        for path in state.outbox.keys().copied().take(some).collect::<Vec<_>>() {
            let Some(row) = state.outbox.remove(&path) else { continue };
            let old = live.values().find(|entry| entry.row.path == path).cloned();
            if row.delete && old.as_ref().is_none_or(|old| old.row.delete) {
                continue;
            }
            wrong.extend(old.iter().filter(|old| old.row.version > row.version).map(|_| row.clone()));
            offset += 1;
            let birth = old.map_or(offset, |old| old.birth);
            live.insert(birth, Entry { offset, birth, row: row.clone() });
            signed.push(row);
        }
        let mut floor = before.as_ref().map_or(0, |head| head.floor);
        let mut floor_version = before.as_ref().map_or(0, |head| head.floor_version).max(state.floor_version);
        if random.chance(40) {
            floor = floor.max(if guard && !all { previous.min(base) } else { previous });
            live.retain(|_, entry| {
                let purged = entry.row.delete && entry.offset <= floor;
                floor_version = if purged { floor_version.max(entry.row.version) } else { floor_version };
                !purged
            });
        }
        let number = before.as_ref().map_or(0, |head| head.rank.1) + 1;
        let head =
            Rc::new(Head { id, rank: (term, number), offset, floor, floor_version, base, writer: state.writer, live, parent: before });
        state.head = Some(head.clone());
        state.merging.retain(|path| state.outbox.contains_key(path));
        (head, signed, wrong)
    }
}
