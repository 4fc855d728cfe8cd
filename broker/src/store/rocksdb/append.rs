//! From a group of appends or acknowledgements to the one batch that is synced.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ::rocksdb::WriteBatch;
use bytes::Bytes;
use tidings_core::SignedHead;
use tidings_proto::{Offset, Pseudonym, QueueId};

use super::super::chain::{self, outstanding};
use super::super::removed;
use super::super::{Acked, Append, StoreError};
use super::RocksStore;
use super::ahead::{drop_branch, drop_rows};
use super::keys::{self, Column};
use super::read::View;
use super::values::{self, NOTHING_LIVE, Standing};

/// What is still to be written of `group`; empty if all of it stands. The caller holds the place to write.
pub(super) fn batch(store: &RocksStore, group: &[Append]) -> Result<WriteBatch, StoreError> {
    let mut before: HashMap<QueueId, Standing> = HashMap::new();
    let appends = outstanding(group, |queue| {
        let standing = store.newest(queue).standing()?;
        let head = standing.as_ref().map(|standing| standing.head.clone());
        before.extend(standing.map(|standing| (*queue, standing)));
        Ok(head)
    })?;
    let mut batch = WriteBatch::default();
    for appends in appends.chunk_by(|a, b| a.queue == b.queue) {
        let Some(last) = appends.last() else { continue };
        let chain = Chain { view: store.newest(&last.queue), before: before.get(&last.queue), appends, last };
        let number = put_chain(store, &mut batch, &chain)?;
        put_removed(store, &mut batch, &chain)?;
        put_queue(store, &mut batch, &chain, number)?;
    }
    Ok(batch)
}

/// All appends of one queue in a group, at least one.
struct Chain<'a> {
    view: View<'a>,
    /// What stands.
    before: Option<&'a Standing>,
    appends: &'a [&'a Append],
    last: &'a Append,
}

/// All appends of one queue. Gives the number of the branch that stands then.
fn put_chain(store: &RocksStore, batch: &mut WriteBatch, chain: &Chain<'_>) -> Result<u64, StoreError> {
    let queue = &chain.last.queue;
    let mut number = chain.before.map_or(0, |standing| standing.branch);
    for append in chain.appends {
        if append.replaces {
            // Also what earlier appends of this batch put there.
            Column::BRANCHED.into_iter().for_each(|column| drop_rows(store, batch, column, &keys::branch(queue, number)));
            number = number.wrapping_add(1);
        } else if !append.staged.is_empty() {
            // Where a transfer first showed in the middle which way it goes, some of it was staged for both.
            drop_branch(&chain.view, store, batch, &keys::branch(queue, number.wrapping_add(1)))?;
        }
        put_rows(store, batch, append, &keys::branch(queue, number));
    }
    Ok(number)
}

/// The acknowledgements of `group` that are higher than what is kept. The caller holds the place to write.
pub(super) fn acknowledgements(store: &RocksStore, group: &[Acked]) -> Result<WriteBatch, StoreError> {
    let mut highest: BTreeMap<(QueueId, Pseudonym), &Acked> = BTreeMap::new();
    for acked in group {
        let kept = highest.entry((acked.queue, acked.reader)).or_insert(acked);
        if acked.rank > kept.rank {
            *kept = acked;
        }
    }
    let mut batch = WriteBatch::default();
    for ((queue, reader), acked) in highest {
        let (view, key) = (store.newest(&queue), keys::named(&queue, reader.bytes()));
        let kept = view.get(Column::Acknowledgements, &key)?.map(|bytes| view.sound(values::decode_acknowledgement(&bytes))).transpose()?;
        if kept.is_none_or(|(rank, _)| acked.rank > rank) {
            batch.put_cf(store.column(Column::Acknowledgements), key, values::encode_acknowledgement(acked.rank, &acked.bytes));
        }
    }
    Ok(batch)
}

/// The queue's own row, once for all its appends, since it holds 2 KiB of a set hash; and as much again when the access list changed.
fn put_queue(store: &RocksStore, batch: &mut WriteBatch, chain: &Chain<'_>, branch: u64) -> Result<(), StoreError> {
    let (column, row) = (store.column(Column::Queues), &chain.last.row);
    batch.put_cf(column, chain.last.queue.bytes(), values::encode_queue(first_live(chain)?, branch, row));
    // The head signs what the state hashes to, so the same root is the same state.
    let kept = chain.before.filter(|standing| !standing.holds_access).and_then(|standing| access_root(&standing.head));
    if kept.is_none() || kept != access_root(&row.head) {
        batch.put_cf(column, keys::access_state(&chain.last.queue), *row.access);
    }
    Ok(())
}

/// `None` of a head that does not parse, which the engine made none of.
fn access_root(head: &Bytes) -> Option<[u8; 32]> {
    Some(SignedHead::parse(head.clone()).ok()?.head().access_root)
}

/// Who is a former reader after `chain`. Reads those known only if access changes.
fn put_removed(store: &RocksStore, batch: &mut WriteBatch, chain: &Chain<'_>) -> Result<(), StoreError> {
    if chain.appends.iter().all(|append| append.access_removed.is_empty() && append.access_put.is_empty()) {
        return Ok(());
    }
    let (last, before) = (chain.last, chain.view.removed()?);
    let mut after = before.clone();
    for append in chain.appends {
        let put = append.access_put.iter().map(|(reader, _)| *reader);
        removed::record(&mut after, chain::rank_of(append), append.access_removed.iter().copied(), put);
    }
    let (column, key) = (store.column(Column::Removed), |reader: &Pseudonym| keys::named(&last.queue, reader.bytes()));
    for reader in before.keys().filter(|reader| !after.contains_key(reader)) {
        batch.delete_cf(column, key(reader));
    }
    for (reader, rank) in after.iter().filter(|(reader, rank)| before.get(reader) != Some(rank)) {
        batch.put_cf(column, key(reader), values::encode_rank(*rank));
    }
    Ok(())
}

/// Lower bound of the live offsets after `chain`. Steps over each deleted row once in the life of the queue, and only here.
fn first_live(chain: &Chain<'_>) -> Result<Offset, StoreError> {
    let replaced = chain.appends.iter().rposition(|append| append.replaces);
    let before = chain.before.filter(|_| replaced.is_none());
    let first = before.map_or(NOTHING_LIVE, |standing| standing.first);
    let retired = || chain.appends[replaced.unwrap_or(0)..].iter().flat_map(|append| &append.retired).map(|row| row.offset);
    if first != NOTHING_LIVE && retired().all(|offset| offset != first) {
        // Whatever was added is above it.
        return Ok(first);
    }
    let gone: HashSet<Offset> = retired().collect();
    let kept = match before {
        Some(standing) => chain.view.live_offsets(standing).find(|offset| offset.as_ref().map_or(true, |offset| !gone.contains(offset))),
        None => None,
    };
    Ok(kept.transpose()?.or_else(|| first_added(&chain.appends[replaced.unwrap_or(0)..])).unwrap_or(NOTHING_LIVE))
}

/// The lowest offset that these appends add and leave.
fn first_added(appends: &[&Append]) -> Option<Offset> {
    let mut added = BTreeSet::new();
    for append in appends {
        for row in &append.retired {
            added.remove(&row.offset);
        }
        added.extend(append.entries.iter().map(|(row, _)| row.offset).chain(append.staged.iter().map(|row| row.offset)));
    }
    added.first().copied()
}

fn put_rows(store: &RocksStore, batch: &mut WriteBatch, append: &Append, branch: &QueueId) {
    put_live(store, batch, append, branch);
    let queue = &append.queue;
    for (node, hash) in &append.history {
        batch.put_cf(store.column(Column::History), keys::node(branch, *node), hash);
    }
    for reader in &append.access_removed {
        batch.delete_cf(store.column(Column::Access), keys::named(queue, reader.bytes()));
        batch.delete_cf(store.column(Column::Acknowledgements), keys::named(queue, reader.bytes()));
    }
    for (reader, row) in &append.access_put {
        batch.put_cf(store.column(Column::Access), keys::named(queue, reader.bytes()), row);
    }
    for hash in &append.attachments_removed {
        batch.delete_cf(store.column(Column::Attachments), keys::named(queue, hash.bytes()));
    }
    for (hash, bytes) in &append.attachments_put {
        batch.put_cf(store.column(Column::Attachments), keys::named(queue, hash.bytes()), bytes);
    }
}

/// Deletions first: within a batch the later operation on a key stands.
fn put_live(store: &RocksStore, batch: &mut WriteBatch, append: &Append, branch: &QueueId) {
    let key = |number| keys::numbered(branch, number);
    let new = || append.entries.iter().map(|(row, _)| row).chain(&append.staged);
    let (entries, live, births) = (store.column(Column::Entries), store.column(Column::Live), store.column(Column::Births));
    for row in &append.retired {
        batch.delete_cf(entries, key(row.offset.value()));
        batch.delete_cf(live, key(row.offset.value()));
    }
    if !(append.retired.is_empty() && append.ended.is_empty()) {
        let reborn: HashSet<_> = new().map(|row| row.birth).collect();
        for birth in append.retired.iter().map(|row| row.birth).chain(append.ended.iter().copied()).filter(|birth| !reborn.contains(birth))
        {
            batch.delete_cf(births, key(birth.value()));
        }
    }
    for (row, bytes) in &append.entries {
        batch.put_cf(entries, key(row.offset.value()), bytes);
    }
    // The bytes of a staged entry stand already; from this row on they are live.
    for row in new() {
        batch.put_cf(live, key(row.offset.value()), values::encode_at(row));
        batch.put_cf(births, key(row.birth.value()), values::encode_born(row));
    }
}
