//! What is written ahead of the append that names it, where no scan looks: above the head, or in the next branch. [P-10]

use ::rocksdb::WriteBatch;
use tidings_proto::QueueId;

use super::super::chain::may_stage;
use super::super::{Branch, Staged, StoreError};
use super::RocksStore;
use super::keys::{self, Column};
use super::read::View;

/// Rows that one write removes.
const REMOVED_MAX: usize = 4_096;

/// The rows of `staged`. The caller holds the place to write, so that the head they are above still stands when they are written.
pub(super) fn batch(store: &RocksStore, staged: &Staged) -> Result<WriteBatch, StoreError> {
    let standing = store.newest(&staged.queue).standing()?;
    may_stage(staged, standing.as_ref().map(|standing| &standing.head))?;
    let number = standing.map_or(0, |standing| standing.branch);
    let branch = keys::branch(&staged.queue, if staged.branch == Branch::Next { number.wrapping_add(1) } else { number });
    let mut batch = WriteBatch::default();
    for (offset, bytes) in &staged.entries {
        batch.put_cf(store.column(Column::Entries), keys::numbered(&branch, offset.value()), bytes);
    }
    for (node, hash) in &staged.history {
        batch.put_cf(store.column(Column::History), keys::node(&branch, *node), hash);
    }
    Ok(batch)
}

/// Removes some of what stands above the head; `None` if nothing does.
pub(super) fn leftovers(store: &RocksStore, queue: &QueueId) -> Result<Option<WriteBatch>, StoreError> {
    let view = store.newest(queue);
    let (ahead, branch) = (view.ahead(REMOVED_MAX)?, view.branch()?);
    let mut batch = WriteBatch::default();
    for offset in &ahead {
        batch.delete_cf(store.column(Column::Entries), keys::numbered(&branch, offset.value()));
    }
    let next = view.standing()?.map_or(0, |standing| standing.branch).wrapping_add(1);
    drop_branch(&view, store, &mut batch, &keys::branch(queue, next))?;
    Ok((!batch.is_empty()).then_some(batch))
}

/// Removes the rows of a branch, if it has any: nobody reads it, but a range that is empty would be looked at by every read until it is
/// compacted.
pub(super) fn drop_branch(view: &View<'_>, store: &RocksStore, batch: &mut WriteBatch, branch: &QueueId) -> Result<(), StoreError> {
    for column in Column::BRANCHED {
        if view.holds(column, branch)? {
            drop_rows(store, batch, column, branch);
        }
    }
    Ok(())
}

/// Removes what this column holds of a branch.
pub(super) fn drop_rows(store: &RocksStore, batch: &mut WriteBatch, column: Column, branch: &QueueId) {
    batch.delete_range_cf(store.column(column), branch.bytes().as_slice(), &keys::above(branch));
}
