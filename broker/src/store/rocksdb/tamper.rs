//! What somebody who holds the disk can do: for tests of what readers then see. [P-11]

use std::io;
use std::path::Path;

use ::rocksdb::WriteBatch;
use tidings_proto::{Offset, QueueId};

use super::RocksStore;
use super::keys::{self, Column};
use super::open::Settings;

/// Rewrites the stored bytes of a live entry, in the store at `folder`, as `change` makes them. What the store itself keeps about them,
/// checksums above all, is right afterwards: nothing but the owner's signature tells. For tests; no broker does this.
///
/// # Errors
/// `NotFound`: there is no such entry. Else the store cannot be opened, because a broker runs on it for one, read or written.
pub fn rewrite_entry(folder: &Path, queue: &QueueId, offset: Offset, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let store = RocksStore::open(folder, &Settings::default()).map_err(io::Error::other)?;
    let branch = store.view(queue).branch().map_err(io::Error::other)?;
    let key = keys::numbered(&branch, offset.value());
    let column = store.column(Column::Entries);
    let mut bytes = store.db.get_cf(column, key).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    change(&mut bytes);
    let mut batch = WriteBatch::default();
    batch.put_cf(column, key, bytes);
    let mut writes = store.writer().map_err(io::Error::other)?;
    store.put(&mut writes, batch, true).map_err(io::Error::other)
}
