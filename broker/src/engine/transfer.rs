//! A state transfer: from the head that stands here to any newer one of its owner, in one step. [P-10]
//!
//! Parts are taken in order and what they bring is staged where no read looks. Nothing of them counts before the last part came
//! with the head, and everything together is what that head signs.

mod adoption;
mod last;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::entry::Entry;
use tidings_core::grant::attachment_hash;
use tidings_core::{Frontier, NodeIndex, Object, QueueDescriptor, SignedHead};
use tidings_proto::frames::Transfer;
use tidings_proto::{ContentHash, Epoch, Offset, QueueId, Refusal, RefusalCode, Term, caps};

use super::lookup::{Found, Lookups};
use super::publish::undecodable;
use super::queue::QueueState;
use crate::store::{LiveRow, Staged, Store, StoreError};

pub use adoption::Adoption;
pub use last::LastPart;

/// A transfer of which some parts came. About 100 bytes for each entry it brings, and the attachments.
#[derive(Debug)]
pub struct TransferCheck {
    descriptor: QueueDescriptor,
    /// The queue as it stands.
    before: QueueState,
    /// Live offsets here, and those of them that stay.
    own: RoaringTreemap,
    kept: RoaringTreemap,
    /// The bitmap came up to here.
    covered: Offset,
    /// The history of the new head, as far as it came.
    frontier: Frontier,
    previous: [u8; 32],
    /// Entries that came, ascending.
    rows: Vec<LiveRow>,
    /// Term of the newest of them.
    term: Term,
    epochs: BTreeSet<Epoch>,
    attachments: BTreeMap<ContentHash, Bytes>,
    bytes: u64,
    live_bytes_max: u64,
}

impl TransferCheck {
    /// Begins at the head that stands. `own` are the live offsets here; `live_bytes_max` is what the queue may hold, 0 is no limit.
    ///
    /// # Errors
    /// `Conflict`: the queue is closed.
    pub fn begin(descriptor: QueueDescriptor, before: QueueState, own: RoaringTreemap, live_bytes_max: u64) -> Result<Self, Refusal> {
        if before.head().is_some_and(|head| head.head().state == tidings_core::QueueState::Closed) {
            return Err(Refusal::new(RefusalCode::Conflict, "the queue is closed"));
        }
        Ok(Self {
            frontier: before.frontier.clone(),
            previous: *before.cursor().head.bytes(),
            term: before.cursor().rank.term,
            descriptor,
            before,
            own,
            kept: RoaringTreemap::new(),
            covered: Offset::ZERO,
            rows: Vec::new(),
            epochs: BTreeSet::new(),
            attachments: BTreeMap::new(),
            bytes: 0,
            live_bytes_max,
        })
    }

    /// Reads where the queue stands, and begins. Blocks as the store does.
    ///
    /// # Errors
    /// As [`Self::begin`], and those of the store's reads.
    pub fn open(descriptor: QueueDescriptor, store: &dyn Store, live_bytes_max: u64) -> Result<Self, Refusal> {
        let queue = descriptor.id();
        let read = || {
            let before = QueueState::load(queue, store.queue(&queue)?)?;
            let none = crate::store::ScanLimit { entries: 0, bytes: 0 };
            let own = store.bitmap(&queue, before.cursor().offset, none)?.map_or_else(RoaringTreemap::new, |(live, _)| live);
            store.unstage(&queue)?;
            Ok::<_, StoreError>((before, own))
        };
        let (before, own) = read().map_err(|error| super::refusal_of(&error))?;
        Self::begin(descriptor, before, own, live_bytes_max)
    }

    /// The queue it is for.
    pub fn queue(&self) -> QueueId {
        self.before.queue()
    }

    /// Takes what a part brings, the last one too. What comes back has to be staged before the next part is taken. The frame
    /// was decoded under its caps. [P-19]
    ///
    /// # Errors
    /// `TooLarge`, `Malformed`, `TooNew`, `Invalid` or `Quota`: this transfer cannot be gone on with.
    pub fn take(&mut self, part: &Transfer) -> Result<Staged, Refusal> {
        self.take_live(part)?;
        self.take_attachments(&part.attachments)?;
        Ok(Staged {
            queue: self.queue(),
            expected: self.before.head().map(SignedHead::hash),
            history: self.take_history(&part.history),
            entries: self.take_entries(&part.entries)?,
        })
    }

    /// All parts were taken: what has to be known of the store to judge the head.
    pub fn lookups(&self) -> Lookups {
        let older = self.rows.iter().map(|row| row.birth).filter(|birth| birth.value() <= self.before.cursor().offset.value());
        let retired = &self.own - &self.kept;
        Lookups { births: older.collect(), offsets: retired.iter().map(Offset::new).collect(), access: true }
    }

    /// Judges the whole. `found` answers [`Self::lookups`] at the head where this began.
    ///
    /// # Errors
    /// `Conflict` with the head that stands if the new one does not descend from it in the same term; `Malformed`, `TooNew`,
    /// `TooLarge`, `BadSignature`, `Invalid` or `Quota`. Nothing changed.
    pub fn finish(self, last: LastPart, found: &Found) -> Result<Adoption, Refusal> {
        let standing = self.before.head().map(|head| head.bytes().clone());
        adoption::judge(self, last, found).map_err(|refusal| match standing {
            Some(head) => refusal.at_head(head),
            None => refusal,
        })
    }

    fn take_history(&mut self, hashes: &[[u8; 32]]) -> Vec<(NodeIndex, [u8; 32])> {
        self.previous = hashes.last().copied().unwrap_or(self.previous);
        hashes.iter().flat_map(|hash| self.frontier.append(hash)).collect()
    }

    /// Parts of the bitmap follow each other without a gap, and name nothing that is not live here.
    fn take_live(&mut self, part: &Transfer) -> Result<(), Refusal> {
        if part.after == part.through && part.live.is_empty() {
            return Ok(());
        }
        if part.after != self.covered || part.through <= part.after || part.through > self.before.cursor().offset {
            return Err(malformed("a part of the bitmap does not follow the one before, or ends above the head that stands"));
        }
        if part.live.len() > caps::TRANSFER_LIVE_BYTES_MAX {
            return Err(Refusal::new(RefusalCode::TooLarge, "a part of the bitmap is too large"));
        }
        let live = match part.live.as_ref() {
            [] => RoaringTreemap::new(),
            bytes => RoaringTreemap::deserialize_from(bytes).map_err(|_| malformed("a part of the bitmap does not parse"))?,
        };
        let within = live.min().is_none_or(|low| low > part.after.value()) && live.max().is_none_or(|high| high <= part.through.value());
        if !within || !live.is_subset(&self.own) {
            return Err(invalid("the bitmap names an offset that is not live here, or outside of its part"));
        }
        self.kept |= live;
        self.covered = part.through;
        Ok(())
    }

    fn take_attachments(&mut self, attachments: &[Bytes]) -> Result<(), Refusal> {
        // Copied, since they are kept: a part of a frame would keep all of it.
        self.attachments.extend(attachments.iter().map(|bytes| (attachment_hash(bytes), Bytes::copy_from_slice(bytes))));
        if self.attachments.len() > 2 * caps::READERS_MAX {
            return Err(Refusal::new(RefusalCode::TooLarge, "more attachments than readers can have"));
        }
        Ok(())
    }

    /// Entries ascend over all parts, above the head that stands. [P-2]
    fn take_entries(&mut self, entries: &[Bytes]) -> Result<Vec<(Offset, Bytes)>, Refusal> {
        if self.rows.len() + entries.len() > caps::TRANSFER_ENTRIES_MAX {
            let detail = format!("a transfer brings at most {} entries", caps::TRANSFER_ENTRIES_MAX);
            return Err(Refusal::new(RefusalCode::TooLarge, detail));
        }
        // What is staged counts before it lives: nobody gets more of the disk by never sending the last part.
        self.bytes += entries.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.check_quota(self.bytes)?;
        entries.iter().map(|bytes| self.take_entry(bytes)).collect()
    }

    /// [P-7] What does not raise live bytes is never refused for quota.
    fn check_quota(&self, bytes: u64) -> Result<(), Refusal> {
        let max = self.live_bytes_max;
        if max != 0 && bytes > max && bytes > self.before.live_bytes {
            let detail = format!("the queue would hold {bytes} live bytes; {max} are granted");
            return Err(Refusal::new(RefusalCode::Quota, detail));
        }
        Ok(())
    }

    fn take_entry(&mut self, bytes: &Bytes) -> Result<(Offset, Bytes), Refusal> {
        let entry = Entry::decode(bytes).map_err(undecodable)?;
        let newest = self.rows.last().map_or(self.before.cursor().offset, |row| row.offset);
        if entry.offset <= newest || entry.term < self.term {
            return Err(invalid("the entries do not ascend from the head that stands"));
        }
        if entry.birth.value() == 0 || entry.birth.value() > entry.offset.value() {
            return Err(invalid("a birth is above the entry's own offset"));
        }
        self.term = entry.term;
        self.epochs.insert(entry.epoch);
        if self.epochs.len() > caps::HEAD_EPOCHS_MAX {
            return Err(invalid("more epochs than a head can name"));
        }
        let digest = Entry::digest_of(bytes, &self.queue());
        // The length is at most ENTRY_BYTES_MAX: the frame's decoder saw to it.
        self.rows.push(LiveRow { offset: entry.offset, birth: entry.birth, digest, bytes: bytes.len() as u32 });
        Ok((entry.offset, bytes.clone()))
    }
}

fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, detail)
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(RefusalCode::Invalid, detail)
}
