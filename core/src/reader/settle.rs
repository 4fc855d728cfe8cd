//! Settling: the held set and what is staged become the set that a head signs, or nothing changes. [P-11, P-12, P-15]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidings_proto::{Birth, EntryDigest, Epoch, Offset};

use super::attempt::BitmapState;
use super::change::{Change, ChangeKind};
use super::rewind::REWOUND_GONE_MAX;
use super::store::PAGE;
use super::{Accepted, Fault, HeldKind, HeldRow, Reader, ReaderStore, Rewound, StagedRow, Staging, Step};
use crate::codec::Object;
use crate::entry::Entry;
use crate::epoch::EpochSecret;
use crate::head::{Head, QueueState, SignedHead};
use crate::mutation::Operation;
use crate::path::RecordPath;
use crate::seal::Openers;
use crate::set_hash::SetHash;

/// A set that equals what the head signs, and the held rows that are not in it.
struct Settled {
    live: SetHash,
    count: u64,
    gone: BTreeSet<Birth>,
    /// Births of held rows that what is staged replaces.
    replaced: BTreeSet<Birth>,
    /// Epochs of what is staged; `None` is one that does not read.
    epochs: BTreeSet<Option<Epoch>>,
}

/// What is told to the application.
#[derive(Default)]
struct Told {
    changes: u64,
    /// Deletes, the first of them.
    gone: Vec<RecordPath>,
    gone_count: u64,
}

/// A record that a delta touches.
struct Touched {
    /// What the application saw of it: the entry, and whether there was a value. Not its offset: in another branch another entry has
    /// the same.
    before: Option<(EntryDigest, bool)>,
    /// Of all rows of the record before the delta, the highest.
    offset: Offset,
    newest: Newest,
}

/// The row with the highest offset that a delta puts for a record.
enum Newest {
    Nothing,
    Row(Box<HeldRow>),
    /// It is only in the store: there are too many to keep.
    Stored,
}

/// The records that a delta touches.
#[derive(Default)]
struct Records {
    by_path: BTreeMap<RecordPath, Touched>,
    /// Of the rows kept here, bytes.
    kept: usize,
}

/// Rows of a delta that are kept in memory until their changes are told, bytes; of those above that they are read again.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Reader {
    /// The stream reached the newest offset at the announced head.
    pub(super) fn settle<S: ReaderStore>(&mut self, store: &mut S) -> Result<Step, S::Error> {
        let Some(head) = self.attempt.as_ref().and_then(|attempt| attempt.head()).cloned() else { return Ok(Step::Continue) };
        if self.needs_bitmap(head.head(), store)? {
            return Ok(self.ask_bitmap());
        }
        // Sealed until here: a set is verified before anything in it is opened. [P-11]
        let Some(settled) = self.settled(head.head(), store)? else { return self.contradiction(Fault::Set, store) };
        if !self.holds_secrets(head.head(), &settled.epochs) {
            return self.contradiction(Fault::GrantMissing, store);
        }
        let told = self.apply(&head, &settled, store)?;
        let rewound = self.rewound(told.gone, told.gone_count);
        Ok(Step::Accepted(self.move_to(head, settled, told.changes, rewound)))
    }

    /// A floor above the witness may have purged what is held or staged; so may one that passes a row whose kind is not known.
    fn needs_bitmap<S: ReaderStore>(&self, head: &Head, store: &S) -> Result<bool, S::Error> {
        let Some(attempt) = &self.attempt else { return Ok(false) };
        if head.floor > attempt.witness {
            return Ok(true);
        }
        let settled = self.floor().max(attempt.bitmap_floor);
        if head.floor <= settled {
            return Ok(false);
        }
        let ending = store.ending_through(head.floor)?;
        Ok(ending.iter().any(|row| row.kind == HeldKind::Quarantined && row.offset > settled))
    }

    fn ask_bitmap(&mut self) -> Step {
        match self.attempt.as_mut().map(|attempt| &mut attempt.bitmap) {
            // Asked already: the answer is on its way behind chunks that were sent before it.
            Some(BitmapState::Asked { .. }) | None => Step::Continue,
            Some(idle) => {
                *idle = BitmapState::Asked { live: Default::default(), through: Offset::ZERO };
                Step::AskBitmap
            }
        }
    }

    /// Held minus dropped minus held tombstones at or below the floor, plus staged, newest for each birth.
    fn settled<S: ReaderStore>(&self, head: &Head, store: &S) -> Result<Option<Settled>, S::Error> {
        let mut gone = self.attempt.as_ref().map(|attempt| attempt.dropped.clone()).unwrap_or_default();
        if head.floor > self.floor() {
            let ending = store.ending_through(head.floor)?;
            gone.extend(ending.iter().filter(|row| row.kind == HeldKind::Tombstone).map(|row| row.birth));
        }
        let (mut live, mut added, mut removed) = (self.live.clone(), 0u64, 0u64);
        for birth in &gone {
            if let Some(row) = store.held(*birth)? {
                live.remove(row.digest.bytes());
                removed += 1;
            }
        }
        let (mut epochs, mut replaced, mut after) = (BTreeSet::new(), BTreeSet::new(), Birth::ZERO);
        loop {
            let rows = store.staged_after(after, PAGE)?;
            let Some(last) = rows.last() else { break };
            after = last.birth;
            for row in &rows {
                if let Some(old) = store.held(row.birth)?.filter(|old| !gone.contains(&old.birth)) {
                    live.remove(old.digest.bytes());
                    removed += 1;
                    replaced.insert(old.birth);
                }
                live.add(row.digest.bytes());
                added += 1;
                epochs.insert(Entry::decode(&row.entry).ok().map(|entry| entry.epoch));
            }
        }
        let Some(count) = (self.live_count + added).checked_sub(removed) else { return Ok(None) };
        let equal = count == head.live_count && live.root() == head.live_root;
        Ok(equal.then_some(Settled { live, count, gone, replaced, epochs }))
    }

    /// Every staged entry's epoch has a secret, and every secret is the one the owner committed to.
    fn holds_secrets(&self, head: &Head, staged: &BTreeSet<Option<Epoch>>) -> bool {
        let committed = |secret: &EpochSecret| {
            let listed = head.epochs.iter().find(|listed| listed.epoch == secret.epoch);
            listed.is_none_or(|listed| listed.commitment == secret.commitment(&self.queue))
        };
        let known = |epoch: Epoch| self.secret(epoch).is_some() && head.epochs.iter().any(|listed| listed.epoch == epoch);
        self.secrets.iter().all(committed) && staged.iter().all(|epoch| epoch.is_some_and(known))
    }

    fn secret(&self, epoch: tidings_proto::Epoch) -> Option<&EpochSecret> {
        self.secrets.iter().find(|secret| secret.epoch == epoch)
    }

    /// Writes the verified set to the store, and the net change of each record.
    fn apply<S: ReaderStore>(&self, head: &SignedHead, settled: &Settled, store: &mut S) -> Result<Told, S::Error> {
        let mut records = Records::default();
        for birth in &settled.gone {
            if let Some(row) = store.held(*birth)? {
                self.touch(&row.path, &mut records, store)?;
                store.remove_held(*birth)?;
            }
        }
        let (openers, mut after) = (Openers::new(&self.secrets, &self.queue), Birth::ZERO);
        loop {
            let rows = store.staged_after(after, PAGE)?;
            let Some(last) = rows.last() else { break };
            after = last.birth;
            let old = |row: &StagedRow| if settled.replaced.contains(&row.birth) { store.held(row.birth) } else { Ok(None) };
            let rows = rows.into_iter().map(|row| Ok((old(&row)?, row))).collect::<Result<_, _>>()?;
            let open = |(old, row): (Option<HeldRow>, StagedRow)| (opened(&openers, row, old.as_ref()), old);
            for (row, old) in store.each(rows, open) {
                // An old row of a known path leaves it to the new one.
                self.touch(&row.path, &mut records, store)?;
                records.put(&row);
                store.put_held(row, old.as_ref())?;
            }
        }
        store.clear_staged()?;
        if self.rebuilding {
            for path in store.aside_paths()? {
                self.touch(&Some(path), &mut records, store)?;
            }
            store.clear_aside()?;
        }
        self.hand_out(records, head, store)
    }

    /// Remembers what the application saw of a record, before the first row of it changes.
    fn touch<S: ReaderStore>(&self, path: &Option<RecordPath>, records: &mut Records, store: &S) -> Result<(), S::Error> {
        let Some(path) = path.as_ref().filter(|path| !records.by_path.contains_key(path)) else { return Ok(()) };
        let row = match (self.rebuilding, self.live_count) {
            (true, _) => store.aside(path)?,
            // Nothing was held.
            (false, 0) => None,
            (false, _) => store.winner(path)?,
        };
        let offset = row.as_ref().map_or(Offset::ZERO, |row| row.offset);
        // Of a record that is quarantined the application has what it saw before.
        let before = row.map(|row| (row.digest, row.kind != HeldKind::Tombstone));
        records.by_path.insert(path.clone(), Touched { before, offset, newest: Newest::Nothing });
        Ok(())
    }

    fn move_to(&mut self, head: SignedHead, settled: Settled, changes: u64, rewound: Option<Rewound>) -> Accepted {
        let cursor = head.cursor();
        self.cursor = cursor;
        self.live = settled.live;
        self.live_count = settled.count;
        self.secrets
            .retain(|secret| head.head().epochs.iter().any(|listed| listed.epoch == secret.epoch) || secret.epoch > head.head().epoch);
        self.staging = Staging { position: cursor.offset, stamp: self.staging.stamp, floor: Some(head.head().floor) };
        (self.rebuilding, self.rewinding, self.damaged) = (false, false, false);
        self.ancestor = None;
        self.suspect = None;
        let signed_at = head.head().time;
        let (mut entries, mut bytes, mut caught_up) = (0, 0, false);
        if let Some(attempt) = &mut self.attempt {
            (entries, bytes) = (std::mem::take(&mut attempt.entries), std::mem::take(&mut attempt.bytes));
            caught_up = attempt.first().is_some_and(|first| cursor.rank >= first.rank());
            attempt.dropped.clear();
            attempt.lacks_ancestor = false;
            // Whatever is staged from now on was read at this head or a newer one. [P-12]
            attempt.witness = if self.live_count > 0 { cursor.offset } else { head.head().floor };
        }
        let closed = head.head().state == QueueState::Closed;
        self.head = Some(head);
        Accepted { cursor, signed_at, caught_up, entries, bytes, changes, rewound, closed }
    }

    pub(super) fn floor(&self) -> Offset {
        self.head.as_ref().map_or(Offset::ZERO, |head| head.head().floor)
    }
}

impl Reader {
    /// Compares what the application saw with what it sees now. What belongs to the owner's programs it never sees. [P-5]
    fn hand_out<S: ReaderStore>(&self, records: Records, head: &SignedHead, store: &mut S) -> Result<Told, S::Error> {
        let mut told = Told::default();
        for (path, touched) in records.by_path.into_iter().filter(|(path, _)| !path.is_reserved()) {
            let Touched { before, offset, newest } = touched;
            let now = match newest {
                // Above every row there was: no other can be the winner.
                Newest::Row(row) if row.offset > offset => Some(*row),
                _ => store.winner(&path)?,
            };
            // What the application saw of a record may be lost with the damage: what is deleted now is said once more.
            let deleted = now.as_ref().is_some_and(|row| row.kind == HeldKind::Tombstone);
            let lost = self.damaged && before.is_none() && deleted;
            let before = if lost { Some((EntryDigest::ZERO, true)) } else { before };
            if let Some(change) = net_change(path, before, now, head) {
                told.add(&change, lost);
                store.change(change)?;
            }
        }
        Ok(told)
    }
}

/// What a verified entry says. One that does not open, or names another path than its birth had, is kept sealed under the path that
/// its birth had. [P-15]
pub(super) fn opened(openers: &Openers, row: StagedRow, old: Option<&HeldRow>) -> HeldRow {
    let entry = Entry::decode(&row.entry).ok();
    let term = entry.as_ref().map(|entry| entry.term).unwrap_or_default();
    let mutation = entry.and_then(|entry| openers.open(&entry)?.ok());
    let known = old.and_then(|old| old.path.as_ref());
    let held = |kind, path, bytes| HeldRow { birth: row.birth, offset: row.offset, term, digest: row.digest, kind, path, bytes };
    match mutation {
        Some((mutation, bytes)) if known.is_none_or(|path| *path == mutation.path) => {
            let kind = if mutation.operation == Operation::Delete { HeldKind::Tombstone } else { HeldKind::Value };
            held(kind, Some(mutation.path), bytes)
        }
        _ => held(HeldKind::Quarantined, known.cloned(), row.entry.clone()),
    }
}

impl Records {
    /// This row is put into the store; its record is touched already.
    fn put(&mut self, row: &HeldRow) {
        // Nothing is told of a reserved one.
        let Some(path) = row.path.as_ref().filter(|path| !path.is_reserved()) else { return };
        let Some(touched) = self.by_path.get_mut(path) else { return };
        match &touched.newest {
            Newest::Stored => return,
            Newest::Row(kept) if kept.offset > row.offset => return,
            Newest::Row(kept) => self.kept -= weight(kept),
            Newest::Nothing => {}
        }
        let weight = weight(row);
        if self.kept + weight > KEPT_BYTES_MAX {
            touched.newest = Newest::Stored;
        } else {
            self.kept += weight;
            touched.newest = Newest::Row(Box::new(row.clone()));
        }
    }
}

/// What a row takes in memory, bytes.
fn weight(row: &HeldRow) -> usize {
    size_of::<HeldRow>() + row.bytes.len() + row.path.as_ref().map_or(0, |path| path.as_str().len())
}

impl Told {
    fn add(&mut self, change: &Change, lost: bool) {
        self.changes += 1;
        if change.kind == ChangeKind::Delete && !lost {
            self.gone_count += 1;
            if self.gone.len() < REWOUND_GONE_MAX {
                self.gone.push(change.path.clone());
            }
        }
    }
}

fn net_change(path: RecordPath, before: Option<(EntryDigest, bool)>, now: Option<HeldRow>, head: &SignedHead) -> Option<Change> {
    let existed = before.is_some_and(|(_, existed)| existed);
    let same = before.map(|(entry, _)| entry) == now.as_ref().map(|row| row.digest);
    let kind = match (existed, now.as_ref().map(|row| row.kind)) {
        // Not readable is not gone: the application keeps what it has until there is something to tell. [P-20]
        (_, Some(HeldKind::Quarantined)) => return None,
        (true, Some(HeldKind::Value)) if same => return None,
        (false, Some(HeldKind::Value)) => ChangeKind::Create,
        (true, Some(HeldKind::Value)) => ChangeKind::Update,
        (true, Some(HeldKind::Tombstone) | None) => ChangeKind::Delete,
        (false, Some(HeldKind::Tombstone) | None) => return None,
    };
    Some(match now {
        Some(row) => Change { path, kind, term: row.term, offset: row.offset, mutation: row.bytes },
        None => Change { path, kind, term: head.rank().term, offset: head.head().offset, mutation: Bytes::new() },
    })
}

#[cfg(test)]
mod tests {
    use tidings_proto::Term;

    use super::*;

    fn row(number: u64, offset: u64, bytes: usize) -> HeldRow {
        let path = Some(format!("/record/{number}").parse().expect("a path"));
        let (birth, offset, term) = (Birth::new(number), Offset::new(offset), Term::new(1));
        HeldRow { birth, offset, term, digest: EntryDigest::ZERO, kind: HeldKind::Value, path, bytes: vec![0; bytes].into() }
    }

    fn put(records: &mut Records, row: &HeldRow) {
        let path = row.path.clone().expect("it has one");
        let untouched = || Touched { before: None, offset: Offset::ZERO, newest: Newest::Nothing };
        records.by_path.entry(path).or_insert_with(untouched);
        records.put(row);
    }

    #[test]
    fn rows_above_the_bound_are_left_in_the_store_and_stay_there() {
        let mut records = Records::default();
        (1..=20).for_each(|number| put(&mut records, &row(number, number, 1 << 20)));
        assert!(records.kept <= KEPT_BYTES_MAX);
        let newest = |records: &Records, number: u64| match &records.by_path[&row(number, 1, 0).path.expect("it has one")].newest {
            Newest::Row(row) => Some(row.offset.value()),
            Newest::Nothing | Newest::Stored => None,
        };
        assert_eq!((newest(&records, 15), newest(&records, 20)), (Some(15), None));
        // A shorter one would find room, and an older one must not come back.
        put(&mut records, &row(20, 21, 0));
        assert_eq!(newest(&records, 20), None);
        put(&mut records, &row(15, 22, 10));
        put(&mut records, &row(15, 3, 10));
        assert_eq!(newest(&records, 15), Some(22));
        let weights: usize =
            records.by_path.values().map(|touched| if let Newest::Row(row) = &touched.newest { weight(row) } else { 0 }).sum();
        assert_eq!(records.kept, weights);
    }
}
