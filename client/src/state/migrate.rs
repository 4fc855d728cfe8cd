//! From older layouts of the file to this one, each in one transaction.
//!
//! | format | what it lacked or had |
//! | --- | --- |
//! | 1 | nothing was kept sealed |
//! | 2 | the own writer was not listed among those that are known |
//! | 3 | the readers stood in the row of the writer; values and epochs of live records had tables of their own (`own/values`: path to mutation; `own/epochs`: epoch and path), and sealed entries were without their paths |
//! | 4 | rewinds that were not confirmed were forgotten; a note of a merge named no doubtful records |

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use tidings_core::writer::Writer;
use tidings_core::{Mutation, Object};

use super::tables::{self, Rows};
use super::{OwnStep, StateError, branches, rows, sealed};

/// Live mutations by their paths.
const VALUES: Rows<&str> = Rows::new("own/values");
/// Live records by the epoch they are sealed under.
const EPOCHS: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("own/epochs");
/// Rows changed between two looks at the table.
const PAGE: usize = 1_024;

/// Brings a file of format 1 to 4 to this one.
pub(super) fn migrate(database: &Database, found: u32) -> Result<(), StateError> {
    let transaction = database.begin_write()?;
    tables::create_all(&transaction)?;
    if found <= 3 {
        join(&transaction, found)?;
    }
    Ok(transaction.commit()?)
}

/// From format 1, 2 or 3 to format 4.
fn join(transaction: &WriteTransaction, found: u32) -> Result<(), StateError> {
    let mut after = String::new();
    while let Some(last) = join_page(transaction, &after)? {
        after = last;
    }
    transaction.delete_table(VALUES)?;
    transaction.delete_table(EPOCHS)?;
    if found == 1 {
        // What has to be signed again because a file of that format did not keep it sealed.
        sealed::begin_renewal(transaction)?;
    }
    part_writer(transaction)?;
    if found <= 2 {
        branches::know_own_writer(transaction)?;
    }
    Ok(())
}

/// The readers stood in the row of the writer.
fn part_writer(transaction: &WriteTransaction) -> Result<(), StateError> {
    let row = transaction.open_table(tables::WRITER)?.get(())?.map(|row| row.value().to_vec());
    row.map_or(Ok(()), |row| OwnStep(transaction).put_writer(&Writer::decode(&row)?, None))
}

/// Joins records above `after` with their values, and their entries with their paths. The last path, if there is one.
fn join_page(transaction: &WriteTransaction, after: &str) -> Result<Option<String>, StateError> {
    let (mut records, values) = (transaction.open_table(tables::RECORDS)?, transaction.open_table(VALUES)?);
    let mut entries = transaction.open_table(tables::ENTRIES)?;
    let page: Vec<(String, Vec<u8>)> = records
        .range(after..)?
        .map(|row| row.map(|(path, record)| (path.value().to_owned(), record.value().to_vec())))
        .filter(|row| !row.as_ref().is_ok_and(|(path, _)| path == after))
        .take(PAGE)
        .collect::<Result<_, _>>()?;
    for (path, bare) in &page {
        let value = values.get(path.as_str())?.ok_or_else(|| StateError::Damaged("a record has no value".into()))?;
        let (record, _) = rows::decode_own(rows::path(path)?, bare)?;
        records.insert(path.as_str(), rows::encode_own(&record, &Mutation::decode(value.value())?).as_slice())?;
        let sealed = entries.get(record.offset.value())?.map(|entry| entry.value().to_vec());
        if let Some(sealed) = sealed {
            entries.insert(record.offset.value(), rows::encode_entry(path, &sealed).as_slice())?;
        }
    }
    Ok(page.into_iter().next_back().map(|(path, _)| path))
}

#[cfg(test)]
impl super::State {
    /// Makes the file one of format 3.
    pub(crate) fn unjoin(&self) {
        self.write(unjoin).expect("unjoined");
    }

    /// Makes the file one of format 4.
    pub(crate) fn forget_rewinds(&self) {
        let forget = |transaction: &WriteTransaction| -> Result<(), StateError> {
            transaction.delete_table(tables::REWOUND)?;
            transaction.open_table(tables::FORMATS)?.insert((), 4)?;
            Ok(())
        };
        self.write(forget).expect("forgotten");
    }

    /// Makes the file one of format 1.
    pub(crate) fn forget_sealed(&self) {
        let forget = |transaction: &WriteTransaction| -> Result<(), StateError> {
            unjoin(transaction)?;
            transaction.delete_table(tables::ENTRIES)?;
            transaction.delete_table(EPOCHS)?;
            transaction.delete_table(tables::REPUBLISH)?;
            transaction.delete_table(tables::ATTACHMENTS)?;
            transaction.delete_table(tables::LOSSES)?;
            transaction.delete_table(tables::BESIDE)?;
            transaction.open_table(tables::FORMATS)?.insert((), 1)?;
            Ok(())
        };
        self.write(forget).expect("forgotten");
    }
}

#[cfg(test)]
fn unjoin(transaction: &WriteTransaction) -> Result<(), StateError> {
    let (mut records, mut entries) = (transaction.open_table(tables::RECORDS)?, transaction.open_table(tables::ENTRIES)?);
    let (mut values, mut epochs) = (transaction.open_table(VALUES)?, transaction.open_table(EPOCHS)?);
    let joined: Vec<(String, Vec<u8>)> = records
        .range::<&str>(..)?
        .map(|row| row.map(|(path, record)| (path.value().to_owned(), record.value().to_vec())))
        .collect::<Result<_, _>>()?;
    for (path, row) in &joined {
        let (record, value) = rows::decode_own(rows::path(path)?, row)?;
        values.insert(path.as_str(), value)?;
        records.insert(path.as_str(), &row[..row.len() - value.len()])?;
        epochs.insert((record.epoch.value(), path.as_str()), ())?;
        let sealed = entries.get(record.offset.value())?.map(|entry| rows::entry_sealed(entry.value()).map(<[u8]>::to_vec)).transpose()?;
        if let Some(sealed) = sealed {
            entries.insert(record.offset.value(), sealed.as_slice())?;
        }
    }
    let writer = transaction.open_table(tables::WRITER)?.get(())?.map(|row| row.value().to_vec());
    if let Some(writer) = writer {
        let granted = transaction.open_table(tables::GRANTED)?.get(())?.map(|row| row.value().to_vec()).unwrap_or_default();
        let whole = Writer::decode(&writer)?.with_readers(&granted)?;
        transaction.open_table(tables::WRITER)?.insert((), whole.encode().as_slice())?;
    }
    transaction.delete_table(tables::GRANTED)?;
    transaction.open_table(tables::FORMATS)?.insert((), 3)?;
    Ok(())
}
