//! A state transfer: from the head that stands here to any newer one of its owner, or from zero to one of a higher term, in one
//! step. [P-10]
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
use tidings_core::{Frontier, Head, NodeIndex, Object, QueueDescriptor, SignedHead};
use tidings_proto::frames::Transfer;
use tidings_proto::{ContentHash, Epoch, HeadHash, Offset, QueueId, Refusal, RefusalCode, Term, caps};

use super::lookup::{Found, Lookups};
use super::publish::undecodable;
use super::queue::QueueState;
use crate::store::{Branch, LiveRow, Staged, Store, StoreError};

pub use adoption::Adoption;
pub use last::LastPart;

/// Head hashes of one transfer: 2 GiB on their way, about ten on the disk, and twice that while it is undecided which way it goes. [P-19]
const HASHES_MAX: usize = 1 << 26;

/// A transfer of which some parts came. About 100 bytes for each entry it brings, and the attachments.
#[derive(Debug)]
pub struct TransferCheck {
    descriptor: QueueDescriptor,
    /// The queue as it stands.
    before: QueueState,
    way: Way,
    /// Live offsets here, and those of them that stay.
    own: RoaringTreemap,
    kept: RoaringTreemap,
    /// The bitmap came up to here.
    covered: Offset,
    /// The history of the new head as far as it came, if it goes on from the head that stands, and if it is from zero.
    onward: Trail,
    anew: Trail,
    hashes: usize,
    /// Entries that came, ascending.
    rows: Vec<LiveRow>,
    /// Terms of the oldest and the newest of them.
    terms: Option<(Term, Term)>,
    epochs: BTreeSet<Epoch>,
    attachments: BTreeMap<ContentHash, Bytes>,
    bytes: u64,
    live_bytes_max: u64,
}

/// Where the new head comes from. The first part that brings more than hashes shows it; where no entry was ever published, the head does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// From the head that stands: there is a bitmap.
    Onward,
    /// From zero: it replaces the branch that stands.
    Anew,
}

/// A history on its way.
#[derive(Clone, Debug)]
struct Trail {
    frontier: Frontier,
    /// Hash of the newest head in it.
    previous: [u8; 32],
}

impl Trail {
    fn append(&mut self, hashes: &[[u8; 32]]) -> Vec<(NodeIndex, [u8; 32])> {
        self.previous = hashes.last().copied().unwrap_or(self.previous);
        hashes.iter().flat_map(|hash| self.frontier.append(hash)).collect()
    }

    fn leads_to(&self, head: &Head) -> bool {
        self.frontier.leaves() == head.number.value()
            && self.frontier.root() == head.history_root
            && self.previous == *head.previous.bytes()
    }
}

impl TransferCheck {
    /// Begins at the head that stands. `own` are the live offsets here; `live_bytes_max` is what the queue may hold, 0 is no limit.
    pub fn begin(descriptor: QueueDescriptor, before: QueueState, own: RoaringTreemap, live_bytes_max: u64) -> Self {
        let queue = before.queue();
        Self {
            way: if before.head().is_some() { Way::Open } else { Way::Onward },
            onward: Trail { frontier: before.frontier.clone(), previous: *before.cursor().head.bytes() },
            anew: Trail { frontier: Frontier::start(&queue).0, previous: *queue.bytes() },
            hashes: 0,
            terms: None,
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
        }
    }

    /// Reads where the queue stands, and begins. Blocks as the store does.
    ///
    /// # Errors
    /// Those of the store's reads.
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
        Ok(Self::begin(descriptor, before, own, live_bytes_max))
    }

    /// The head that stood when it began; the start of a queue that is new here.
    pub fn standing(&self) -> HeadHash {
        self.before.cursor().head
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
    pub fn take(&mut self, part: &Transfer) -> Result<Vec<Staged>, Refusal> {
        self.find_way(part);
        self.take_live(part)?;
        self.take_attachments(&part.attachments)?;
        self.hashes += part.history.len();
        if self.hashes > HASHES_MAX {
            return Err(Refusal::new(RefusalCode::TooLarge, format!("a transfer brings at most {HASHES_MAX} hashes")));
        }
        let entries = self.take_entries(&part.entries)?;
        let (queue, expected) = (self.queue(), self.before.head().map(SignedHead::hash));
        let mut staged = Vec::with_capacity(2);
        if self.way != Way::Anew {
            let (branch, history) = (Branch::Standing, self.onward.append(&part.history));
            staged.push(Staged { queue, expected, branch, entries: entries.clone(), history });
        }
        if self.way != Way::Onward {
            let (branch, history) = (Branch::Next, self.anew.append(&part.history));
            staged.push(Staged { queue, expected, branch, entries, history });
        }
        staged.retain(|staged| !(staged.entries.is_empty() && staged.history.is_empty()));
        Ok(staged)
    }

    /// All parts were taken: what has to be known of the store to judge the head.
    pub fn lookups(&self) -> Lookups {
        if self.way == Way::Anew {
            return Lookups { access: true, ..Lookups::default() };
        }
        let older = self.rows.iter().map(|row| row.birth).filter(|birth| birth.value() <= self.before.cursor().offset.value());
        let retired = &self.own - &self.kept;
        Lookups { births: older.collect(), offsets: retired.iter().map(Offset::new).collect(), access: true }
    }

    /// Judges the whole. `found` answers [`Self::lookups`] at the head where this began.
    ///
    /// # Errors
    /// `Conflict` with the head that stands if the new one neither descends from it nor has a higher term; `Invalid` or `Quota`. Nothing
    /// changed.
    pub fn finish(mut self, last: LastPart, found: &Found) -> Result<Adoption, Refusal> {
        let standing = self.before.head().map(|head| head.bytes().clone());
        if self.way == Way::Open {
            self.way = if self.onward.leads_to(last.head.head()) { Way::Onward } else { Way::Anew };
        }
        adoption::judge(self, last, found).map_err(|refusal| match standing {
            Some(head) => refusal.at_head(head),
            None => refusal,
        })
    }

    /// [P-10] A bitmap says what stays, so it goes on from the head that stands; entries without one before them are all there are. At a
    /// head without entries the two differ in their hashes alone, and only the new head tells.
    fn find_way(&mut self, part: &Transfer) {
        if self.way != Way::Open {
            return;
        }
        let brings_more = !(part.entries.is_empty() && part.attachments.is_empty() && part.head.is_empty());
        if brings_bitmap(part) {
            self.way = Way::Onward;
        } else if brings_more && self.before.cursor().offset > Offset::ZERO {
            self.way = Way::Anew;
        }
    }

    /// Parts of the bitmap follow each other without a gap, and name nothing that is not live here.
    fn take_live(&mut self, part: &Transfer) -> Result<(), Refusal> {
        if !brings_bitmap(part) {
            return Ok(());
        }
        if self.way == Way::Anew {
            return Err(malformed("a transfer from zero has no bitmap"));
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

    /// Entries ascend over all parts, above the head that they go on from. [P-2]
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
        let before = if self.way == Way::Anew { Offset::ZERO } else { self.before.cursor().offset };
        let newest = self.rows.last().map_or(before, |row| row.offset);
        let (oldest, latest) = self.terms.unwrap_or((entry.term, entry.term));
        if entry.offset <= newest || entry.term < latest {
            return Err(invalid("the entries do not ascend"));
        }
        if entry.birth.value() == 0 || entry.birth.value() > entry.offset.value() {
            return Err(invalid("a birth is above the entry's own offset"));
        }
        self.terms = Some((oldest, entry.term));
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

fn brings_bitmap(part: &Transfer) -> bool {
    part.after != part.through || !part.live.is_empty()
}

fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, detail)
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(RefusalCode::Invalid, detail)
}
