//! The reference: what every other store must answer, in a few ordered maps. Durable as long as the process.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, ContentHash, HeadRank, Offset, Pseudonym, QueueId};

use super::chain::{self, may_stage, outstanding};
use super::removed::{self, Removed};
use super::{Acked, Append, Branch, LiveRow, QueueRow, Scan, ScanLimit, Snapshot, Staged, Store, StoreError};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: RwLock<Tables>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        // Every change is made by code that does not panic between two tables, so a poisoned lock guards a whole state.
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the queue; entries are shared, not copied.
    pub(super) fn owned_snapshot(&self, queue: &QueueId) -> Option<Box<dyn Snapshot>> {
        self.of(queue, |kept| Box::new(kept.clone()) as Box<dyn Snapshot>)
    }

    fn of<T>(&self, queue: &QueueId, read: impl FnOnce(&Queue) -> T) -> Option<T> {
        self.read().queues.get(queue).map(read)
    }
}

/// A copy of the state, on its own from then on; entries are shared, not copied.
impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self { tables: RwLock::new(self.read().clone()) }
    }
}

impl Store for MemoryStore {
    fn queue(&self, queue: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        Ok(self.of(queue, |kept| kept.row.clone()))
    }

    fn append(&self, group: &[Append]) -> Result<(), StoreError> {
        let mut tables = self.write();
        let changes = outstanding(group, |queue| Ok(tables.queues.get(queue).map(|kept| kept.row.head.clone())))?;
        changes.into_iter().for_each(|append| tables.apply(append));
        Ok(())
    }

    fn stage(&self, staged: &Staged) -> Result<(), StoreError> {
        let mut tables = self.write();
        may_stage(staged, tables.queues.get(&staged.queue).map(|kept| &kept.row.head))?;
        let ahead = tables.ahead.entry(staged.queue).or_default();
        let ahead = if staged.branch == Branch::Next { &mut ahead.next } else { &mut ahead.standing };
        ahead.entries.extend(staged.entries.iter().cloned());
        ahead.history.extend(staged.history.iter().copied());
        Ok(())
    }

    fn unstage(&self, queue: &QueueId) -> Result<(), StoreError> {
        self.write().ahead.remove(queue);
        Ok(())
    }

    fn live_of(&self, queue: &QueueId, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        let rows = self.of(queue, |kept| births.iter().map(|birth| kept.row_at(kept.births.get(birth)?)).collect());
        Ok(rows.unwrap_or_else(|| vec![None; births.len()]))
    }

    fn live_at(&self, queue: &QueueId, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        let rows = self.of(queue, |kept| offsets.iter().map(|offset| kept.row_at(offset)).collect());
        Ok(rows.unwrap_or_else(|| vec![None; offsets.len()]))
    }

    fn scan(&self, queue: &QueueId, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError> {
        self.of(queue, |kept| kept.scan(after, limit)).transpose()
    }

    fn bitmap(&self, queue: &QueueId, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError> {
        let both =
            |kept: &Queue| Ok((kept.entries.range(..=through).map(|(offset, _)| offset.value()).collect(), kept.scan(through, limit)?));
        self.of(queue, both).transpose()
    }

    fn history(&self, queue: &QueueId, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        let hashes = self.of(queue, |kept| nodes.iter().map(|node| kept.history.get(node).copied()).collect());
        Ok(hashes.unwrap_or_else(|| vec![None; nodes.len()]))
    }

    fn access(&self, queue: &QueueId, reader: &Pseudonym) -> Result<Option<Bytes>, StoreError> {
        Ok(self.of(queue, |kept| kept.access.get(reader).cloned()).flatten())
    }

    fn access_list(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        let rows = self.of(queue, |kept| kept.access.iter().map(|(reader, row)| (*reader, row.clone())).collect());
        Ok(rows.unwrap_or_default())
    }

    fn was_removed(&self, queue: &QueueId, reader: &Pseudonym) -> Result<bool, StoreError> {
        Ok(self.of(queue, |kept| kept.removed.contains_key(reader)).unwrap_or(false))
    }

    fn attachment(&self, queue: &QueueId, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        Ok(self.of(queue, |kept| kept.attachments.get(hash).cloned()).flatten())
    }

    fn acknowledge(&self, group: &[Acked]) -> Result<(), StoreError> {
        let mut tables = self.write();
        for acked in group {
            let key = (acked.queue, acked.reader);
            if tables.acknowledgements.get(&key).is_none_or(|(rank, _)| acked.rank > *rank) {
                tables.acknowledgements.insert(key, (acked.rank, acked.bytes.clone()));
            }
        }
        Ok(())
    }

    fn snapshot<'a>(&'a self, queue: &QueueId) -> Result<Option<Box<dyn Snapshot + 'a>>, StoreError> {
        Ok(self.owned_snapshot(queue))
    }

    fn acknowledgements(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        let (first, last) = ((*queue, Pseudonym::ZERO), (*queue, Pseudonym::new([0xff; 32])));
        Ok(self.read().acknowledgements.range(first..=last).map(|((_, reader), (_, bytes))| (*reader, bytes.clone())).collect())
    }
}

#[derive(Clone, Debug, Default)]
struct Tables {
    queues: BTreeMap<QueueId, Queue>,
    acknowledgements: BTreeMap<(QueueId, Pseudonym), (HeadRank, Bytes)>,
    ahead: BTreeMap<QueueId, Ahead>,
}

/// What was staged and not named yet.
#[derive(Clone, Debug, Default)]
struct Ahead {
    standing: Rows,
    next: Rows,
}

#[derive(Clone, Debug, Default)]
struct Rows {
    entries: BTreeMap<Offset, Bytes>,
    history: BTreeMap<NodeIndex, [u8; 32]>,
}

impl Tables {
    fn apply(&mut self, append: &Append) {
        let ahead = self.ahead.remove(&append.queue).unwrap_or_default();
        self.queues.entry(append.queue).or_insert_with(|| Queue::new(append.row.clone())).apply(append, ahead);
        for reader in &append.access_removed {
            self.acknowledgements.remove(&(append.queue, *reader));
        }
    }
}

#[derive(Clone, Debug)]
struct Queue {
    row: QueueRow,
    entries: BTreeMap<Offset, (LiveRow, Bytes)>,
    births: BTreeMap<Birth, Offset>,
    history: BTreeMap<NodeIndex, [u8; 32]>,
    access: BTreeMap<Pseudonym, Bytes>,
    removed: Removed,
    attachments: BTreeMap<ContentHash, Bytes>,
}

impl Queue {
    fn new(row: QueueRow) -> Self {
        Self {
            row,
            entries: BTreeMap::new(),
            births: BTreeMap::new(),
            history: BTreeMap::new(),
            access: BTreeMap::new(),
            removed: Removed::new(),
            attachments: BTreeMap::new(),
        }
    }

    fn apply(&mut self, append: &Append, ahead: Ahead) {
        self.row = append.row.clone();
        let mut ahead = if append.replaces { ahead.next } else { ahead.standing };
        if append.replaces {
            (self.entries, self.births, self.history) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        }
        for row in &append.retired {
            self.entries.remove(&row.offset);
            self.births.remove(&row.birth);
        }
        for birth in &append.ended {
            self.births.remove(birth);
        }
        for reader in &append.access_removed {
            self.access.remove(reader);
        }
        for hash in &append.attachments_removed {
            self.attachments.remove(hash);
        }
        for (row, bytes) in &append.entries {
            self.entries.insert(row.offset, (*row, bytes.clone()));
            self.births.insert(row.birth, row.offset);
        }
        for row in &append.staged {
            if let Some(bytes) = ahead.entries.remove(&row.offset) {
                self.entries.insert(row.offset, (*row, bytes));
                self.births.insert(row.birth, row.offset);
            }
        }
        self.history.append(&mut ahead.history);
        self.history.extend(append.history.iter().copied());
        self.access.extend(append.access_put.iter().cloned());
        let put = append.access_put.iter().map(|(reader, _)| *reader);
        removed::record(&mut self.removed, chain::rank_of(append), append.access_removed.iter().copied(), put);
        self.attachments.extend(append.attachments_put.iter().cloned());
    }

    fn row_at(&self, offset: &Offset) -> Option<LiveRow> {
        self.entries.get(offset).map(|(row, _)| *row)
    }

    fn scan(&self, after: Offset, limit: ScanLimit) -> Result<Scan, StoreError> {
        let live = self.entries.range((Excluded(after), Unbounded));
        let (entries, complete) = limit.take(live.map(|(offset, (_, bytes))| Ok((*offset, bytes.clone()))))?;
        Ok(Scan { head: self.row.head.clone(), entries, complete })
    }
}

impl Snapshot for Queue {
    fn row(&self) -> &QueueRow {
        &self.row
    }

    fn scan(&self, after: Offset, limit: ScanLimit) -> Result<Scan, StoreError> {
        Queue::scan(self, after, limit)
    }

    fn history(&self, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        Ok(nodes.iter().map(|node| self.history.get(node).copied()).collect())
    }

    fn access_list(&self) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        Ok(self.access.iter().map(|(reader, row)| (*reader, row.clone())).collect())
    }

    fn attachment(&self, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        Ok(self.attachments.get(hash).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[test]
    fn the_reference_keeps_every_promise_of_a_store() {
        conformance::suite(MemoryStore::new);
    }
}
