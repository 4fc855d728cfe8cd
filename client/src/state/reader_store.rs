//! The tables of one follow inside one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use redb::{ReadableTable, Table, WriteTransaction};
use tidings_core::RecordPath;
use tidings_core::reader::{Change, Handed, HeldKind, HeldRow, ReaderStore, StagedRow};
use tidings_proto::{Birth, Offset, QueueId};

use super::tables::{self, Queue};
use super::{PendingRow, StateError, rows};
use crate::processors::side_by_side;

/// Records that a transaction remembers as changed; more of them are found by looking at all.
const TOUCHED_MAX: usize = 10_000;

/// Staged rows that are not written.
pub(crate) type Staged = BTreeMap<Birth, StagedRow>;
type ByBirth<'t> = Table<'t, (Queue, u64), &'static [u8]>;
type ByPath<'t> = Table<'t, (Queue, &'static str, u64), ()>;

/// What a [`tidings_core::reader::Reader`] keeps outside itself, durably. Everything done through it is one transaction.
pub(crate) struct FollowTables<'t> {
    queue: [u8; 32],
    held: ByBirth<'t>,
    held_paths: ByPath<'t>,
    /// No held row is of a higher birth.
    held_last: Birth,
    ending: Table<'t, (Queue, u64, u64), ()>,
    staged: ByBirth<'t>,
    /// Staged and not in the table yet: most deltas never come there.
    fresh: Staged,
    aside: ByBirth<'t>,
    aside_paths: ByPath<'t>,
    changes: Table<'t, (Queue, &'static str), &'static [u8]>,
    /// Records of which a waiting change was written in this transaction; `None` if they were many.
    touched: Option<Vec<RecordPath>>,
}

impl<'t> FollowTables<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction, queue: &QueueId) -> Result<Self, StateError> {
        let queue = *queue.bytes();
        let held = transaction.open_table(tables::HELD)?;
        let last = held.range((&queue, 0)..=(&queue, u64::MAX))?.next_back().transpose()?;
        Ok(Self {
            held_last: last.map_or(Birth::ZERO, |row| Birth::new(row.0.value().1)),
            queue,
            held,
            held_paths: transaction.open_table(tables::HELD_PATHS)?,
            ending: transaction.open_table(tables::ENDING)?,
            staged: transaction.open_table(tables::STAGED)?,
            fresh: Staged::new(),
            aside: transaction.open_table(tables::ASIDE)?,
            aside_paths: transaction.open_table(tables::ASIDE_PATHS)?,
            changes: transaction.open_table(tables::CHANGES)?,
            touched: Some(Vec::new()),
        })
    }

    /// Forgets everything of this follow.
    pub(crate) fn clear(&mut self) -> Result<(), StateError> {
        clear(&mut self.held, &self.queue)?;
        clear_paths(&mut self.held_paths, &self.queue)?;
        self.ending.retain_in((&self.queue, 0, 0)..=(&self.queue, u64::MAX, u64::MAX), |_, ()| false)?;
        self.clear_staged()?;
        self.clear_aside()?;
        for row in self.pending_after(None, |_| true, usize::MAX)? {
            self.changes.remove((&self.queue, row.change.path.as_str()))?;
        }
        Ok(())
    }

    /// Whether no change waits.
    pub(crate) fn none_waits(&self) -> Result<bool, StateError> {
        Ok(self.pending_after(None, |_| true, 1)?.is_empty())
    }

    /// At most `limit` waiting changes of records above a path that are wanted, ascending by path.
    pub(crate) fn pending_after(
        &self,
        after: Option<&RecordPath>,
        wanted: impl Fn(&PendingRow) -> bool,
        limit: usize,
    ) -> Result<Vec<PendingRow>, StateError> {
        let (mut found, first) = (Vec::new(), after.map_or("", RecordPath::as_str));
        for row in self.changes.range((&self.queue, first)..)? {
            let (key, value) = row?;
            let (of, path) = key.value();
            if *of != self.queue || found.len() >= limit {
                break;
            }
            if after.is_some_and(|after| after.as_str() == path) {
                continue;
            }
            found.extend(Some(rows::decode_pending(rows::path(path)?, value.value())?).filter(&wanted));
        }
        Ok(found)
    }

    /// Records of which a waiting change was written in this transaction, some perhaps more than once; `None` if they were many.
    pub(crate) fn take_touched(&mut self) -> Option<Vec<RecordPath>> {
        self.touched.replace(Vec::new())
    }

    pub(crate) fn pending_row(&self, path: &RecordPath) -> Result<Option<PendingRow>, StateError> {
        let row = self.changes.get((&self.queue, path.as_str()))?;
        row.map(|row| rows::decode_pending(path.clone(), row.value())).transpose()
    }

    pub(crate) fn put_pending(&mut self, row: &PendingRow) -> Result<(), StateError> {
        self.changes.insert((&self.queue, row.change.path.as_str()), rows::encode_pending(row).as_slice())?;
        Ok(())
    }

    pub(crate) fn remove_pending(&mut self, path: &RecordPath) -> Result<(), StateError> {
        self.changes.remove((&self.queue, path.as_str()))?;
        Ok(())
    }

    /// Removes the waiting change of a record, and gives it.
    pub(crate) fn take_pending(&mut self, path: &RecordPath) -> Result<Option<PendingRow>, StateError> {
        let row = self.changes.remove((&self.queue, path.as_str()))?;
        row.map(|row| rows::decode_pending(path.clone(), row.value())).transpose()
    }

    /// The same, with what was staged earlier and not written.
    pub(crate) fn open_with(transaction: &'t WriteTransaction, queue: &QueueId, staged: Staged) -> Result<Self, StateError> {
        Ok(Self { fresh: staged, ..Self::open(transaction, queue)? })
    }

    /// What is staged and not written.
    pub(crate) fn into_staged(self) -> Staged {
        self.fresh
    }

    /// Writes what is staged. Without it that is forgotten with the transaction.
    pub(crate) fn keep_staged(&mut self) -> Result<(), StateError> {
        for (birth, row) in std::mem::take(&mut self.fresh) {
            self.staged.insert((&self.queue, birth.value()), rows::encode_staged(&row).as_slice())?;
        }
        Ok(())
    }

    /// What a rotten page would leave of a held row.
    #[cfg(test)]
    pub(crate) fn damage_held(&mut self, birth: Birth) -> Result<(), StateError> {
        self.held.insert((&self.queue, birth.value()), &[0xFF; 3][..])?;
        Ok(())
    }

    /// Takes a row out of the indexes it stands in, out of that of paths only if `moves`.
    fn unindex(&mut self, row: &HeldRow, moves: bool) -> Result<(), StateError> {
        if let Some(path) = row.path.as_ref().filter(|_| moves) {
            self.held_paths.remove((&self.queue, path.as_str(), row.birth.value()))?;
        }
        if row.kind != HeldKind::Value {
            self.ending.remove((&self.queue, row.offset.value(), row.birth.value()))?;
        }
        Ok(())
    }
}

/// The row of `path` with the highest offset.
pub(super) fn winner(
    rows: &impl ReadableTable<(Queue, u64), &'static [u8]>,
    paths: &impl ReadableTable<(Queue, &'static str, u64), ()>,
    queue: &[u8; 32],
    path: &RecordPath,
) -> Result<Option<HeldRow>, StateError> {
    let mut best: Option<HeldRow> = None;
    for key in paths.range((queue, path.as_str(), 0)..=(queue, path.as_str(), u64::MAX))? {
        let birth = Birth::new(key?.0.value().2);
        if let Some(row) = held(rows, queue, birth)?
            && best.as_ref().is_none_or(|best| best.offset < row.offset)
        {
            best = Some(row);
        }
    }
    Ok(best)
}

fn held(table: &impl ReadableTable<(Queue, u64), &'static [u8]>, queue: &[u8; 32], birth: Birth) -> Result<Option<HeldRow>, StateError> {
    table.get((queue, birth.value()))?.map(|row| rows::decode_held(birth, row.value())).transpose()
}

fn clear(table: &mut ByBirth<'_>, queue: &[u8; 32]) -> Result<(), StateError> {
    Ok(table.retain_in((queue, 0)..=(queue, u64::MAX), |_, _| false)?)
}

fn clear_paths(table: &mut ByPath<'_>, queue: &[u8; 32]) -> Result<(), StateError> {
    for path in paths_of(table, queue)? {
        table.retain_in((queue, path.as_str(), 0)..=(queue, path.as_str(), u64::MAX), |_, ()| false)?;
    }
    Ok(())
}

fn paths_of(table: &impl ReadableTable<(Queue, &'static str, u64), ()>, queue: &[u8; 32]) -> Result<BTreeSet<RecordPath>, StateError> {
    let mut found = BTreeSet::new();
    for row in table.range((queue, "", 0)..)? {
        let key = row?.0;
        let (of, path, _) = key.value();
        if of != queue {
            break;
        }
        found.insert(rows::path(path)?);
    }
    Ok(found)
}

/// At most `limit` rows above `after`, ascending by birth.
fn page<T>(
    table: &impl ReadableTable<(Queue, u64), &'static [u8]>,
    queue: &[u8; 32],
    after: Birth,
    limit: usize,
    decode: impl Fn(Birth, &[u8]) -> Result<T, StateError>,
) -> Result<Vec<T>, StateError> {
    let Some(first) = after.next() else { return Ok(Vec::new()) };
    let range = table.range((queue, first.value())..=(queue, u64::MAX))?;
    let decoded = range.take(limit).map(|row| {
        let (key, value) = row?;
        decode(Birth::new(key.value().1), value.value())
    });
    decoded.collect()
}

impl ReaderStore for FollowTables<'_> {
    type Error = StateError;

    fn held(&self, birth: Birth) -> Result<Option<HeldRow>, StateError> {
        if birth > self.held_last {
            return Ok(None);
        }
        held(&self.held, &self.queue, birth)
    }

    fn put_held(&mut self, row: HeldRow, old: Option<&HeldRow>) -> Result<(), StateError> {
        self.held_last = self.held_last.max(row.birth);
        let stays = old.is_some_and(|old| old.path == row.path);
        if let Some(old) = old {
            self.unindex(old, !stays)?;
        }
        let queue = &self.queue;
        if let Some(path) = row.path.as_ref().filter(|_| !stays) {
            self.held_paths.insert((queue, path.as_str(), row.birth.value()), ())?;
        }
        if row.kind != HeldKind::Value {
            self.ending.insert((queue, row.offset.value(), row.birth.value()), ())?;
        }
        self.held.insert((queue, row.birth.value()), rows::encode_held(&row).as_slice())?;
        Ok(())
    }

    fn remove_held(&mut self, birth: Birth) -> Result<(), StateError> {
        let Some(row) = held(&self.held, &self.queue, birth)? else { return Ok(()) };
        self.unindex(&row, true)?;
        self.held.remove((&self.queue, birth.value()))?;
        Ok(())
    }

    fn held_after(&self, after: Birth, limit: usize) -> Result<Vec<HeldRow>, StateError> {
        page(&self.held, &self.queue, after, limit, rows::decode_held)
    }

    fn winner(&self, path: &RecordPath) -> Result<Option<HeldRow>, StateError> {
        winner(&self.held, &self.held_paths, &self.queue, path)
    }

    fn ending_through(&self, floor: Offset) -> Result<Vec<HeldRow>, StateError> {
        let mut found = Vec::new();
        for key in self.ending.range((&self.queue, 0, 0)..=(&self.queue, floor.value(), u64::MAX))? {
            let birth = Birth::new(key?.0.value().2);
            let row = self.held(birth)?;
            found.push(row.ok_or_else(|| StateError::Damaged("an index names a row that is not there".into()))?);
        }
        Ok(found)
    }

    fn stage(&mut self, row: StagedRow) -> Result<(), StateError> {
        self.fresh.insert(row.birth, row);
        Ok(())
    }

    fn unstage(&mut self, birth: Birth) -> Result<(), StateError> {
        self.fresh.remove(&birth);
        self.staged.remove((&self.queue, birth.value()))?;
        Ok(())
    }

    fn staged_after(&self, after: Birth, limit: usize) -> Result<Vec<StagedRow>, StateError> {
        let mut rows = page(&self.staged, &self.queue, after, limit, rows::decode_staged)?;
        let fresh = self.fresh.range((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        rows.retain(|row| !self.fresh.contains_key(&row.birth));
        rows.extend(fresh.map(|(_, row)| row.clone()));
        rows.sort_by_key(|row| row.birth);
        rows.truncate(limit);
        Ok(rows)
    }

    fn clear_staged(&mut self) -> Result<(), StateError> {
        self.fresh.clear();
        clear(&mut self.staged, &self.queue)
    }

    fn set_aside(&mut self) -> Result<(), StateError> {
        self.clear_aside()?;
        let mut after = Birth::ZERO;
        loop {
            // A row that cannot be read any more counts as absent: this is how damage is left behind.
            let range = self.held.range((&self.queue, after.value())..=(&self.queue, u64::MAX))?;
            let births: Vec<u64> = range.take(1_024).map(|row| row.map(|row| row.0.value().1)).collect::<Result<_, _>>()?;
            let Some(last) = births.last() else { break };
            after = Birth::new(*last);
            for birth in births {
                let Some(bytes) = self.held.remove((&self.queue, birth))?.map(|row| row.value().to_vec()) else { continue };
                let Ok(row) = rows::decode_held(Birth::new(birth), &bytes) else { continue };
                if let Some(path) = &row.path {
                    self.aside_paths.insert((&self.queue, path.as_str(), birth), ())?;
                }
                self.aside.insert((&self.queue, birth), bytes.as_slice())?;
            }
        }
        clear_paths(&mut self.held_paths, &self.queue)?;
        Ok(self.ending.retain_in((&self.queue, 0, 0)..=(&self.queue, u64::MAX, u64::MAX), |_, ()| false)?)
    }

    fn aside(&self, path: &RecordPath) -> Result<Option<HeldRow>, StateError> {
        winner(&self.aside, &self.aside_paths, &self.queue, path)
    }

    fn aside_paths(&self) -> Result<Vec<RecordPath>, StateError> {
        Ok(paths_of(&self.aside_paths, &self.queue)?.into_iter().collect())
    }

    fn clear_aside(&mut self) -> Result<(), StateError> {
        clear(&mut self.aside, &self.queue)?;
        clear_paths(&mut self.aside_paths, &self.queue)
    }

    fn each<T: Send, U: Send>(&self, of: Vec<T>, compute: impl Fn(T) -> U + Sync) -> Vec<U> {
        side_by_side(of, compute)
    }

    /// Merges with a change that waits. One that was handed out may be known to the application although it was not
    /// acknowledged, so it never cancels out: a delete after it is handed out too. [P-15]
    fn change(&mut self, change: Change) -> Result<(), StateError> {
        let path = change.path.clone();
        self.touched = self.touched.take().filter(|touched| touched.len() < TOUCHED_MAX);
        if let Some(touched) = &mut self.touched {
            touched.push(path.clone());
        }
        let row = PendingRow { change, handed: None };
        let waits = self.changes.insert((&self.queue, path.as_str()), rows::encode_pending(&row).as_slice())?;
        let Some(waits) = waits.map(|waits| rows::decode_pending(path.clone(), waits.value())).transpose()? else { return Ok(()) };
        let handed = waits.handed;
        let seen = if handed.is_some() { Handed::Perhaps } else { Handed::Never };
        match row.change.after(Some((&waits.change, seen))) {
            Some(change) => self.put_pending(&PendingRow { change, handed }),
            None => self.remove_pending(&path),
        }
    }
}
