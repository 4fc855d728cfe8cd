//! The owner's tables.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use tidings_core::writer::{OwnRecord, Writer};
use tidings_core::{Cursor, Mutation, Object, RecordPath};
use tidings_proto::{HeadNumber, Offset, Pseudonym, VerifyingKey};

use super::{StateError, branches, rows, tables};

/// What waits, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) unsigned: u64,
    pub(crate) unreceipted: u64,
}

/// One snapshot of the owner's tables.
pub(crate) struct OwnView<'t>(pub(crate) &'t ReadTransaction);

impl OwnView<'_> {
    pub(crate) fn writer(&self) -> Result<Option<Writer>, StateError> {
        let (writer, readers) = (self.0.open_table(tables::WRITER)?, self.0.open_table(tables::GRANTED)?);
        let Some(row) = writer.get(())? else { return Ok(None) };
        let granted = readers.get(())?.ok_or_else(|| StateError::Damaged("a writer without its readers".into()))?;
        Ok(Some(Writer::decode(row.value())?.with_readers(granted.value())?))
    }

    /// Whether something waits, is to be sealed again, or could be purged.
    pub(crate) fn may_have_to_sign(&self) -> Result<bool, StateError> {
        let waits = !self.0.open_table(tables::OUTBOX)?.is_empty()?;
        let again = !self.0.open_table(tables::REPUBLISH)?.is_empty()?;
        Ok(waits || again || !self.0.open_table(tables::TOMBSTONES)?.is_empty()?)
    }

    pub(crate) fn waiting(&self) -> Result<Waiting, StateError> {
        let unsigned = self.0.open_table(tables::OUTBOX)?.len()?;
        Ok(Waiting { unsigned, unreceipted: self.0.open_table(tables::UNRECEIPTED)?.len()? })
    }

    pub(crate) fn clock(&self) -> Result<u64, StateError> {
        let table = self.0.open_table(tables::SETTINGS)?;
        let Some(row) = table.get(CLOCK)? else { return Ok(0) };
        let bytes = row.value().try_into().map_err(|_| StateError::Damaged("the clock is not eight bytes".into()))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// What all grants name; `None` if that is not known.
    pub(crate) fn told(&self) -> Result<Option<String>, StateError> {
        let table = self.0.open_table(tables::SETTINGS)?;
        let Some(row) = table.get(TOLD)? else { return Ok(None) };
        let text = std::str::from_utf8(row.value()).map_err(|_| StateError::Damaged("a locator is no text".into()))?;
        Ok(Some(text.to_owned()))
    }

    pub(crate) fn cursor_of(&self, number: HeadNumber) -> Result<Option<Cursor>, StateError> {
        let table = self.0.open_table(tables::HEADS)?;
        let Some(row) = table.get(number.value())? else { return Ok(None) };
        branches::head_cursor(row.value())
    }

    /// Number of the newest signed head; 0 before the first.
    pub(crate) fn newest(&self) -> Result<HeadNumber, StateError> {
        let table = self.0.open_table(tables::HEADS)?;
        Ok(table.last()?.map_or(HeadNumber::ZERO, |(number, _)| HeadNumber::new(number.value())))
    }

    /// Number of the first publish at or after `from` that has no receipt, with its frame.
    pub(crate) fn unreceipted_from(&self, from: HeadNumber) -> Result<Option<(HeadNumber, Vec<u8>)>, StateError> {
        let table = self.0.open_table(tables::UNRECEIPTED)?;
        let first = table.range(from.value()..)?.next().transpose()?;
        Ok(first.map(|(number, frame)| (HeadNumber::new(number.value()), frame.value().to_vec())))
    }

    pub(crate) fn receipt(&self, broker: &VerifyingKey) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.open_table(tables::RECEIPTS)?.get(broker.bytes())?.map(|row| row.value().to_vec()))
    }

    /// Signed receipts with the keys that signed them.
    pub(crate) fn receipts(&self) -> Result<Vec<(VerifyingKey, Vec<u8>)>, StateError> {
        let table = self.0.open_table(tables::RECEIPTS)?;
        table
            .range::<&[u8; 32]>(..)?
            .map(|row| row.map(|(key, bytes)| (VerifyingKey::new(*key.value()), bytes.value().to_vec())))
            .map(|row| Ok(row?))
            .collect()
    }

    pub(crate) fn acknowledgements(&self) -> Result<Vec<Vec<u8>>, StateError> {
        let table = self.0.open_table(tables::ACKNOWLEDGEMENTS)?;
        table.range::<&[u8; 32]>(..)?.map(|row| Ok(row?.1.value().to_vec())).collect()
    }

    pub(crate) fn invitation(&self, reader: &Pseudonym) -> Result<Option<String>, StateError> {
        Ok(self.0.open_table(tables::INVITATIONS)?.get(reader.bytes())?.map(|row| row.value().to_owned()))
    }

    pub(crate) fn outbox_row(&self, path: &RecordPath) -> Result<Option<Mutation>, StateError> {
        let table = self.0.open_table(tables::OUTBOX)?;
        table.get(path.as_str())?.map(|row| Ok(Mutation::decode(row.value().1)?)).transpose()
    }

    pub(crate) fn record(&self, path: &RecordPath) -> Result<Option<(OwnRecord, Mutation)>, StateError> {
        let records = self.0.open_table(tables::RECORDS)?;
        let Some(row) = records.get(path.as_str())? else { return Ok(None) };
        let (record, value) = rows::decode_own(path.clone(), row.value())?;
        Ok(Some((record, Mutation::decode(value)?)))
    }

    /// Paths of signed records and of outbox rows at `prefix` or below it.
    pub(crate) fn paths(&self, prefix: &str) -> Result<Vec<RecordPath>, StateError> {
        let mut paths = std::collections::BTreeSet::new();
        for row in self.0.open_table(tables::RECORDS)?.range(prefix..)? {
            if !keep(row?.0.value(), prefix, &mut paths)? {
                break;
            }
        }
        for row in self.0.open_table(tables::OUTBOX)?.range(prefix..)? {
            if !keep(row?.0.value(), prefix, &mut paths)? {
                break;
            }
        }
        Ok(paths.into_iter().collect())
    }
}

/// Whether the scan of text paths goes on; keeps those at `prefix` or below it.
fn keep(text: &str, prefix: &str, paths: &mut std::collections::BTreeSet<RecordPath>) -> Result<bool, StateError> {
    if super::is_below(text, prefix) {
        paths.insert(rows::path(text)?);
    }
    Ok(text.starts_with(prefix))
}

const CLOCK: &str = "version-clock";
const TOLD: &str = "told-locator";

/// The owner's tables in one step.
pub(crate) struct OwnStep<'t>(pub(crate) &'t WriteTransaction);

impl OwnStep<'_> {
    /// The readers are long, and are written only if they are not those of `kept`, which the tables hold.
    pub(crate) fn put_writer(&self, writer: &Writer, kept: Option<&Writer>) -> Result<(), StateError> {
        self.0.open_table(tables::WRITER)?.insert((), writer.encode_without_readers().as_slice())?;
        if !kept.is_some_and(|kept| kept.has_readers_of(writer)) {
            self.0.open_table(tables::GRANTED)?.insert((), writer.encode_readers().as_slice())?;
        }
        Ok(())
    }

    pub(crate) fn put_clock(&self, clock: u64) -> Result<(), StateError> {
        self.0.open_table(tables::SETTINGS)?.insert(CLOCK, clock.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// All grants name this. Invitations that were given out before do not.
    pub(crate) fn put_told(&self, locator: &str) -> Result<(), StateError> {
        let known =
            self.0.open_table(tables::SETTINGS)?.insert(TOLD, locator.as_bytes())?.is_some_and(|old| old.value() == locator.as_bytes());
        if !known {
            self.0.open_table(tables::INVITATIONS)?.retain(|_, _| false)?;
        }
        Ok(())
    }

    /// What the grants of another branch name is not known.
    pub(super) fn forget_told(&self) -> Result<(), StateError> {
        self.0.open_table(tables::SETTINGS)?.remove(TOLD)?;
        Ok(())
    }

    /// A signed head and the frame that carries it. [P-3]
    pub(crate) fn put_signed(&self, cursor: &Cursor, frame: &[u8]) -> Result<(), StateError> {
        let number = cursor.rank.number.value();
        self.0.open_table(tables::HEADS)?.insert(number, cursor.encode().as_slice())?;
        self.0.open_table(tables::UNRECEIPTED)?.insert(number, frame)?;
        Ok(())
    }

    /// A receipt, and that everything up to and including `through` has as many as it needs.
    pub(crate) fn put_receipt(&self, broker: &VerifyingKey, receipt: &[u8], through: HeadNumber) -> Result<(), StateError> {
        self.0.open_table(tables::RECEIPTS)?.insert(broker.bytes(), receipt)?;
        self.0.open_table(tables::UNRECEIPTED)?.retain_in(..=through.value(), |_, _| false)?;
        Ok(())
    }

    pub(crate) fn put_acknowledgement(&self, reader: &Pseudonym, bytes: &[u8]) -> Result<(), StateError> {
        self.0.open_table(tables::ACKNOWLEDGEMENTS)?.insert(reader.bytes(), bytes)?;
        Ok(())
    }

    /// Forgets what is kept of a reader beside its row.
    pub(crate) fn end_reader(&self, reader: &Pseudonym) -> Result<(), StateError> {
        self.0.open_table(tables::ACKNOWLEDGEMENTS)?.remove(reader.bytes())?;
        self.0.open_table(tables::INVITATIONS)?.remove(reader.bytes())?;
        Ok(())
    }

    pub(crate) fn put_invitation(&self, reader: &Pseudonym, text: &str) -> Result<(), StateError> {
        self.0.open_table(tables::INVITATIONS)?.insert(reader.bytes(), text)?;
        Ok(())
    }
}

/// The newest head that a receipt covers.
pub(crate) fn receipted(view: &OwnView<'_>) -> Result<Option<Cursor>, StateError> {
    let mut newest: Option<Cursor> = None;
    for (key, bytes) in view.receipts()? {
        let receipt = tidings_core::Receipt::verify(&bytes, &key).map_err(|_| StateError::Damaged("a receipt".into()))?;
        let cursor = view.cursor_of(receipt.rank.number)?.filter(|cursor| cursor.head == receipt.head);
        newest = newest.into_iter().chain(cursor).max_by_key(|cursor| cursor.rank);
    }
    Ok(newest)
}

/// The last offset that a receipt covers.
pub(crate) fn receipted_offset(view: &OwnView<'_>) -> Result<Offset, StateError> {
    Ok(receipted(view)?.map_or(Offset::ZERO, |cursor| cursor.offset))
}
