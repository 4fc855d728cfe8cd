//! What is written and not signed: two tables that change together.

use redb::{ReadableTable, ReadableTableMetadata, Table};
use tidings_core::{Mutation, Object, RecordPath};

use super::{OwnStep, StateError, tables};

/// A mutation that waits to be signed.
#[derive(Clone, Debug)]
pub(crate) struct OutboxRow {
    /// Order in which rows are signed; kept when a later write of the record replaces the row.
    pub(crate) sequence: u64,
    pub(crate) mutation: Mutation,
}

/// The outbox, open within one step.
pub(crate) struct OutboxTables<'t> {
    rows: Table<'t, &'static str, (u64, &'static [u8])>,
    order: Table<'t, u64, &'static str>,
}

impl OwnStep<'_> {
    /// Opens the outbox; it must not be open.
    pub(crate) fn outbox(&self) -> Result<OutboxTables<'_>, StateError> {
        Ok(OutboxTables { rows: self.0.open_table(tables::OUTBOX)?, order: self.0.open_table(tables::ORDER)? })
    }
}

impl OutboxTables<'_> {
    pub(crate) fn is_empty(&self) -> Result<bool, StateError> {
        Ok(self.rows.is_empty()?)
    }

    pub(crate) fn row(&self, path: &RecordPath) -> Result<Option<OutboxRow>, StateError> {
        let Some(row) = self.rows.get(path.as_str())? else { return Ok(None) };
        let (sequence, bytes) = row.value();
        Ok(Some(OutboxRow { sequence, mutation: Mutation::decode(bytes)? }))
    }

    /// Puts a row at its place, at the end without one.
    pub(crate) fn put(&mut self, mutation: &Mutation, sequence: Option<u64>) -> Result<(), StateError> {
        let sequence = match sequence {
            Some(sequence) => sequence,
            None => self.order.last()?.map_or(1, |(last, _)| last.value() + 1),
        };
        self.order.insert(sequence, mutation.path.as_str())?;
        self.rows.insert(mutation.path.as_str(), (sequence, mutation.encode().as_slice()))?;
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &RecordPath) -> Result<(), StateError> {
        let sequence = self.rows.remove(path.as_str())?.map(|row| row.value().0);
        if let Some(sequence) = sequence {
            self.order.remove(sequence)?;
        }
        Ok(())
    }

    /// Waiting mutations in their order, as long as `fits` says so of each and its length.
    pub(crate) fn first(&self, mut fits: impl FnMut(usize) -> bool) -> Result<Vec<Mutation>, StateError> {
        let mut taken = Vec::new();
        for row in self.order.range::<u64>(..)? {
            let (_, path) = row?;
            let row = self.rows.get(path.value())?.ok_or_else(|| StateError::Damaged("an outbox row is missing".into()))?;
            if !fits(row.value().1.len()) {
                break;
            }
            taken.push(Mutation::decode(row.value().1)?);
        }
        Ok(taken)
    }

    /// All waiting mutations in their order, and the outbox empty.
    pub(crate) fn take_all(&mut self) -> Result<Vec<Mutation>, StateError> {
        let rows = self.first(|_| true)?;
        rows.iter().try_for_each(|row| self.remove(&row.path))?;
        Ok(rows)
    }
}
