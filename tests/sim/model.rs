//! The delta protocol with ideal cryptography: a head holds the live set itself. The oracle for the real parts.
//!
//! What is modelled: births, tombstones, floor, chunks, stamps, bitmaps, witness, lagging brokers, cut connections. What is not:
//! signatures, ancestry, terms, epochs.

use std::collections::{BTreeMap, BTreeSet};

/// An entry; `body` stands for everything sealed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) birth: u64,
    pub(crate) path: u64,
    pub(crate) delete: bool,
    pub(crate) body: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) offset: u64,
    pub(crate) floor: u64,
    pub(crate) live: BTreeSet<Entry>,
}

/// One publish: head, new entries, offsets that left the live set.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) head: Head,
    new: Vec<Entry>,
    gone: Vec<u64>,
}

/// Dense offsets; an entry replaces the live entry of its birth; tombstones live until the floor passes them.
#[derive(Default)]
pub(crate) struct Owner {
    pub(crate) head: Head,
    live: BTreeMap<u64, Entry>,
    paths: BTreeMap<u64, u64>,
    pub(crate) log: Vec<Published>,
}

impl Owner {
    /// `changes`: path and body, `None` for a delete. What has no effect is left out.
    pub(crate) fn publish(&mut self, changes: &[(u64, Option<u64>)], floor: Option<u64>) {
        let before = self.head.offset;
        let (mut offset, mut new, mut gone, mut seen) = (before, Vec::new(), Vec::new(), BTreeSet::new());
        for (path, body) in changes {
            let old = self.paths.get(path).and_then(|birth| self.live.get(birth)).cloned();
            let lives = old.as_ref().is_some_and(|old| !old.delete);
            if seen.contains(path) || (body.is_none() && !lives) {
                continue;
            }
            seen.insert(*path);
            offset += 1;
            let birth = old.as_ref().map_or(offset, |old| old.birth);
            gone.extend(old.map(|old| old.offset));
            let entry = Entry { offset, birth, path: *path, delete: body.is_none(), body: body.unwrap_or_default() };
            self.live.insert(birth, entry.clone());
            self.paths.insert(*path, birth);
            new.push(entry);
        }
        let floor = self.head.floor.max(floor.unwrap_or(0).min(before));
        let purged: Vec<Entry> = self.live.values().filter(|entry| entry.delete && entry.offset <= floor).cloned().collect();
        for entry in purged {
            self.live.remove(&entry.birth);
            self.paths.remove(&entry.path);
            gone.push(entry.offset);
        }
        self.head = Head { number: self.head.number + 1, offset, floor, live: self.live.values().cloned().collect() };
        self.log.push(Published { head: self.head.clone(), new, gone });
    }
}

#[derive(Default)]
pub(crate) struct Broker {
    at: usize,
    head: Head,
    entries: BTreeMap<u64, Entry>,
}

impl Broker {
    pub(crate) fn receive(&mut self, log: &[Published], publishes: usize) {
        for publish in log.iter().skip(self.at).take(publishes) {
            self.entries.extend(publish.new.iter().map(|entry| (entry.offset, entry.clone())));
            self.entries.retain(|offset, _| !publish.gone.contains(offset));
            self.head = publish.head.clone();
            self.at += 1;
        }
    }

    pub(crate) fn chunk(&self, position: u64, size: usize) -> Chunk {
        let mut entries: Vec<_> = self.entries.range(position + 1..).take(size + 1).map(|(_, entry)| entry.clone()).collect();
        let end = entries.len() <= size;
        entries.truncate(size);
        Chunk { entries, head: self.head.clone(), end }
    }

    pub(crate) fn bitmap(&self, position: u64) -> (BTreeSet<u64>, Head) {
        (self.entries.range(..=position).map(|(offset, _)| *offset).collect(), self.head.clone())
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }
}

/// A run of entries, the head they were read at, and whether they reach its newest offset.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) entries: Vec<Entry>,
    pub(crate) head: Head,
    pub(crate) end: bool,
}

/// What the reader wants next, or how the delta ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Chunk,
    Bitmap,
    Current,
    Behind,
    Lie,
}

#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) held: BTreeMap<u64, Entry>,
    pub(crate) cursor: Head,
    staged: Vec<Entry>,
    position: u64,
    stamp: u64,
    floor: Option<u64>,
    delta: Delta,
}

/// One connection's part.
#[derive(Default)]
struct Delta {
    held: BTreeMap<u64, Entry>,
    witness: u64,
    bound: u64,
    budget: u64,
}

impl Reader {
    /// A new connection, with the head it announces first. [P-12] [P-13]
    pub(crate) fn begin(&mut self, first: &Head) -> Wants {
        if first.number < self.stamp.max(self.cursor.number) || first.offset < self.position {
            return Wants::Behind;
        }
        self.stamp = first.number;
        let lowest = self.floor.filter(|_| self.position > self.cursor.offset).map_or(first.floor, |floor| floor.min(first.floor));
        self.floor = Some(lowest);
        let witness = if self.held.is_empty() { lowest } else { self.cursor.offset };
        self.delta = Delta { held: self.held.clone(), witness, bound: first.offset, budget: first.live.len() as u64 };
        Wants::Chunk
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn take_chunk(&mut self, chunk: &Chunk) -> Wants {
        if chunk.head.number > self.stamp {
            // What is streamed after a head was announced lives at it.
            let left = self.delta.budget + chunk.head.offset.saturating_sub(self.delta.bound);
            self.delta.budget = left.min(chunk.head.live.len() as u64);
            self.delta.bound = self.delta.bound.max(chunk.head.offset);
        }
        self.stamp = self.stamp.max(chunk.head.number);
        for entry in &chunk.entries {
            if entry.offset <= self.delta.bound {
                let Some(rest) = self.delta.budget.checked_sub(1) else { return self.lie() };
                self.delta.budget = rest;
            }
            if entry.offset <= self.position || entry.offset > chunk.head.offset {
                return self.lie();
            }
            self.position = entry.offset;
            self.staged.push(entry.clone());
        }
        if chunk.end {
            // Nothing lives between the last entry and the head's offset: the broker has streamed up to there.
            self.position = chunk.head.offset;
        }
        match chunk.end {
            false if chunk.entries.is_empty() => self.lie(),
            false => Wants::Chunk,
            true if chunk.head.floor > self.delta.witness => Wants::Bitmap,
            true => self.settle(&chunk.head),
        }
    }

    /// `None`: more offsets than the head signs.
    pub(crate) fn take_bitmap(&mut self, live: &BTreeSet<u64>, at: &Head) -> Option<()> {
        if live.len() > at.live.len() {
            self.forget();
            return None;
        }
        let covered = self.position.min(at.offset);
        self.stamp = self.stamp.max(at.number);
        self.delta.held.retain(|_, entry| entry.offset > covered || live.contains(&entry.offset));
        self.staged.retain(|entry| entry.offset > covered || live.contains(&entry.offset));
        self.delta.witness = at.floor;
        (self.delta.bound, self.delta.budget) = (at.offset, at.live.len() as u64);
        Some(())
    }

    /// [P-11] Held tombstones at or below the floor are gone; the newest entry of each birth; equal to what the head signs.
    fn settle(&mut self, head: &Head) -> Wants {
        let mut result = self.delta.held.clone();
        result.retain(|_, entry| !(entry.delete && entry.offset <= head.floor));
        for entry in &self.staged {
            if result.get(&entry.birth).is_none_or(|old| old.offset < entry.offset) {
                result.insert(entry.birth, entry.clone());
            }
        }
        if result.values().cloned().collect::<BTreeSet<_>>() != head.live {
            return self.lie();
        }
        (self.held, self.cursor) = (result, head.clone());
        self.forget();
        Wants::Current
    }

    fn lie(&mut self) -> Wants {
        self.forget();
        Wants::Lie
    }

    fn forget(&mut self) {
        self.staged.clear();
        self.position = self.cursor.offset;
        self.floor = None;
    }
}
