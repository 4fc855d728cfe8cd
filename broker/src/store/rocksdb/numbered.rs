//! Rows of a branch in the order of their offsets. Each is looked at where the database has it; what is kept of them is copied once.

use ::rocksdb::DBRawIterator;
use bytes::Bytes;
use tidings_proto::{Offset, QueueId};

use super::super::{ScanLimit, StoreError};
use super::keys::{self, Column};
use super::read::View;
use super::values::NOTHING_LIVE;

/// Entries with their offsets, and whether those were all.
type Taken = (Vec<(Offset, Bytes)>, bool);

/// A place among rows; before the first one to begin with.
pub(super) struct Numbered<'v, 'a> {
    view: &'v View<'a>,
    /// `None` where there is nothing more.
    rows: Option<DBRawIterator<'v>>,
    begun: bool,
}

impl<'v, 'a> Numbered<'v, 'a> {
    /// Before the row of `from`; before nothing without it, or if nothing is live.
    pub(super) fn new(view: &'v View<'a>, column: Column, branch: &QueueId, from: Option<Offset>) -> Self {
        let start = from.filter(|first| *first != NOTHING_LIVE).map(|first| keys::numbered(branch, first.value()));
        Self { view, rows: start.map(|start| view.raw(column, branch, &start)), begun: false }
    }

    /// Offset and value of the next row. Nothing comes after an error.
    pub(super) fn step(&mut self) -> Result<Option<(Offset, &[u8])>, StoreError> {
        let begun = std::mem::replace(&mut self.begun, true);
        let Some(rows) = self.rows.as_mut() else { return Ok(None) };
        if begun {
            rows.next();
        }
        if !rows.valid() {
            let end = rows.status().map_err(|error| self.view.failed(error));
            self.rows = None;
            return end.map(|()| None);
        }
        let row = self.rows.as_ref().and_then(|rows| rows.item());
        row.map(|(key, value)| Ok((keys::offset_of(key).ok_or_else(|| self.view.damaged("a key without an offset"))?, value))).transpose()
    }

    /// What is left of them, without the values.
    pub(super) fn offsets(mut self) -> impl Iterator<Item = Result<Offset, StoreError>> {
        std::iter::from_fn(move || self.step().map(|row| row.map(|(offset, _)| offset)).transpose())
    }

    /// What is left of them up to `newest`, as far as it fits. All are parts of one piece of memory: one for each row would cost more
    /// than reading it, and leave holes where many threads read.
    pub(super) fn take(mut self, newest: Offset, limit: ScanLimit) -> Result<Taken, StoreError> {
        let (mut packed, mut ends, mut complete) = (Vec::new(), Vec::new(), true);
        while let Some((offset, entry)) = self.step()?.filter(|(offset, _)| *offset <= newest) {
            let bytes = entry.len().saturating_add(packed.len());
            if !ends.is_empty() && (ends.len() >= limit.entries || bytes > limit.bytes) {
                complete = false;
                break;
            }
            packed.extend_from_slice(entry);
            ends.push((offset, packed.len()));
        }
        let (packed, mut start) = (Bytes::from(packed), 0);
        let entry = |(offset, end)| (offset, packed.slice(std::mem::replace(&mut start, end)..end));
        Ok((ends.into_iter().map(entry).collect(), complete))
    }
}
