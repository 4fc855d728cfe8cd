//! What may be written at the head that stands: the compare-and-swap on heads that every store shares.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_core::head::SignedHead;
use tidings_proto::{HeadHash, HeadRank, Offset, QueueId};

use super::{Append, Branch, Staged, StoreError};

/// The appends of `group` that are not done yet; those of one queue in their order.
///
/// `standing` reads the signed head that a queue stands at. Errors: its own, and `Conflict` for an append that continues another head.
pub(super) fn outstanding(
    group: &[Append],
    mut standing: impl FnMut(&QueueId) -> Result<Option<Bytes>, StoreError>,
) -> Result<Vec<&Append>, StoreError> {
    let mut chains: BTreeMap<QueueId, Vec<&Append>> = BTreeMap::new();
    for append in group {
        chains.entry(append.queue).or_default().push(append);
    }
    let mut outstanding = Vec::with_capacity(group.len());
    for (queue, chain) in chains {
        outstanding.extend(rest_of(&chain, &queue, standing(&queue)?.as_ref())?);
    }
    Ok(outstanding)
}

/// Whether `staged` may be written beside the head that stands. Errors: `Conflict`, or `Damaged` if that head does not parse.
///
/// An entry of the branch that stands at or below its newest offset would overwrite a live one.
pub(super) fn may_stage(staged: &Staged, stands: Option<&Bytes>) -> Result<(), StoreError> {
    let head = stands.map(|bytes| parse(bytes, &staged.queue)).transpose()?;
    let newest = head.as_ref().map_or(Offset::ZERO, |head| head.head().offset);
    let above = staged.branch == Branch::Next || staged.entries.iter().all(|(offset, _)| *offset > newest);
    if head.map(|head| head.hash()) == staged.expected && above {
        return Ok(());
    }
    Err(conflict(&staged.queue, stands)?)
}

/// What of one queue's chain comes after the head that stands.
fn rest_of<'a>(chain: &[&'a Append], queue: &QueueId, stands: Option<&Bytes>) -> Result<Vec<&'a Append>, StoreError> {
    // The group may repeat one whose outcome was unknown: whatever leads to the head that stands is done.
    let done = chain.iter().rposition(|append| Some(&append.row.head) == stands).map_or(0, |last| last + 1);
    let (mut head, mut rest) = (stands, Vec::new());
    for append in &chain[done..] {
        if head == Some(&append.row.head) {
            continue;
        }
        if hash_of(head, queue)? != append.expected {
            return Err(conflict(queue, stands)?);
        }
        head = Some(&append.row.head);
        rest.push(*append);
    }
    Ok(rest)
}

/// Rank of the head that an append takes its queue to. The engine read that head; one that does not parse counts as the oldest.
pub(super) fn rank_of(append: &Append) -> HeadRank {
    SignedHead::parse(append.row.head.clone()).map_or(HeadRank::default(), |head| head.rank())
}

fn hash_of(head: Option<&Bytes>, queue: &QueueId) -> Result<Option<HeadHash>, StoreError> {
    head.map(|bytes| parse(bytes, queue).map(|head| head.hash())).transpose()
}

fn conflict(queue: &QueueId, stands: Option<&Bytes>) -> Result<StoreError, StoreError> {
    let head = stands.map(|bytes| parse(bytes, queue)).transpose()?;
    Ok(StoreError::Conflict { queue: *queue, stands_at: head.map(|head| head.rank().number) })
}

/// A head of the store or of the group itself. Neither was stored if it does not parse, so the disk changed it.
fn parse(bytes: &Bytes, queue: &QueueId) -> Result<SignedHead, StoreError> {
    SignedHead::parse(bytes.clone()).map_err(|error| StoreError::Damaged { queue: Some(*queue), detail: format!("head: {error}") })
}
