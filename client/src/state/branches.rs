//! Other branches of the own queue: whose heads are known, who was a reader when, what was merged. [P-4, P-5]

use std::collections::HashSet;

use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};
use tidings_core::head::WriterId;
use tidings_core::writer::Writer;
use tidings_core::{Cursor, DecodeError, Decoder, Encoder, Object, RecordPath};
use tidings_proto::caps::{NAME_BYTES_MAX, PATH_BYTES_MAX, READERS_MAX};
use tidings_proto::{HeadHash, HeadNumber, HeadRank, Pseudonym, Term, Timestamp};

use super::{OwnStep, OwnView, StateError, rows, tables};

/// Notes of merges that are kept; the oldest go.
const MERGES_MAX: usize = 100;
/// Heads of branches that were merged and are still known to be; any others may go.
const MERGED_MAX: usize = 16 * 1_024;
/// Paths that a note names.
pub(crate) const DOUBTFUL_MAX: usize = 100;
/// Longest text in a note, bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// Longest source in a note, characters; a longer one is cut.
const SOURCE_CHARS_MAX: usize = TEXT_BYTES_MAX / 4;

/// Readers that the first publish of the new term removes.
const REMOVALS: &str = "merge-removals";
/// Number of the head at which the state was last rebuilt.
const REBUILT: &str = "rebuilt-at";

/// When somebody was a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReaderRow {
    /// Head that made it one; 0 if that is not known.
    pub(crate) since: HeadNumber,
    /// Head that ended it; 0 if none did.
    pub(crate) ended: HeadNumber,
}

/// A reader that a note names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MergedReader {
    pub(crate) name: String,
    pub(crate) did: String,
}

/// What a merge came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MergeRow {
    pub(crate) time: Timestamp,
    pub(crate) source: String,
    pub(crate) fork: HeadNumber,
    pub(crate) base: HeadRank,
    pub(crate) tail: HeadRank,
    pub(crate) published: u64,
    pub(crate) rescued: u64,
    pub(crate) deleted: u64,
    /// Records that live and may have been deleted on the tail, and the first [`DOUBTFUL_MAX`] of them.
    pub(crate) doubtful: u64,
    pub(crate) doubtful_paths: Vec<RecordPath>,
    pub(crate) removed: Vec<MergedReader>,
    pub(crate) unknown: Vec<MergedReader>,
}

impl OwnView<'_> {
    /// Up to which term heads of that writer are known to be mine; `None` if it is unknown.
    pub(crate) fn known_writer(&self, writer: &WriterId) -> Result<Option<Term>, StateError> {
        let table = self.0.open_table(tables::WRITERS)?;
        Ok(table.get(&writer.0)?.map(|row| Term::new(row.value())))
    }

    /// Hash of the own head `number`; `None` if there is none.
    pub(crate) fn hash_of(&self, number: HeadNumber) -> Result<Option<HeadHash>, StateError> {
        let table = self.0.open_table(tables::HEADS)?;
        table.get(number.value())?.map(|row| head_hash(row.value())).transpose()
    }

    /// The newest own head at or below `number` of which more than the hash is known.
    pub(crate) fn cursor_at_or_below(&self, number: HeadNumber) -> Result<Option<Cursor>, StateError> {
        let table = self.0.open_table(tables::HEADS)?;
        for row in table.range(..=number.value())?.rev() {
            if let Some(cursor) = head_cursor(row?.1.value())? {
                return Ok(Some(cursor));
            }
        }
        Ok(None)
    }

    pub(crate) fn reader_row(&self, reader: &Pseudonym) -> Result<Option<ReaderRow>, StateError> {
        let table = self.0.open_table(tables::READERS)?;
        Ok(table.get(reader.bytes())?.map(|row| reader_row(row.value())))
    }

    /// Whether the branch that ends in this head was merged.
    pub(crate) fn is_merged(&self, head: &HeadHash) -> Result<bool, StateError> {
        Ok(self.0.open_table(tables::MERGED)?.get(head.bytes())?.is_some())
    }

    /// Whether everything that the merge of that branch put into the outbox is signed.
    pub(crate) fn is_merged_whole(&self, head: &HeadHash) -> Result<bool, StateError> {
        let Some(through) = self.0.open_table(tables::MERGED)?.get(head.bytes())?.map(|row| row.value()) else { return Ok(false) };
        let order = self.0.open_table(tables::ORDER)?;
        Ok(order.first()?.is_none_or(|(first, _)| first.value() > through))
    }

    /// Readers that are to be removed by the first publish after a merge; `None` if none is due.
    pub(crate) fn removals(&self) -> Result<Option<Vec<Pseudonym>>, StateError> {
        let table = self.0.open_table(tables::SETTINGS)?;
        let Some(row) = table.get(REMOVALS)? else { return Ok(None) };
        let (keys, []) = row.value().as_chunks::<32>() else { return Err(StateError::Damaged("readers to remove".into())) };
        Ok(Some(keys.iter().map(|key| Pseudonym::new(*key)).collect()))
    }

    /// Number of the head at which the state was last rebuilt; 0 if it never was.
    pub(crate) fn rebuilt(&self) -> Result<HeadNumber, StateError> {
        let table = self.0.open_table(tables::SETTINGS)?;
        let Some(row) = table.get(REBUILT)? else { return Ok(HeadNumber::ZERO) };
        let number = row.value().try_into().map_err(|_| StateError::Damaged("where the state was rebuilt".into()))?;
        Ok(HeadNumber::new(u64::from_be_bytes(number)))
    }

    /// What merges came to, oldest first.
    pub(crate) fn merges(&self) -> Result<Vec<MergeRow>, StateError> {
        let table = self.0.open_table(tables::MERGES)?;
        table.range::<u64>(..)?.map(|row| decode_merge(row?.1.value())).collect()
    }
}

impl OwnStep<'_> {
    /// Heads of that writer up to `term` are known from now on.
    pub(crate) fn know_writer(&self, writer: &WriterId, term: Term) -> Result<(), StateError> {
        let mut table = self.0.open_table(tables::WRITERS)?;
        let known = table.get(&writer.0)?.map_or(0, |row| row.value());
        table.insert(&writer.0, known.max(term.value()))?;
        Ok(())
    }

    pub(crate) fn put_reader_row(&self, reader: &Pseudonym, row: ReaderRow) -> Result<(), StateError> {
        self.0.open_table(tables::READERS)?.insert(reader.bytes(), (row.since.value(), row.ended.value()))?;
        Ok(())
    }

    /// The access of a reader ended with head `number`.
    pub(crate) fn put_reader_ended(&self, reader: &Pseudonym, number: HeadNumber) -> Result<(), StateError> {
        let mut table = self.0.open_table(tables::READERS)?;
        let since = table.get(reader.bytes())?.map_or(0, |row| row.value().0);
        table.insert(reader.bytes(), (since, number.value()))?;
        Ok(())
    }

    /// Branches that end in one of these heads, ascending, are merged once all rows of the outbox up to the newest of now are signed.
    pub(crate) fn put_merged(&self, heads: Vec<HeadHash>) -> Result<(), StateError> {
        let through = self.0.open_table(tables::ORDER)?.last()?.map_or(0, |(last, _)| last.value());
        let mut table = self.0.open_table(tables::MERGED)?;
        // Whoever holds the tail stands at one of its newest heads.
        let newest = &heads[heads.len().saturating_sub(MERGED_MAX)..];
        let beyond = (table.len()? + newest.len() as u64).saturating_sub(MERGED_MAX as u64);
        (0..beyond).try_for_each(|_| table.pop_first().map(drop))?;
        newest.iter().try_for_each(|head| table.insert(head.bytes(), through).map(drop))?;
        Ok(())
    }

    /// The first publish of the new term is due, and removes these readers.
    pub(crate) fn put_removals(&self, readers: &[Pseudonym]) -> Result<(), StateError> {
        let mut table = self.0.open_table(tables::SETTINGS)?;
        // What an earlier merge owes is still owed: a second one before the first publish of the term must not undo a revocation.
        let mut keys = table.get(REMOVALS)?.map(|row| row.value().to_vec()).unwrap_or_default();
        let known: HashSet<[u8; 32]> = keys.as_chunks::<32>().0.iter().copied().collect();
        keys.extend(readers.iter().filter(|reader| !known.contains(reader.bytes())).flat_map(|reader| *reader.bytes()));
        table.insert(REMOVALS, keys.as_slice())?;
        Ok(())
    }

    /// The state was rebuilt at head `number`: whose access ended before that, it does not know.
    pub(crate) fn put_rebuilt(&self, number: HeadNumber) -> Result<(), StateError> {
        self.0.open_table(tables::SETTINGS)?.insert(REBUILT, number.value().to_be_bytes().as_slice())?;
        Ok(())
    }

    /// It is signed.
    pub(crate) fn end_removals(&self) -> Result<(), StateError> {
        self.0.open_table(tables::SETTINGS)?.remove(REMOVALS)?;
        Ok(())
    }

    pub(crate) fn put_merge(&self, merge: &MergeRow) -> Result<(), StateError> {
        let mut table = self.0.open_table(tables::MERGES)?;
        let sequence = table.last()?.map_or(1, |(last, _)| last.value() + 1);
        table.insert(sequence, encode_merge(merge).as_slice())?;
        while table.len()? > MERGES_MAX as u64 {
            table.pop_first()?;
        }
        Ok(())
    }
}

/// Notes of format 4 named no doubtful records.
pub(super) fn lengthen_notes(transaction: &WriteTransaction) -> Result<(), StateError> {
    let mut table = transaction.open_table(tables::MERGES)?;
    let notes: Vec<(u64, Vec<u8>)> =
        table.iter()?.map(|row| row.map(|(key, note)| (key.value(), note.value().to_vec()))).collect::<Result<_, _>>()?;
    let mut none = Encoder::new();
    none.u64(0);
    none.count(0);
    let none = none.finish();
    notes.into_iter().try_for_each(|(key, note)| table.insert(key, [note, none.clone()].concat().as_slice()).map(drop))?;
    Ok(())
}

/// The hash in a row of heads.
pub(super) fn head_hash(row: &[u8]) -> Result<HeadHash, StateError> {
    match row.try_into() {
        Ok(hash) => Ok(HeadHash::new(hash)),
        Err(_) => Ok(Cursor::decode(row)?.head),
    }
}

/// The cursor in a row of heads; `None` if it holds the hash alone.
pub(super) fn head_cursor(row: &[u8]) -> Result<Option<Cursor>, StateError> {
    if row.len() == 32 { Ok(None) } else { Ok(Some(Cursor::decode(row)?)) }
}

/// The writer of a file that did not list those it knows.
pub(super) fn know_own_writer(transaction: &WriteTransaction) -> Result<(), StateError> {
    let row = transaction.open_table(tables::WRITER)?.get(())?.map(|row| row.value().to_vec());
    let Some(row) = row else { return Ok(()) };
    let writer = Writer::decode(&row)?;
    OwnStep(transaction).know_writer(&writer.writer(), Term::ZERO)
}

fn reader_row((since, ended): (u64, u64)) -> ReaderRow {
    ReaderRow { since: HeadNumber::new(since), ended: HeadNumber::new(ended) }
}

pub(super) fn encode_merge(merge: &MergeRow) -> Vec<u8> {
    let mut out = Encoder::new();
    out.timestamp(merge.time);
    out.bytes(merge.source.chars().take(SOURCE_CHARS_MAX).collect::<String>().as_bytes());
    out.u64(merge.fork.value());
    out.rank(merge.base);
    out.rank(merge.tail);
    [merge.published, merge.rescued, merge.deleted].into_iter().for_each(|count| out.u64(count));
    for readers in [&merge.removed, &merge.unknown] {
        out.count(readers.len());
        for reader in readers {
            out.bytes(reader.name.as_bytes());
            out.bytes(reader.did.as_bytes());
        }
    }
    out.u64(merge.doubtful);
    out.count(merge.doubtful_paths.len());
    merge.doubtful_paths.iter().for_each(|path| out.bytes(path.as_str().as_bytes()));
    out.finish()
}

pub(super) fn decode_merge(bytes: &[u8]) -> Result<MergeRow, StateError> {
    let mut input = Decoder::new(bytes);
    let mut row = MergeRow {
        time: input.timestamp()?,
        source: read_source(&mut input)?,
        fork: HeadNumber::new(input.u64("fork")?),
        base: input.rank()?,
        tail: input.rank()?,
        published: input.u64("published")?,
        rescued: input.u64("rescued")?,
        deleted: input.u64("deleted")?,
        doubtful: 0,
        doubtful_paths: Vec::new(),
        removed: read_readers(&mut input)?,
        unknown: read_readers(&mut input)?,
    };
    row.doubtful = input.u64("doubtful")?;
    let count = input.count(DOUBTFUL_MAX, "paths")?;
    row.doubtful_paths = (0..count).map(|_| rows::path(input.text(PATH_BYTES_MAX, "path")?)).collect::<Result<_, _>>()?;
    input.finish()?;
    Ok(row)
}

fn read_source(input: &mut Decoder<'_>) -> Result<String, DecodeError> {
    match input.text(TEXT_BYTES_MAX, "source")? {
        source if source.chars().count() <= SOURCE_CHARS_MAX => Ok(source.to_owned()),
        _ => Err(DecodeError::Invalid("a source is longer than any that is written")),
    }
}

fn read_readers(input: &mut Decoder<'_>) -> Result<Vec<MergedReader>, DecodeError> {
    let count = input.count(READERS_MAX, "readers")?;
    (0..count)
        .map(|_| {
            let name = input.text(NAME_BYTES_MAX, "name")?.to_owned();
            Ok(MergedReader { name, did: input.text(TEXT_BYTES_MAX, "did")?.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    fn hash(branch: u8, number: usize) -> HeadHash {
        let mut bytes = [branch; 32];
        bytes[1..9].copy_from_slice(&number.to_be_bytes());
        HeadHash::new(bytes)
    }

    /// The newest head of a long branch was not remembered, so whoever held that branch was merged again and again.
    #[test]
    fn of_a_long_branch_that_was_merged_the_newest_heads_are_remembered() {
        let state = State::in_memory().expect("a state");
        // Whatever comes first in the table.
        for branch in [1, 9, 0] {
            let heads: Vec<HeadHash> = (0..MERGED_MAX + 9).map(|number| hash(branch, number)).collect();
            state.write(|transaction| OwnStep(transaction).put_merged(heads.clone())).expect("kept");
            let merged = |head: &HeadHash| state.read(|transaction| OwnView(transaction).is_merged(head)).expect("read");
            assert!(merged(&heads[MERGED_MAX + 8]) && merged(&heads[9]) && !merged(&heads[8]));
        }
    }
}
