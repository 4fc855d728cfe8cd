//! A queue given back to its owner whole, part by part, of one snapshot. [P-5]

use bytes::Bytes;
use tidings_core::access::AccessRow;
use tidings_core::{NodeIndex, Object, SignedHead};
use tidings_proto::frames::Transfer;
use tidings_proto::{ContentHash, HeadNumber, Offset, QueueId, Refusal, RefusalCode, caps};

use super::refused::refusal_of;
use crate::store::{ScanLimit, Snapshot, Store, StoreError};

/// Entries, or attachments, of one part.
const PART: ScanLimit = ScanLimit { entries: caps::CHUNK_ENTRIES_MAX, bytes: caps::CHUNK_BYTES_MAX };

/// The parts of one recovery that were not made yet; each is made when it is asked for. Holds a snapshot, and the hashes of the
/// attachments. Blocks as the store does.
pub struct Recovery<'a> {
    snapshot: Box<dyn Snapshot + 'a>,
    head: SignedHead,
    next: Next,
    /// Entries given.
    given: u64,
}

/// What the next part brings.
enum Next {
    /// Hashes of the heads from this number on.
    History(HeadNumber),
    /// Entries above this offset.
    Entries(Offset),
    /// What is left of them, newest name last.
    Attachments(Vec<ContentHash>),
    Nothing,
}

impl<'a> Recovery<'a> {
    /// Of the queue as it stands now.
    ///
    /// # Errors
    /// `UnknownQueue`: nothing is here. `Damaged`, `Unavailable`.
    pub fn open(store: &'a dyn Store, queue: &QueueId) -> Result<Self, Refusal> {
        let snapshot = store.snapshot(queue).map_err(|error| refusal_of(&error))?;
        let snapshot = snapshot.ok_or_else(|| Refusal::new(RefusalCode::UnknownQueue, "no such queue here"))?;
        let head = SignedHead::parse(snapshot.row().head.clone()).map_err(|_| damaged())?;
        Ok(Self { snapshot, head, next: Next::History(HeadNumber::new(1)), given: 0 })
    }

    /// The next part; `None` after the last one, which carries the head.
    ///
    /// # Errors
    /// `Damaged` if what is stored is not what the head names, as far as that shows without its owner's keys; `Unavailable`. Nothing
    /// comes after that.
    pub fn next_part(&mut self) -> Result<Option<Transfer>, Refusal> {
        loop {
            let mut part = Transfer::default();
            self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::History(from) => self.history(from, &mut part)?,
                Next::Entries(after) => self.entries(after, &mut part)?,
                Next::Attachments(hashes) => self.attachments(hashes, &mut part)?,
                Next::Nothing => return Ok(None),
            };
            // A part that carries nothing is refused by whoever believes nothing.
            if part != Transfer::default() {
                return Ok(Some(part));
            }
        }
    }

    fn history(&self, from: HeadNumber, part: &mut Transfer) -> Result<Next, Refusal> {
        let end = self.head.rank().number.value().min(from.value().saturating_add(caps::TRANSFER_HISTORY_MAX as u64));
        let nodes: Vec<NodeIndex> = (from.value()..end).map(NodeIndex::leaf).collect();
        let hashes = read(self.snapshot.history(&nodes))?;
        part.history = hashes.into_iter().collect::<Option<Vec<_>>>().ok_or_else(damaged)?;
        let more = end < self.head.rank().number.value();
        Ok(if more { Next::History(HeadNumber::new(end)) } else { Next::Entries(Offset::ZERO) })
    }

    fn entries(&mut self, after: Offset, part: &mut Transfer) -> Result<Next, Refusal> {
        let scan = read(self.snapshot.scan(after, PART))?;
        let last = scan.entries.last().map_or(after, |(offset, _)| *offset);
        self.given += scan.entries.len() as u64;
        part.entries = scan.entries.into_iter().map(|(_, bytes)| bytes).collect();
        if !scan.complete {
            return Ok(Next::Entries(last));
        }
        if self.given != self.head.head().live_count {
            return Err(damaged());
        }
        Ok(Next::Attachments(self.named()?))
    }

    /// Every attachment that a row names, once.
    fn named(&self) -> Result<Vec<ContentHash>, Refusal> {
        let mut named = Vec::new();
        for (_, bytes) in read(self.snapshot.access_list())? {
            let row = AccessRow::decode(&bytes).map_err(|_| damaged())?;
            named.extend([row.owner_copy, row.grant]);
        }
        named.sort_unstable_by(|a, b| b.cmp(a));
        named.dedup();
        Ok(named)
    }

    /// The last part brings the last attachments, the rows and the head.
    fn attachments(&self, mut hashes: Vec<ContentHash>, part: &mut Transfer) -> Result<Next, Refusal> {
        let mut bytes = 0;
        while let Some(hash) = hashes.last() {
            let attachment = read(self.snapshot.attachment(hash))?.ok_or_else(damaged)?;
            bytes += attachment.len();
            if bytes > PART.bytes && !part.attachments.is_empty() {
                return Ok(Next::Attachments(hashes));
            }
            part.attachments.push(attachment);
            hashes.pop();
        }
        part.rows = read(self.snapshot.access_list())?.into_iter().map(|(_, row)| row).collect();
        part.head = Bytes::clone(self.head.bytes());
        Ok(Next::Nothing)
    }
}

fn read<T>(answer: Result<T, StoreError>) -> Result<T, Refusal> {
    answer.map_err(|error| refusal_of(&error))
}

fn damaged() -> Refusal {
    Refusal::new(RefusalCode::Damaged, "what is stored of this queue contradicts itself")
}

#[cfg(test)]
mod tests;
