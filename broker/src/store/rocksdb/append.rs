//! From a group of appends or acknowledgements to the one batch that is synced.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ::rocksdb::WriteBatch;
use tidings_proto::{Offset, Pseudonym, QueueId};

use super::super::chain::{self, outstanding};
use super::super::removed;
use super::super::{Acked, Append, StoreError};
use super::RocksStore;
use super::ahead::{drop_branch, drop_rows};
use super::keys::{self, Column};
use super::read::View;
use super::values::{self, NOTHING_LIVE, QueueValue};

/// What is still to be written of `group`; empty if all of it stands. The caller holds the place to write.
pub(super) fn batch(store: &RocksStore, group: &[Append]) -> Result<WriteBatch, StoreError> {
    let appends = outstanding(group, |queue| Ok(store.view(queue).standing()?.map(|standing| standing.head)))?;
    let mut batch = WriteBatch::default();
    for chain in appends.chunk_by(|a, b| a.queue == b.queue) {
        let number = put_chain(store, &mut batch, chain)?;
        put_removed(store, &mut batch, chain)?;
        put_queue(store, &mut batch, chain, number)?;
    }
    Ok(batch)
}

/// All appends of one queue. Gives the number of the branch that stands then.
fn put_chain(store: &RocksStore, batch: &mut WriteBatch, chain: &[&Append]) -> Result<u64, StoreError> {
    let Some(queue) = chain.first().map(|append| append.queue) else { return Ok(0) };
    let view = store.view(&queue);
    let mut number = view.standing()?.map_or(0, |standing| standing.branch);
    for append in chain {
        if append.replaces {
            // Also what earlier appends of this batch put there.
            Column::BRANCHED.into_iter().for_each(|column| drop_rows(store, batch, column, &keys::branch(&queue, number)));
            number = number.wrapping_add(1);
        } else if !append.staged.is_empty() {
            // Where a transfer first showed in the middle which way it goes, some of it was staged for both.
            drop_branch(&view, store, batch, &keys::branch(&queue, number.wrapping_add(1)))?;
        }
        put_rows(store, batch, append, &keys::branch(&queue, number));
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
        let (view, key) = (store.view(&queue), keys::named(&queue, reader.bytes()));
        let kept = view.get(Column::Acknowledgements, &key)?.map(|bytes| view.sound(values::decode_acknowledgement(&bytes))).transpose()?;
        if kept.is_none_or(|(rank, _)| acked.rank > rank) {
            batch.put_cf(store.column(Column::Acknowledgements), key, values::encode_acknowledgement(acked.rank, &acked.bytes));
        }
    }
    Ok(batch)
}

/// The queue's own row, once for all its appends, since it holds 4 KiB of set hashes.
fn put_queue(store: &RocksStore, batch: &mut WriteBatch, chain: &[&Append], branch: u64) -> Result<(), StoreError> {
    let Some(last) = chain.last() else { return Ok(()) };
    let first = first_live(&store.view(&last.queue), chain)?;
    let value = QueueValue { first, branch, row: last.row.clone() };
    batch.put_cf(store.column(Column::Queues), last.queue.bytes(), value.encode());
    Ok(())
}

/// Who is a former reader after `chain`. Reads those known only if access changes.
fn put_removed(store: &RocksStore, batch: &mut WriteBatch, chain: &[&Append]) -> Result<(), StoreError> {
    let Some(last) = chain.iter().rfind(|append| !(append.access_removed.is_empty() && append.access_put.is_empty())) else {
        return Ok(());
    };
    let before = store.view(&last.queue).removed()?;
    let mut after = before.clone();
    for append in chain {
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
fn first_live(view: &View<'_>, chain: &[&Append]) -> Result<Offset, StoreError> {
    let (mut added, mut gone) = (BTreeSet::new(), HashSet::new());
    let replaced = chain.iter().rposition(|append| append.replaces);
    for append in &chain[replaced.unwrap_or(0)..] {
        for row in &append.retired {
            added.remove(&row.offset);
            gone.insert(row.offset);
        }
        added.extend(append.entries.iter().map(|(row, _)| row.offset).chain(append.staged.iter().map(|row| row.offset)));
    }
    let standing = view.standing()?.filter(|_| replaced.is_none());
    let stored = standing.as_ref().map_or(NOTHING_LIVE, |standing| standing.first);
    let kept = if let Some(standing) = standing.filter(|standing| gone.contains(&standing.first)) {
        view.live_offsets(&standing)?.find(|offset| offset.as_ref().map_or(true, |offset| !gone.contains(offset))).transpose()?
    } else {
        Some(stored)
    };
    Ok(kept.into_iter().chain(added.first().copied()).min().unwrap_or(NOTHING_LIVE))
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
    let reborn: HashSet<_> = new().map(|row| row.birth).collect();
    for row in &append.retired {
        batch.delete_cf(store.column(Column::Entries), key(row.offset.value()));
        batch.delete_cf(store.column(Column::Live), key(row.offset.value()));
    }
    for birth in append.retired.iter().map(|row| row.birth).chain(append.ended.iter().copied()).filter(|birth| !reborn.contains(birth)) {
        batch.delete_cf(store.column(Column::Births), key(birth.value()));
    }
    for (row, bytes) in &append.entries {
        batch.put_cf(store.column(Column::Entries), key(row.offset.value()), bytes);
    }
    // The bytes of a staged entry stand already; from this row on they are live.
    for row in new() {
        batch.put_cf(store.column(Column::Live), key(row.offset.value()), values::encode_live(row));
        batch.put_cf(store.column(Column::Births), key(row.birth.value()), row.offset.value().to_be_bytes());
    }
}
