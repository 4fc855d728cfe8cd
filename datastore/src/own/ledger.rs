//! Rows of the datastore in the client's file. [P-22]

use tidings_client::{Row, State, StateError};
use tidings_core::{Mutation, Object, ObjectReference, Operation, RecordPath, Version};
use tidings_proto::{HeadNumber, Timestamp};

/// Values on their way into storage: sequence number (u64, big-endian) to version (u8), clock (u64), an encoded mutation.
pub(super) const STAGED: &str = "datastore/staged";
/// Objects in storage: id to version (u8), state (u64), a number of that state (u64), path.
pub(super) const OBJECTS: &str = "datastore/objects";

const VERSION: u8 = 1;

/// A value on its way into storage.
#[derive(Clone)]
pub(super) struct Staged {
    pub(super) path: RecordPath,
    pub(super) object: ObjectReference,
    /// Clock of the record's newest version when this was staged; 0 without one.
    pub(super) clock: u64,
}

/// What is known of an object in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A waiting write or a signed entry names it.
    Named,
    /// A write took its place; it may not be signed yet.
    Replaced,
    /// No live entry names it from this head on, which may not be receipted yet.
    Retired(HeadNumber),
    /// That head is receipted, seen first at this time: the grace runs.
    Outdated(Timestamp),
    /// No signed entry ever named it.
    Unused,
}

/// An object in storage and whose value it is.
#[derive(Clone)]
pub(super) struct LedgerEntry {
    pub(super) path: RecordPath,
    pub(super) standing: Standing,
}

impl Staged {
    /// What is signed later, as far as it is known.
    fn mutation(&self) -> Mutation {
        Mutation {
            path: self.path.clone(),
            operation: Operation::Create,
            version: Version::ZERO,
            object: Some(self.object.clone()),
            inline: None,
            headers: Vec::new(),
            unknown: Vec::new(),
        }
    }

    pub(super) fn row(&self, sequence: u64) -> Row {
        let mut value = vec![VERSION];
        value.extend_from_slice(&self.clock.to_be_bytes());
        value.extend_from_slice(&self.mutation().encode());
        Row::put(STAGED, sequence.to_be_bytes(), value)
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StateError> {
        let (clock, mutation) = header::<1>(value)?;
        let mutation = Mutation::decode(mutation)?;
        let object = mutation.object.clone().ok_or_else(|| damaged("a staged row without an object"))?;
        let staged = Self { path: mutation.path.clone(), object, clock: clock[0] };
        if staged.mutation() == mutation { Ok(staged) } else { Err(damaged("a staged row with more than an object")) }
    }

    pub(super) fn remove(sequence: u64) -> Row {
        Row::remove(STAGED, sequence.to_be_bytes())
    }
}

impl LedgerEntry {
    pub(super) fn row(path: &RecordPath, id: &[u8; 32], standing: Standing) -> Row {
        let (state, number) = match standing {
            Standing::Named => (1, 0),
            Standing::Replaced => (2, 0),
            Standing::Retired(head) => (3, head.value()),
            Standing::Outdated(since) => (4, since.value()),
            Standing::Unused => (5, 0),
        };
        let mut value = vec![VERSION];
        value.extend_from_slice(&u64::to_be_bytes(state));
        value.extend_from_slice(&number.to_be_bytes());
        value.extend_from_slice(path.as_str().as_bytes());
        Row::put(OBJECTS, *id, value)
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StateError> {
        let ([state, number], path) = header::<2>(value)?;
        let standing = match (state, number) {
            (1, 0) => Standing::Named,
            (2, 0) => Standing::Replaced,
            (3, head) => Standing::Retired(HeadNumber::new(head)),
            (4, since) => Standing::Outdated(Timestamp::new(since)),
            (5, 0) => Standing::Unused,
            _ => return Err(damaged("an object of an unknown standing")),
        };
        let path = std::str::from_utf8(path).ok().and_then(|path| path.parse().ok());
        Ok(Self { path: path.ok_or_else(|| damaged("an object without a path"))?, standing })
    }

    pub(super) fn remove(id: &[u8; 32]) -> Row {
        Row::remove(OBJECTS, *id)
    }
}

/// How many values are staged.
pub(super) fn staged_count(state: &State) -> Result<u64, StateError> {
    let (mut count, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = state.rows(STAGED, &[], after.as_deref(), 512)?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = Some(last.clone());
        count += page.len() as u64;
    }
}

/// Key of a staged row.
pub(super) fn sequence(key: &[u8]) -> Result<u64, StateError> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| damaged("the key of a staged row"))
}

/// Key of a ledger row.
pub(super) fn object_id(key: &[u8]) -> Result<[u8; 32], StateError> {
    key.try_into().map_err(|_| damaged("the key of an object's row"))
}

/// The numbers behind the version byte, and the rest.
fn header<const N: usize>(value: &[u8]) -> Result<([u64; N], &[u8]), StateError> {
    let (version, mut rest) = value.split_first().ok_or_else(|| damaged("an empty row"))?;
    if *version != VERSION {
        return Err(damaged("a row of an unknown version"));
    }
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (first, after) = rest.split_first_chunk::<8>().ok_or_else(|| damaged("a short row"))?;
        (*number, rest) = (u64::from_be_bytes(*first), after);
    }
    Ok((numbers, rest))
}

fn damaged(what: &str) -> StateError {
    StateError::Damaged(format!("datastore: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::ObjectKey;
    use tidings_hostile::{Meal, alone, feed};

    fn path() -> RecordPath {
        "/a".parse().expect("a path")
    }

    fn value(row: Row) -> Vec<u8> {
        row.value.expect("a row that is put")
    }

    #[test]
    fn every_standing_is_read_as_it_was_written() {
        let standings = [
            Standing::Named,
            Standing::Replaced,
            Standing::Retired(HeadNumber::new(7)),
            Standing::Outdated(Timestamp::new(9)),
            Standing::Unused,
        ];
        for standing in standings {
            let read = LedgerEntry::decode(&value(LedgerEntry::row(&path(), &[1; 32], standing))).expect("an own row");
            assert_eq!((read.path, read.standing), (path(), standing));
        }
    }

    fn object() -> ObjectReference {
        ObjectReference {
            id: [1; 32],
            name: "objects/01/01".into(),
            key: ObjectKey::new([2; 32]),
            plaintext_hash: [3; 32],
            size: 5_000,
            content_type: "text/plain".into(),
        }
    }

    /// A number where a standing has none, and a staged mutation with a value, a version or headers of its own, were read as if they
    /// were not there.
    #[test]
    fn rows_have_one_encoding_each() {
        alone(concat!(module_path!(), "::rows_have_one_encoding_each"), || {
            let standings = [
                Standing::Named,
                Standing::Replaced,
                Standing::Retired(HeadNumber::new(7)),
                Standing::Outdated(Timestamp::new(9)),
                Standing::Unused,
            ];
            let entries = standings.map(|standing| value(LedgerEntry::row(&path(), &[1; 32], standing)));
            feed("ledger entry", Meal::LARGE, &entries, |bytes| {
                let entry = LedgerEntry::decode(bytes).ok()?;
                Some(value(LedgerEntry::row(&entry.path, &[1; 32], entry.standing)))
            });
            let bare = ObjectReference { name: String::new(), content_type: String::new(), ..object() };
            let staged = [object(), bare].map(|object| value(Staged { path: path(), object, clock: 8 }.row(4)));
            feed("staged", Meal::LARGE, &staged, |bytes| Some(value(Staged::decode(bytes).ok()?.row(4))));
            feed("staged key", Meal::LARGE, &[7_u64.to_be_bytes().to_vec()], |bytes| Some(Staged::remove(sequence(bytes).ok()?).key));
            feed("ledger key", Meal::LARGE, &[[7; 32].to_vec()], |bytes| Some(LedgerEntry::remove(&object_id(bytes).ok()?).key));
        });
    }

    #[test]
    fn a_staged_row_is_read_as_it_was_written() {
        let object = object();
        let staged = Staged { path: path(), object: object.clone(), clock: 8 };
        let read = Staged::decode(&value(staged.row(4))).expect("an own row");
        assert_eq!((read.path, read.object, read.clock), (path(), object, 8));
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        let row = value(LedgerEntry::row(&path(), &[1; 32], Standing::Named));
        for length in 0..17 {
            assert!(LedgerEntry::decode(&row[..length]).is_err() && Staged::decode(&row[..length]).is_err());
        }
    }
}
