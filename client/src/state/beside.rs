//! Rows of the layer above, kept in the transactions of this one.
//!
//! A datastore must know what it wrote where, and that knowledge must not part from the outbox. So its rows live in this file:
//! tables by name, bytes to bytes. Nothing here reads them.

use redb::WriteTransaction;

use super::{State, StateError, tables};

/// One change of a row beside the client's own tables.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Table it is in, like `datastore/objects`.
    pub table: &'static str,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value from now on; `None` removes the row.
    pub value: Option<Vec<u8>>,
}

impl Row {
    /// Puts a row.
    pub fn put(table: &'static str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: Some(value.into()) }
    }

    /// Removes a row.
    pub fn remove(table: &'static str, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: None }
    }
}

/// Values may be secret.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Row({}, {} bytes, [secret])", self.table, self.key.len())
    }
}

impl State {
    /// One row.
    pub fn row(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.read(|transaction| {
            let rows = transaction.open_table(tables::BESIDE)?;
            Ok(rows.get((table, key))?.map(|row| row.value().to_vec()))
        })
    }

    /// The first `limit` rows of a table with keys that start with `prefix` and are above `after`, ascending by key.
    pub fn rows(&self, table: &'static str, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyAndValue>, StateError> {
        self.read(|transaction| {
            let rows = transaction.open_table(tables::BESIDE)?;
            let mut found = Vec::new();
            for row in rows.range((table, after.unwrap_or(prefix))..)? {
                let (key, value) = row?;
                let (of, key) = key.value();
                if of != table || !key.starts_with(prefix) || found.len() >= limit {
                    break;
                }
                if after.is_none_or(|after| key > after) {
                    found.push((key.to_vec(), value.value().to_vec()));
                }
            }
            Ok(found)
        })
    }

    /// Changes rows, all or none; durable when this returns. Blocks for one sync.
    pub fn put_rows(&self, rows: &[Row]) -> Result<(), StateError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.write(|transaction| put_rows(transaction, rows))
    }
}

/// Key and value of one row.
pub type KeyAndValue = (Vec<u8>, Vec<u8>);

/// Changes rows within a transaction of this crate.
pub(crate) fn put_rows(transaction: &WriteTransaction, rows: &[Row]) -> Result<(), StateError> {
    let mut table = transaction.open_table(tables::BESIDE)?;
    for row in rows {
        match &row.value {
            Some(value) => drop(table.insert((row.table, row.key.as_slice()), value.as_slice())?),
            None => drop(table.remove((row.table, row.key.as_slice()))?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "test/a";

    #[test]
    fn rows_come_in_the_order_of_their_keys_and_page_by_page() {
        let state = State::in_memory().expect("a state");
        let rows: Vec<_> = [b"x1", b"x3", b"x2", b"y1"].map(|key| Row::put(A, key.to_vec(), b"v".to_vec())).into();
        state.put_rows(&rows).expect("put");
        state.put_rows(&[Row::put("test/b", b"x9".to_vec(), b"".to_vec())]).expect("put");
        let keys = |after: Option<&[u8]>| -> Vec<Vec<u8>> {
            state.rows(A, b"x", after, 2).expect("rows").into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(None), [b"x1", b"x2"]);
        assert_eq!(keys(Some(b"x2")), [b"x3"]);
    }

    #[test]
    fn a_removed_row_is_gone() {
        let state = State::in_memory().expect("a state");
        state.put_rows(&[Row::put(A, b"k".to_vec(), b"v".to_vec())]).expect("put");
        assert_eq!(state.row(A, b"k").expect("a row"), Some(b"v".to_vec()));
        state.put_rows(&[Row::remove(A, b"k".to_vec())]).expect("removed");
        assert_eq!(state.row(A, b"k").expect("a row"), None);
    }
}
