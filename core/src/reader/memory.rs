//! A reader store in memory: the reference for durable ones, and what simulations and tests use.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use tidings_proto::{Birth, Offset};

use super::change::{Change, Handed};
use super::store::{HeldKind, HeldRow, ReaderStore, StagedRow};
use crate::path::RecordPath;

/// Tables of one follow in memory. Cloning it is taking a snapshot.
#[derive(Clone, Debug, Default)]
pub struct MemoryReaderStore {
    held: Table,
    aside: Table,
    staged: BTreeMap<Birth, StagedRow>,
    changes: BTreeMap<RecordPath, (Change, Handed)>,
}

/// Rows by birth, with the births of each path.
#[derive(Clone, Debug, Default)]
struct Table {
    rows: BTreeMap<Birth, HeldRow>,
    paths: BTreeMap<RecordPath, BTreeSet<Birth>>,
}

impl Table {
    fn put(&mut self, row: HeldRow) {
        self.remove(row.birth);
        if let Some(path) = &row.path {
            self.paths.entry(path.clone()).or_default().insert(row.birth);
        }
        self.rows.insert(row.birth, row);
    }

    fn remove(&mut self, birth: Birth) {
        let Some(path) = self.rows.remove(&birth).and_then(|row| row.path) else { return };
        if let Some(births) = self.paths.get_mut(&path) {
            births.remove(&birth);
            if births.is_empty() {
                self.paths.remove(&path);
            }
        }
    }

    fn winner(&self, path: &RecordPath) -> Option<HeldRow> {
        let births = self.paths.get(path)?;
        births.iter().filter_map(|birth| self.rows.get(birth)).max_by_key(|row| row.offset).cloned()
    }
}

impl MemoryReaderStore {
    /// All held rows, ascending by birth.
    pub fn rows(&self) -> impl Iterator<Item = &HeldRow> {
        self.held.rows.values()
    }

    /// Hands out all changes that wait; they wait until they are taken.
    pub fn hand_out(&mut self) -> Vec<Change> {
        self.changes.values_mut().for_each(|(_, handed)| *handed = Handed::Perhaps);
        self.changes.values().map(|(change, _)| change.clone()).collect()
    }

    /// Takes all changes that wait.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes).into_values().map(|(change, _)| change).collect()
    }

    /// Number of staged rows.
    pub fn staged_count(&self) -> usize {
        self.staged.len()
    }
}

fn page<V: Clone>(rows: &BTreeMap<Birth, V>, after: Birth, limit: usize) -> Vec<V> {
    use std::ops::Bound::{Excluded, Unbounded};
    rows.range((Excluded(after), Unbounded)).take(limit).map(|(_, row)| row.clone()).collect()
}

impl ReaderStore for MemoryReaderStore {
    type Error = Infallible;

    fn held(&self, birth: Birth) -> Result<Option<HeldRow>, Infallible> {
        Ok(self.held.rows.get(&birth).cloned())
    }

    fn put_held(&mut self, row: HeldRow, old: Option<&HeldRow>) -> Result<(), Infallible> {
        debug_assert_eq!(old, self.held.rows.get(&row.birth), "the row that is replaced");
        self.held.put(row);
        Ok(())
    }

    fn remove_held(&mut self, birth: Birth) -> Result<(), Infallible> {
        self.held.remove(birth);
        Ok(())
    }

    fn held_after(&self, after: Birth, limit: usize) -> Result<Vec<HeldRow>, Infallible> {
        Ok(page(&self.held.rows, after, limit))
    }

    fn winner(&self, path: &RecordPath) -> Result<Option<HeldRow>, Infallible> {
        Ok(self.held.winner(path))
    }

    fn ending_through(&self, floor: Offset) -> Result<Vec<HeldRow>, Infallible> {
        let ends = |row: &&HeldRow| row.kind != HeldKind::Value && row.offset <= floor;
        Ok(self.held.rows.values().filter(ends).cloned().collect())
    }

    fn stage(&mut self, row: StagedRow) -> Result<(), Infallible> {
        self.staged.insert(row.birth, row);
        Ok(())
    }

    fn unstage(&mut self, birth: Birth) -> Result<(), Infallible> {
        self.staged.remove(&birth);
        Ok(())
    }

    fn staged_after(&self, after: Birth, limit: usize) -> Result<Vec<StagedRow>, Infallible> {
        Ok(page(&self.staged, after, limit))
    }

    fn clear_staged(&mut self) -> Result<(), Infallible> {
        self.staged.clear();
        Ok(())
    }

    fn set_aside(&mut self) -> Result<(), Infallible> {
        self.aside = std::mem::take(&mut self.held);
        Ok(())
    }

    fn aside(&self, path: &RecordPath) -> Result<Option<HeldRow>, Infallible> {
        Ok(self.aside.winner(path))
    }

    fn aside_paths(&self) -> Result<Vec<RecordPath>, Infallible> {
        Ok(self.aside.paths.keys().cloned().collect())
    }

    fn clear_aside(&mut self) -> Result<(), Infallible> {
        self.aside = Table::default();
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<(), Infallible> {
        let earlier = self.changes.remove(&change.path);
        let handed = earlier.as_ref().map_or(Handed::Never, |(_, handed)| *handed);
        if let Some(net) = change.after(earlier.as_ref().map(|(earlier, handed)| (earlier, *handed))) {
            self.changes.insert(net.path.clone(), (net, handed));
        }
        Ok(())
    }
}
