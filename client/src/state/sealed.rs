//! What the owner signed and sealed, byte for byte, as far as it lives: what a broker is refilled from and what storage gets.
//! [P-10, P-21]

use std::collections::HashSet;

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use tidings_core::writer::OwnRecord;
use tidings_core::{Mutation, Object, RecordPath, attachment_hash};
use tidings_proto::{ContentHash, Epoch, HeadHash, HeadNumber, Offset};

use super::{LossRow, OwnStep, OwnView, StateError, branches, rows, tables};

/// Set while the access rows may name attachments that are not kept here.
const RENEW: &str = "renew-access";

/// Losses that are kept; the oldest go.
const LOSSES_MAX: usize = 64;

/// What is kept sealed, in one snapshot.
pub(crate) struct SealedView<'t>(pub(crate) &'t ReadTransaction);

impl SealedView<'_> {
    /// Calls `each` with every live offset up to and including `through`, ascending.
    pub(crate) fn offsets(&self, through: Offset, mut each: impl FnMut(u64)) -> Result<(), StateError> {
        for row in self.0.open_table(tables::ENTRIES)?.range(..=through.value())? {
            each(row?.0.value());
        }
        Ok(())
    }

    /// Entries above `after` up to and including `through`, ascending, up to `bytes_max`; at least one if there is one.
    pub(crate) fn entries(&self, after: Offset, through: Offset, bytes_max: usize) -> Result<Vec<(Offset, Bytes)>, StateError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let Some(first) = after.next().filter(|first| *first <= through) else { return Ok(found) };
        for row in self.0.open_table(tables::ENTRIES)?.range(first.value()..=through.value())? {
            let (offset, entry) = row?;
            let sealed = rows::entry_sealed(entry.value())?;
            bytes += sealed.len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((Offset::new(offset.value()), Bytes::copy_from_slice(sealed)));
        }
        Ok(found)
    }

    /// Hashes of at most `limit` heads above `after` and below `newest`, ascending by number.
    pub(crate) fn history(&self, after: HeadNumber, newest: HeadNumber, limit: usize) -> Result<Vec<HeadHash>, StateError> {
        let Some(first) = after.next().filter(|first| *first < newest) else { return Ok(Vec::new()) };
        let heads = self.0.open_table(tables::HEADS)?;
        heads.range(first.value()..newest.value())?.take(limit).map(|row| branches::head_hash(row?.1.value())).collect()
    }

    /// The attachment of that hash, if it is kept.
    pub(crate) fn attachment(&self, hash: &ContentHash) -> Result<Option<Bytes>, StateError> {
        let table = self.0.open_table(tables::ATTACHMENTS)?;
        Ok(table.get(hash.bytes())?.map(|row| Bytes::copy_from_slice(row.value())))
    }

    /// Whether attachments may be missing.
    pub(crate) fn renewing(&self) -> Result<bool, StateError> {
        Ok(self.0.open_table(tables::SETTINGS)?.get(RENEW)?.is_some())
    }

    /// Sealed entries that are kept.
    pub(crate) fn live_count(&self) -> Result<u64, StateError> {
        Ok(self.0.open_table(tables::ENTRIES)?.len()?)
    }

    /// Whether the sealed entry of each live record is kept.
    pub(crate) fn has_all_entries(&self) -> Result<bool, StateError> {
        Ok(self.0.open_table(tables::REPUBLISH)?.is_empty()?)
    }
}

impl OwnView<'_> {
    /// What brokers lost, oldest first.
    pub(crate) fn losses(&self) -> Result<Vec<LossRow>, StateError> {
        let table = self.0.open_table(tables::LOSSES)?;
        table.range::<u64>(..)?.map(|row| rows::decode_loss(row?.1.value())).collect()
    }
}

impl OwnStep<'_> {
    /// Live records that are to be signed again, with their values, as long as `fits` says so of their encoded size: those whose
    /// sealed entry is not kept, then those sealed under an epoch up to `crowded`. Those in `done` are left out. [P-17]
    pub(crate) fn again(
        &self,
        crowded: Option<Epoch>,
        done: &HashSet<RecordPath>,
        mut fits: impl FnMut(usize) -> bool,
    ) -> Result<Vec<(OwnRecord, Mutation)>, StateError> {
        let live = self.live()?;
        let mut found = Vec::new();
        let mut take = |path: RecordPath, wanted: &dyn Fn(&OwnRecord) -> bool| -> Result<bool, StateError> {
            if done.contains(&path) {
                return Ok(true);
            }
            let (record, value) = live.record_and_value(&path)?;
            if !wanted(&record) || !fits(value.encode().len()) {
                return Ok(false);
            }
            found.push((record, value));
            Ok(true)
        };
        let all = live.unkept(|path| take(path, &|_| true))?;
        if let Some(crowded) = crowded.filter(|_| all) {
            live.kept(|path| take(path, &|record| record.epoch <= crowded))?;
        }
        Ok(found)
    }

    /// Keeps attachments that rows name from now on, and forgets those that no row names any more.
    pub(crate) fn put_attachments(&self, attachments: &[Bytes], gone: &[ContentHash]) -> Result<(), StateError> {
        let mut table = self.0.open_table(tables::ATTACHMENTS)?;
        for hash in gone {
            table.remove(hash.bytes())?;
        }
        for bytes in attachments {
            table.insert(attachment_hash(bytes).bytes(), bytes.as_ref())?;
        }
        Ok(())
    }

    /// All attachments that the rows name are kept now.
    pub(crate) fn end_renewal(&self) -> Result<(), StateError> {
        self.0.open_table(tables::SETTINGS)?.remove(RENEW)?;
        Ok(())
    }

    /// Keeps a loss, unless it is the newest of that broker already.
    pub(crate) fn put_loss(&self, loss: &LossRow) -> Result<(), StateError> {
        let mut table = self.0.open_table(tables::LOSSES)?;
        let known = table.range::<u64>(..)?.map(|row| rows::decode_loss(row?.1.value())).collect::<Result<Vec<_>, _>>()?;
        let newest = known.iter().rev().find(|known| known.broker == loss.broker);
        if newest.is_some_and(|known| (known.receipted, known.standing) == (loss.receipted, loss.standing)) {
            return Ok(());
        }
        let sequence = table.last()?.map_or(1, |(last, _)| last.value() + 1);
        table.insert(sequence, rows::encode_loss(loss).as_slice())?;
        if known.len() >= LOSSES_MAX {
            table.pop_first()?;
        }
        Ok(())
    }
}

/// Marks everything that lives as not kept sealed.
pub(super) fn begin_renewal(transaction: &WriteTransaction) -> Result<(), StateError> {
    let (records, mut republish) = (transaction.open_table(tables::RECORDS)?, transaction.open_table(tables::REPUBLISH)?);
    for row in records.range::<&str>(..)? {
        republish.insert(row?.0.value(), ())?;
    }
    if transaction.open_table(tables::WRITER)?.get(())?.is_some() {
        transaction.open_table(tables::SETTINGS)?.insert(RENEW, [].as_slice())?;
    }
    Ok(())
}

#[cfg(test)]
impl super::State {
    /// Rows of entries and of attachments.
    pub(crate) fn sealed_counts(&self) -> [u64; 2] {
        let count = |transaction: &ReadTransaction| {
            let attachments = transaction.open_table(tables::ATTACHMENTS)?.len()?;
            Ok([transaction.open_table(tables::ENTRIES)?.len()?, attachments])
        };
        self.read(count).expect("counted")
    }
}
