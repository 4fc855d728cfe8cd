//! Reads of one queue, all from one snapshot, checksums verified.

use std::cell::OnceCell;
use std::fmt::Display;

use ::rocksdb::{DB, DBRawIterator, Direction, ErrorKind, IteratorMode, ReadOptions, SnapshotWithThreadMode};
use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::SignedHead;
use tidings_core::codec::DecodeError;
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, Offset, Pseudonym, QueueId};

use super::super::removed::Removed;
use super::super::{Cause, LiveRow, Scan, ScanLimit, StoreError};
use super::RocksStore;
use super::keys::{self, Column};
use super::numbered::Numbered;
use super::values::{self, AtRow, BornRow, QueueValue, Standing};

type Pair = (Box<[u8]>, Box<[u8]>);

/// A row of one reader: its pseudonym and the value.
type ReaderRow = (Pseudonym, Box<[u8]>);

/// What one queue holds at one moment.
pub(super) struct View<'a> {
    store: &'a RocksStore,
    /// `None`: each read sees what is newest, for a single read, or under the lock that every write takes.
    snapshot: Option<SnapshotWithThreadMode<'a, DB>>,
    /// `None` for rows of no queue.
    queue: Option<QueueId>,
    /// What the rows of the branch that stands are found by.
    branch: OnceCell<QueueId>,
}

impl<'a> View<'a> {
    pub(super) fn new(store: &'a RocksStore, queue: Option<QueueId>) -> Self {
        Self { store, snapshot: Some(store.db.snapshot()), queue, branch: OnceCell::new() }
    }

    /// For one read, or for whoever holds the place to write: nothing changes between two reads, so no moment has to be held.
    pub(super) fn newest_of(store: &'a RocksStore, queue: &QueueId) -> Self {
        Self { store, snapshot: None, queue: Some(*queue), branch: OnceCell::new() }
    }

    pub(super) fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.store.db.get_cf_opt(self.store.column(column), key, &self.options());
        Ok(value.map_err(|error| self.failed(error))?.map(Bytes::from))
    }

    pub(super) fn value(&self) -> Result<Option<QueueValue>, StoreError> {
        let Some(mut value) = self.queue_row(QueueValue::decode)? else { return Ok(None) };
        if !value.holds_access {
            let state = self.get(Column::Queues, &keys::access_state(&self.queue_id()))?;
            let state = state.and_then(|bytes| <[u8; 2_048]>::try_from(&*bytes).ok());
            *value.row.access = state.ok_or_else(|| self.damaged("the access list's hash state is missing"))?;
        }
        Ok(Some(value))
    }

    pub(super) fn standing(&self) -> Result<Option<Standing>, StoreError> {
        self.queue_row(Standing::decode)
    }

    pub(super) fn live_at(&self, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        let branch = self.branch()?;
        let found = self.get_all(Column::Live, offsets.iter().map(|offset| keys::numbered(&branch, offset.value())))?;
        let row =
            |(offset, bytes): (&Offset, Option<Vec<u8>>)| bytes.map(|bytes| self.sound(values::decode_at(*offset, &bytes))).transpose();
        let at = offsets.iter().zip(found).map(row).collect::<Result<Vec<_>, _>>()?;
        let births = at.iter().flatten().filter_map(|row| if let AtRow::Birth(birth) = row { Some(*birth) } else { None });
        let mut rest = self.born(&births.collect::<Vec<_>>())?.into_iter();
        let whole = |(offset, row): (&Offset, Option<AtRow>)| match row {
            None => Ok(None),
            Some(AtRow::Whole(row)) => Ok(Some(row)),
            Some(AtRow::Birth(_)) => match rest.next().flatten() {
                Some(BornRow::Whole(row)) if row.offset == *offset => Ok(Some(row)),
                _ => Err(self.damaged("an offset without its birth")),
            },
        };
        offsets.iter().zip(at).map(whole).collect()
    }

    pub(super) fn live_of(&self, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        let born = self.born(births)?;
        let offsets = born.iter().flatten().filter_map(|row| if let BornRow::Offset(offset) = row { Some(*offset) } else { None });
        let offsets: Vec<Offset> = offsets.collect();
        // Rows of a format before 3.
        let mut rest = if offsets.is_empty() { Vec::new() } else { self.live_at(&offsets)? }.into_iter();
        let whole = |row: Option<BornRow>| match row {
            None => Ok(None),
            Some(BornRow::Whole(row)) => Ok(Some(row)),
            Some(BornRow::Offset(_)) => rest.next().flatten().map(Some).ok_or_else(|| self.damaged("a birth without its entry")),
        };
        born.into_iter().map(whole).collect()
    }

    fn born(&self, births: &[Birth]) -> Result<Vec<Option<BornRow>>, StoreError> {
        let branch = self.branch()?;
        let found = self.get_all(Column::Births, births.iter().map(|birth| keys::numbered(&branch, birth.value())))?;
        let row =
            |(birth, bytes): (&Birth, Option<Vec<u8>>)| bytes.map(|bytes| self.sound(values::decode_born(*birth, &bytes))).transpose();
        births.iter().zip(found).map(row).collect()
    }

    pub(super) fn history(&self, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        let branch = self.branch()?;
        let found = self.get_all(Column::History, nodes.iter().map(|node| keys::node(&branch, *node)))?;
        let hash = |bytes: Option<Vec<u8>>| bytes.map(|bytes| bytes.try_into().map_err(|_| self.damaged("history row"))).transpose();
        found.into_iter().map(hash).collect()
    }

    pub(super) fn scan(&self, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError> {
        self.standing()?.map(|standing| self.scan_at(standing, after, limit)).transpose()
    }

    pub(super) fn bitmap(&self, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError> {
        let Some(standing) = self.standing()? else { return Ok(None) };
        let mut live = RoaringTreemap::new();
        for offset in self.live_offsets(&standing) {
            let offset = offset?;
            if offset > through {
                break;
            }
            live.insert(offset.value());
        }
        Ok(Some((live, self.scan_at(standing, through, limit)?)))
    }

    /// Live offsets, ascending; reads no entry.
    pub(super) fn live_offsets(&self, standing: &Standing) -> impl Iterator<Item = Result<Offset, StoreError>> {
        Numbered::new(self, Column::Live, &self.branch_in(standing), Some(standing.first)).offsets()
    }

    /// What the rows of the branch that stands are found by; of the first one if nothing does.
    pub(super) fn branch(&self) -> Result<QueueId, StoreError> {
        if let Some(branch) = self.branch.get() {
            return Ok(*branch);
        }
        let number = self.queue_row(Standing::branch_of)?.unwrap_or(0);
        Ok(*self.branch.get_or_init(|| keys::branch(&self.queue_id(), number)))
    }

    /// Whether this column has a row of a branch.
    pub(super) fn holds(&self, column: Column, branch: &QueueId) -> Result<bool, StoreError> {
        self.range(column, branch, branch.bytes()).next().transpose().map(|row| row.is_some())
    }

    /// Rows named by a pseudonym, ascending.
    pub(super) fn by_reader(&self, column: Column) -> impl Iterator<Item = Result<ReaderRow, StoreError>> {
        let queue = self.queue_id();
        self.range(column, &queue, queue.bytes()).map(|row| {
            let (key, value) = row?;
            let name = keys::name_of(&key).ok_or_else(|| self.damaged("a key without a pseudonym"))?;
            Ok((Pseudonym::new(name), value))
        })
    }

    pub(super) fn acknowledgements(&self) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        let rows = self.by_reader(Column::Acknowledgements);
        rows.map(|row| row.and_then(|(reader, value)| Ok((reader, self.sound(values::decode_acknowledgement(&value))?.1)))).collect()
    }

    /// Former readers, each with the rank of the head that removed it.
    pub(super) fn removed(&self) -> Result<Removed, StoreError> {
        let rows = self.by_reader(Column::Removed);
        rows.map(|row| row.and_then(|(reader, value)| Ok((reader, self.sound(values::decode_rank(&value))?)))).collect()
    }

    /// Offsets above the head, where something is staged, at most `limit` of them.
    pub(super) fn ahead(&self, limit: usize) -> Result<Vec<Offset>, StoreError> {
        let newest = self.standing()?.map(|standing| self.newest(&standing)).transpose()?.unwrap_or(Offset::ZERO);
        Numbered::new(self, Column::Entries, &self.branch()?, newest.next()).offsets().take(limit).collect()
    }

    /// All access rows, ascending by pseudonym.
    pub(super) fn access_list(&self) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.by_reader(Column::Access).map(|row| row.map(|(reader, bytes)| (reader, Bytes::from(bytes)))).collect()
    }

    /// What was read, or the queue is damaged.
    pub(super) fn sound<T>(&self, decoded: Result<T, DecodeError>) -> Result<T, StoreError> {
        decoded.map_err(|error| self.damaged(error))
    }

    fn scan_at(&self, standing: Standing, after: Offset, limit: ScanLimit) -> Result<Scan, StoreError> {
        let newest = self.newest(&standing)?;
        let from = after.next().map(|next| next.max(standing.first));
        // What is staged above the head is nobody's business yet. [P-10]
        let (entries, complete) = Numbered::new(self, Column::Entries, &self.branch_in(&standing), from).take(newest, limit)?;
        Ok(Scan { head: standing.head, entries, complete })
    }

    /// What the rows of the branch that stands are found by.
    fn branch_in(&self, standing: &Standing) -> QueueId {
        *self.branch.get_or_init(|| keys::branch(&self.queue_id(), standing.branch))
    }

    fn newest(&self, standing: &Standing) -> Result<Offset, StoreError> {
        self.sound(SignedHead::parse(standing.head.clone())).map(|head| head.head().offset)
    }

    /// Rows of a queue or branch from a key on. The bound lies within it, so no iterator walks over what others deleted.
    fn range<'v>(&'v self, column: Column, of: &QueueId, from: &[u8]) -> impl Iterator<Item = Result<Pair, StoreError>> + use<'v, 'a> {
        let mode = IteratorMode::From(from, Direction::Forward);
        let rows = self.store.db.iterator_cf_opt(self.store.column(column), self.options_within(of), mode);
        rows.map(|row| row.map_err(|error| self.failed(error)))
    }

    /// The same, to be stepped by hand.
    pub(super) fn raw(&self, column: Column, of: &QueueId, from: &[u8]) -> DBRawIterator<'_> {
        let mut rows = self.store.db.raw_iterator_cf_opt(self.store.column(column), self.options_within(of));
        rows.seek(from);
        rows
    }

    fn options_within(&self, of: &QueueId) -> ReadOptions {
        let mut options = self.options();
        options.set_iterate_upper_bound(keys::above(of));
        options.set_prefix_same_as_start(true);
        options
    }

    fn get_all<K: AsRef<[u8]>>(&self, column: Column, keys: impl Iterator<Item = K>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let (keys, column) = (keys.collect::<Vec<K>>(), self.store.column(column));
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if let [key] = keys.as_slice() {
            // What most publishes need. A batch of one takes several times as long.
            let value = self.store.db.get_cf_opt(column, key, &self.options());
            return Ok(vec![value.map_err(|error| self.failed(error))?]);
        }
        let found = self.store.db.batched_multi_get_cf_opt(column, keys.iter(), false, &self.options());
        found.into_iter().map(|value| Ok(value.map_err(|error| self.failed(error))?.map(|bytes| bytes.to_vec()))).collect()
    }

    /// What is read out of the queue's own row, without a copy of it.
    fn queue_row<T>(&self, decode: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Result<Option<T>, StoreError> {
        let row = self.store.db.get_pinned_cf_opt(self.store.column(Column::Queues), self.queue_id().bytes(), &self.options());
        row.map_err(|error| self.failed(error))?.map(|bytes| self.sound(decode(&bytes))).transpose()
    }

    fn queue_id(&self) -> QueueId {
        self.queue.expect("rows of a queue are read in the view of a queue")
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(snapshot);
        }
        options
    }

    pub(super) fn failed(&self, error: ::rocksdb::Error) -> StoreError {
        match error.kind() {
            ErrorKind::Corruption => self.damaged(error),
            _ => StoreError::Unavailable(Cause::new(error.into_string())),
        }
    }

    pub(super) fn damaged(&self, detail: impl Display) -> StoreError {
        self.store.told(StoreError::Damaged { queue: self.queue, detail: detail.to_string() })
    }
}
