//! Live records of the own queue: their rows with the values, and what was sealed, in tables that change together.
//!
//! A publish writes two rows for each record, no more: on a disk the rows are what a publish costs here. Which records are of old epochs
//! is told by the order of the sealed entries, since epochs rise with offsets.

use redb::{ReadableTable, ReadableTableMetadata, Table};
use tidings_core::writer::OwnRecord;
use tidings_core::{Mutation, Object, RecordPath};

use super::{OwnStep, StateError, rows, tables};

/// The tables of what lives, open within one step.
pub(crate) struct LiveTables<'t> {
    records: Table<'t, &'static str, &'static [u8]>,
    entries: Table<'t, u64, &'static [u8]>,
    tombstones: Table<'t, u64, &'static str>,
    republish: Table<'t, &'static str, ()>,
}

impl OwnStep<'_> {
    /// Opens the tables of what lives; none of them may be open.
    pub(crate) fn live(&self) -> Result<LiveTables<'_>, StateError> {
        Ok(LiveTables {
            records: self.0.open_table(tables::RECORDS)?,
            entries: self.0.open_table(tables::ENTRIES)?,
            tombstones: self.0.open_table(tables::TOMBSTONES)?,
            republish: self.0.open_table(tables::REPUBLISH)?,
        })
    }
}

impl LiveTables<'_> {
    pub(crate) fn record(&self, path: &RecordPath) -> Result<Option<OwnRecord>, StateError> {
        self.records.get(path.as_str())?.map(|row| Ok(rows::decode_own(path.clone(), row.value())?.0)).transpose()
    }

    pub(super) fn record_and_value(&self, path: &RecordPath) -> Result<(OwnRecord, Mutation), StateError> {
        let row = self.records.get(path.as_str())?.ok_or_else(|| StateError::Damaged("an entry without a record".into()))?;
        let (record, value) = rows::decode_own(path.clone(), row.value())?;
        Ok((record, Mutation::decode(value)?))
    }

    /// Replaces a record with its value and its sealed entry.
    pub(crate) fn put(&mut self, record: &OwnRecord, prior: Option<&OwnRecord>, value: &Mutation, sealed: &[u8]) -> Result<(), StateError> {
        if let Some(prior) = prior {
            self.end_sealed(prior)?;
        }
        let path = record.path.as_str();
        self.entries.insert(record.offset.value(), rows::encode_entry(path, sealed).as_slice())?;
        self.records.insert(path, rows::encode_own(record, value).as_slice())?;
        if record.tombstone {
            self.tombstones.insert(record.offset.value(), path)?;
        }
        Ok(())
    }

    /// Forgets a record whose tombstone was purged.
    pub(crate) fn end(&mut self, record: &OwnRecord) -> Result<(), StateError> {
        self.end_sealed(record)?;
        self.records.remove(record.path.as_str())?;
        Ok(())
    }

    fn end_sealed(&mut self, record: &OwnRecord) -> Result<(), StateError> {
        self.entries.remove(record.offset.value())?;
        if record.tombstone {
            self.tombstones.remove(record.offset.value())?;
        }
        if !self.republish.is_empty()? {
            self.republish.remove(record.path.as_str())?;
        }
        Ok(())
    }

    /// The first `limit` live tombstones, ascending by offset, as long as `wanted` says so.
    pub(crate) fn tombstones(&self, limit: usize, mut wanted: impl FnMut(&OwnRecord) -> bool) -> Result<Vec<OwnRecord>, StateError> {
        let mut found = Vec::new();
        for row in self.tombstones.range::<u64>(..)?.take(limit) {
            let path = rows::path(row?.1.value())?;
            let record = self.record(&path)?.ok_or_else(|| StateError::Damaged("a tombstone without a record".into()))?;
            if !wanted(&record) {
                break;
            }
            found.push(record);
        }
        Ok(found)
    }

    /// Calls `take` with the paths of the records whose sealed entry is not kept, until it says no. Whether it never did.
    pub(super) fn unkept(&self, mut take: impl FnMut(RecordPath) -> Result<bool, StateError>) -> Result<bool, StateError> {
        for row in self.republish.range::<&str>(..)? {
            if !take(rows::path(row?.0.value())?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Calls `take` with the paths of all others, those of the oldest epochs first, until it says no.
    pub(super) fn kept(&self, mut take: impl FnMut(RecordPath) -> Result<bool, StateError>) -> Result<(), StateError> {
        for row in self.entries.range::<u64>(..)? {
            let (_, entry) = row?;
            if !take(rows::path(rows::entry_path(entry.value())?)?)? {
                break;
            }
        }
        Ok(())
    }
}
