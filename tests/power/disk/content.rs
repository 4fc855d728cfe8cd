//! The content of one file.

use super::chance::Chance;
use super::tree::Keep;

/// What a disk writes at once, bytes.
const SECTOR_BYTES: usize = 512;

/// What is durable, what a reader sees now, and the changes between.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    durable: Vec<u8>,
    now: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Content {
    /// Bytes that are seen now.
    pub(super) fn length(&self) -> usize {
        self.now.len()
    }

    /// At most `length` bytes from `at`.
    pub(super) fn read(&self, at: usize, length: usize) -> &[u8] {
        let from = at.min(self.now.len());
        &self.now[from..from.saturating_add(length).min(self.now.len())]
    }

    /// Writes bytes, behind the end too.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.now, at, bytes);
        self.changes.push(Change::Write { at, bytes: bytes.to_vec() });
    }

    /// Cuts it, or adds zeros.
    pub(super) fn set_length(&mut self, length: usize) {
        self.now.resize(length, 0);
        self.changes.push(Change::Length(length));
    }

    /// All of it is durable now.
    pub(super) fn sync(&mut self) {
        self.changes.drain(..).for_each(|change| apply(&mut self.durable, &change));
    }

    /// What a power cut leaves of it.
    pub(super) fn after_cut(mut self, keep: Keep, chance: &mut Chance) -> Self {
        for change in &self.changes {
            match keep {
                Keep::Nothing => {}
                Keep::Everything => apply(&mut self.durable, change),
                Keep::Some => apply_some(&mut self.durable, change, chance),
            }
        }
        Self { now: self.durable.clone(), durable: self.durable, changes: Vec::new() }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes: written } => put(bytes, *at, written),
        Change::Length(length) => bytes.resize(*length, 0),
    }
}

/// All of the change, nothing, its beginning, or any of its sectors.
fn apply_some(bytes: &mut Vec<u8>, change: &Change, chance: &mut Chance) {
    match (change, chance.below(4)) {
        (_, 0) => {}
        (Change::Write { at, bytes: written }, 1) => {
            let length = chance.below(written.len() as u64 + 1) as usize;
            put(bytes, *at, &written[..length]);
        }
        (Change::Write { at, bytes: written }, 2) => {
            for (place, sector) in sectors(*at, written) {
                if chance.coin() {
                    put(bytes, place, sector);
                }
            }
        }
        _ => apply(bytes, change),
    }
}

/// The pieces of a write that a disk writes at once, with their places.
fn sectors(at: usize, mut bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let (mut sectors, mut place) = (Vec::new(), at);
    while !bytes.is_empty() {
        let (sector, rest) = bytes.split_at((SECTOR_BYTES - place % SECTOR_BYTES).min(bytes.len()));
        sectors.push((place, sector));
        place += sector.len();
        bytes = rest;
    }
    sectors
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    let end = at + written.len();
    if !written.is_empty() && bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes.get_mut(at..end).into_iter().for_each(|place| place.copy_from_slice(written));
}
