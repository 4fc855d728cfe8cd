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
    branches::lengthen_notes(&transaction)?;
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

#[cfg(test)]
mod tests {
    use redb::ReadableDatabase;
    use tidings_core::writer::OwnRecord;
    use tidings_core::{Entropy, NodeKey, Operation, RecordPath, Version};
    use tidings_hostile::{Meal, feed};
    use tidings_proto::{Birth, EntryDigest, Epoch, Offset, Timestamp};

    use super::*;
    use crate::state::{OwnView, State};

    const PATH: &str = "/a";

    fn path() -> RecordPath {
        PATH.parse().expect("a path")
    }

    fn value() -> Mutation {
        let (inline, version) = (Some(b"value".as_slice().into()), Version { clock: 7, node: [8; 16] });
        Mutation { path: path(), operation: Operation::Create, version, object: None, inline, headers: Vec::new(), unknown: Vec::new() }
    }

    /// The record's row as format 3 had it: without a value.
    fn bare() -> Vec<u8> {
        let record = OwnRecord {
            path: path(),
            birth: Birth::new(5),
            offset: Offset::new(6),
            digest: EntryDigest::new([2; 32]),
            epoch: Epoch::new(3),
            version: value().version,
            tombstone: false,
            signed_at: Timestamp::new(11),
        };
        let mut row = rows::encode_own(&record, &value());
        row.truncate(row.len() - value().encode().len());
        row
    }

    /// Brings a file of format `found` with these rows to the newest one, and reads what it says then. Whether it is a state.
    fn joined(state: &State, found: u32, bare: &[u8], value: &[u8], writer: &[u8]) -> bool {
        let transaction = state.database.begin_write().expect("a transaction");
        let put = || -> Result<(), StateError> {
            tables::create_all(&transaction)?;
            transaction.open_table(tables::RECORDS)?.insert(PATH, bare)?;
            transaction.open_table(VALUES)?.insert(PATH, value)?;
            transaction.open_table(tables::ENTRIES)?.insert(6, b"sealed".as_slice())?;
            transaction.open_table(tables::WRITER)?.insert((), writer)?;
            Ok(())
        };
        put().expect("written");
        let taken = match join(&transaction, found) {
            Ok(()) => true,
            Err(StateError::Damaged(_) | StateError::TooNew { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        if taken {
            transaction.commit().expect("kept");
            let read = state.database.begin_read().expect("a transaction");
            let (record, _) = OwnView(&read).record(&path()).expect("a row that reads back").expect("the record");
            assert_eq!(record.path, path());
            assert!(OwnView(&read).writer().expect("a row that reads back").is_some());
        }
        taken
    }

    /// Rows of older formats are refused, or what they become reads back.
    #[test]
    fn rows_of_older_formats_become_rows_that_read_back() {
        let state = State::in_memory().expect("a state");
        let writer = Writer::create(&NodeKey::from_seed([1; 32]), &mut Entropy::new([2; 32])).encode();
        let (bare, value) = (bare(), value().encode());
        for found in 1..=3 {
            let kept = |bytes: &[u8], taken: bool| taken.then(|| bytes.to_vec());
            feed("bare record", Meal::SMALL, std::slice::from_ref(&bare), |bytes| {
                kept(bytes, joined(&state, found, bytes, &value, &writer))
            });
            feed("value alone", Meal::SMALL, std::slice::from_ref(&value), |bytes| {
                kept(bytes, joined(&state, found, &bare, bytes, &writer))
            });
        }
        // Whole rows of writers are a form of the fuzz bodies; here the ends, which name versions and readers.
        for length in (0..8).chain(writer.len() - 64..writer.len()) {
            joined(&state, 3, &bare, &value, &writer[..length]);
        }
    }
}
