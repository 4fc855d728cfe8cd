//! What the owner knows about the queue in its storage, in the client's state file. [P-21]
//!
//! Three tables, each by the storage's address, so that another storage begins from nothing: what was written last; parts that may
//! have been created and are not shown yet; parts that are not shown any more, by when that began. A part is in one of them before it
//! is in the storage: whatever a crash leaves there, a row names.
//!
//! Calls block for one sync, in the channel's task itself: on another thread they could outlive it and undo what the next one writes.

use std::collections::BTreeSet;

use tidings_client::{Row, State, StateError};
use tidings_core::{Object, StorageHead};
use tidings_proto::Timestamp;

use crate::storage::Name;

const WRITTEN: &str = "channel/written";
const PENDING: &str = "channel/pending";
const GARBAGE: &str = "channel/garbage";

/// Rows read at once.
const PAGE: usize = 256;

/// The rows of one storage.
#[derive(Clone)]
pub(super) struct Rows {
    state: State,
    /// The storage's address and a zero byte: what all its keys begin with.
    prefix: Vec<u8>,
}

/// A part that waits to be removed.
pub(super) struct Garbage {
    pub(super) name: Name,
    pub(super) since: Timestamp,
    key: Vec<u8>,
}

impl Rows {
    pub(super) fn new(state: State, address: &str) -> Self {
        // The text of an address has no zero byte, so no address begins another one's keys.
        Self { state, prefix: [address.as_bytes(), &[0]].concat() }
    }

    /// The head object that was written last.
    pub(super) fn written(&self) -> Result<Option<StorageHead>, StateError> {
        let row = self.state.row(WRITTEN, &self.prefix)?;
        Ok(row.map(|row| StorageHead::decode(&row)).transpose()?)
    }

    /// These parts may be created from now on.
    pub(super) fn expect(&self, names: &[Name]) -> Result<(), StateError> {
        let rows: Vec<_> = names.iter().map(|name| Row::put(PENDING, self.key(name.as_str().as_bytes()), Vec::new())).collect();
        self.state.put_rows(&rows)
    }

    /// `head` is shown; `gone` were shown before. Parts that were created on the way and are not in `shown` wait for their removal.
    pub(super) fn shown(
        &self,
        head: &StorageHead,
        shown: &BTreeSet<Name>,
        gone: &BTreeSet<Name>,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let mut rows = vec![Row::put(WRITTEN, self.prefix.clone(), head.encode())];
        rows.extend(gone.iter().map(|name| self.garbage_row(name, now)));
        for (name, key) in self.pending()? {
            rows.push(Row::remove(PENDING, key));
            rows.extend((!shown.contains(&name)).then(|| self.garbage_row(&name, now)));
        }
        self.state.put_rows(&rows)
    }

    /// Parts that wait to be removed since before `until`, oldest first, at most a page of them.
    pub(super) fn garbage(&self, until: Timestamp) -> Result<Vec<Garbage>, StateError> {
        let rows = self.state.rows(GARBAGE, &self.prefix, None, PAGE)?;
        let parse = |(key, _): (Vec<u8>, Vec<u8>)| {
            let (since, name) = key.get(self.prefix.len()..)?.split_first_chunk::<8>()?;
            let name = Name::new(std::str::from_utf8(name).ok()?).ok()?;
            Some(Garbage { name, since: Timestamp::new(u64::from_be_bytes(*since)), key })
        };
        Ok(rows.into_iter().filter_map(parse).filter(|garbage| garbage.since <= until).collect())
    }

    /// These are removed, or shown again.
    pub(super) fn collected(&self, garbage: &[Garbage]) -> Result<(), StateError> {
        let rows: Vec<_> = garbage.iter().map(|garbage| Row::remove(GARBAGE, garbage.key.clone())).collect();
        self.state.put_rows(&rows)
    }

    fn pending(&self) -> Result<Vec<(Name, Vec<u8>)>, StateError> {
        let mut all = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.state.rows(PENDING, &self.prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            all.extend(page.into_iter().filter_map(|(key, _)| {
                let name = Name::new(std::str::from_utf8(key.get(self.prefix.len()..)?).ok()?).ok()?;
                Some((name, key))
            }));
        }
    }

    fn garbage_row(&self, name: &Name, since: Timestamp) -> Row {
        let key = [&since.value().to_be_bytes(), name.as_str().as_bytes()].concat();
        Row::put(GARBAGE, self.key(&key), Vec::new())
    }

    fn key(&self, rest: &[u8]) -> Vec<u8> {
        [self.prefix.as_slice(), rest].concat()
    }
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, feed};

    use super::*;

    /// Puts a row under a key of these bytes, looks, and takes it away.
    fn with_key<T>(rows: &Rows, table: &'static str, bytes: &[u8], look: impl FnOnce() -> T) -> T {
        rows.state.put_rows(&[Row::put(table, rows.key(bytes), Vec::new())]).expect("put");
        let seen = look();
        rows.state.put_rows(&[Row::remove(table, rows.key(bytes))]).expect("removed");
        seen
    }

    #[test]
    fn a_key_names_a_part_or_none() {
        let rows = Rows::new(State::in_memory().expect("a state"), "file:///a");
        let name = Name::new("parts/0f").expect("a name");
        feed("key of a pending part", Meal::SMALL, &[name.as_str().as_bytes().to_vec()], |bytes| {
            let pending = with_key(&rows, PENDING, bytes, || rows.pending().expect("read"));
            pending.first().map(|(name, _)| name.as_str().as_bytes().to_vec())
        });
        let row = rows.garbage_row(&name, Timestamp::new(9));
        feed("key of garbage", Meal::SMALL, &[row.key[rows.prefix.len()..].to_vec()], |bytes| {
            let garbage = with_key(&rows, GARBAGE, bytes, || rows.garbage(Timestamp::new(u64::MAX)).expect("read"));
            garbage.first().map(|garbage| rows.garbage_row(&garbage.name, garbage.since).key[rows.prefix.len()..].to_vec())
        });
    }
}
