//! What is written ahead of the append that names it: entries above the head, where no scan looks. [P-10]

use ::rocksdb::WriteBatch;
use tidings_proto::QueueId;

use super::super::chain::may_stage;
use super::super::{Staged, StoreError};
use super::RocksStore;
use super::keys::{self, Column};

/// Rows that one write removes.
const REMOVED_MAX: usize = 4_096;

/// The rows of `staged`. The caller holds the place to write, so that the head they are above still stands when they are written.
pub(super) fn batch(store: &RocksStore, staged: &Staged) -> Result<WriteBatch, StoreError> {
    let standing = store.view(&staged.queue).standing()?;
    may_stage(staged, standing.as_ref().map(|standing| &standing.head))?;
    let mut batch = WriteBatch::default();
    for (offset, bytes) in &staged.entries {
        batch.put_cf(store.column(Column::Entries), keys::numbered(&staged.queue, offset.value()), bytes);
    }
    for (node, hash) in &staged.history {
        batch.put_cf(store.column(Column::History), keys::node(&staged.queue, *node), hash);
    }
    Ok(batch)
}

/// Removes some of what stands above the head; `None` if nothing does.
pub(super) fn leftovers(store: &RocksStore, queue: &QueueId) -> Result<Option<WriteBatch>, StoreError> {
    let ahead = store.view(queue).ahead(REMOVED_MAX)?;
    let mut batch = WriteBatch::default();
    for offset in &ahead {
        batch.delete_cf(store.column(Column::Entries), keys::numbered(queue, offset.value()));
    }
    Ok((!ahead.is_empty()).then_some(batch))
}
