//! Parts come in, a queue that is signed comes out. [P-5] [P-10] [P-19]

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tidings_proto::caps::{
    ACCESS_ROW_BYTES_MAX, ATTACHMENT_BYTES_MAX, ENTRY_BYTES_MAX, READERS_MAX, RECOVERY_BYTES_MAX, RECOVERY_HISTORY_MAX,
    TRANSFER_ENTRIES_MAX,
};
use tidings_proto::frames::Transfer;
use tidings_proto::{Birth, ContentHash, Offset, QueueId};

use super::{Recovered, RecoveryError};
use crate::access::AccessRow;
use crate::codec::{DecodeError, Object};
use crate::entry::Entry;
use crate::grant::attachment_hash;
use crate::head::{Head, SignedHead};
use crate::history::Frontier;
use crate::queue::QueueDescriptor;
use crate::set_hash::{SetHash, SetKind};

/// What a broker or a storage holds of a queue, part by part from zero. Believes nothing before the end.
#[derive(Debug)]
pub struct Recovery {
    descriptor: QueueDescriptor,
    queue: QueueId,
    history: Vec<[u8; 32]>,
    frontier: Frontier,
    entries: Vec<(Entry, Bytes)>,
    births: HashSet<Birth>,
    live: SetHash,
    /// Of all entries.
    bytes: u64,
    attachments: HashMap<ContentHash, Bytes>,
    /// Most heads, entries and readers of this one.
    most: (usize, usize, usize),
    ended: bool,
}

impl Recovery {
    /// Nothing is there yet.
    pub fn new(descriptor: QueueDescriptor) -> Self {
        let queue = descriptor.id();
        let (frontier, _) = Frontier::start(&queue);
        Self {
            descriptor,
            queue,
            history: Vec::new(),
            frontier,
            entries: Vec::new(),
            births: HashSet::new(),
            live: SetHash::new(SetKind::Live),
            bytes: 0,
            attachments: HashMap::new(),
            most: (RECOVERY_HISTORY_MAX, TRANSFER_ENTRIES_MAX, READERS_MAX),
            ended: false,
        }
    }

    /// Takes no more than what `head` signs, which the giver showed before: what a lie costs is bounded by what the owner once had.
    #[must_use]
    pub fn of_head(mut self, head: &SignedHead) -> Self {
        let head = head.head();
        let (heads, live) = (head.number.value().saturating_sub(1), head.live_count);
        let (heads_max, live_max, readers_max) = self.most;
        let least = |signed: u64, max: usize| usize::try_from(signed).map_or(max, |signed| signed.min(max));
        self.most = (least(heads, heads_max), least(live, live_max), least(u64::from(head.access_count), readers_max));
        self
    }

    /// Takes the next part; gives the queue after the last one, if all of it is what the head signs.
    ///
    /// # Errors
    /// [`RecoveryError::NotSigned`], [`RecoveryError::TooLarge`], [`RecoveryError::TooNew`] or, of a head, [`RecoveryError::AnotherHead`]. After an error, and after the last part,
    /// this takes nothing any more.
    pub fn take(&mut self, part: Transfer) -> Result<Option<Recovered>, RecoveryError> {
        if std::mem::replace(&mut self.ended, true) {
            return Err(RecoveryError::NotSigned("parts follow after the end"));
        }
        let Transfer { history, after, through, live, entries, attachments, head, rows } = part;
        if after != Offset::ZERO || through != Offset::ZERO || !live.is_empty() {
            return Err(RecoveryError::NotSigned("a part is not of a whole queue"));
        }
        // Without this a peer could keep an owner busy for ever.
        if history.is_empty() && entries.is_empty() && attachments.is_empty() && head.is_empty() {
            return Err(RecoveryError::NotSigned("a part carries nothing"));
        }
        self.take_history(history)?;
        entries.into_iter().try_for_each(|bytes| self.take_entry(bytes))?;
        attachments.into_iter().try_for_each(|bytes| self.take_attachment(bytes))?;
        if !head.is_empty() {
            return self.finish(head, &rows).map(Some);
        }
        if !rows.is_empty() {
            return Err(RecoveryError::NotSigned("access rows come without a head"));
        }
        self.ended = false;
        Ok(None)
    }

    fn take_history(&mut self, hashes: Vec<[u8; 32]>) -> Result<(), RecoveryError> {
        bounded(self.history.len() + hashes.len(), self.most.0, RECOVERY_HISTORY_MAX, "heads")?;
        for hash in &hashes {
            self.frontier.append(hash);
        }
        self.history.extend(hashes);
        Ok(())
    }

    fn take_entry(&mut self, bytes: Bytes) -> Result<(), RecoveryError> {
        self.bytes += bytes.len() as u64;
        bounded(self.entries.len() + 1, self.most.1, TRANSFER_ENTRIES_MAX, "live entries")?;
        if bytes.len() > ENTRY_BYTES_MAX || self.bytes > RECOVERY_BYTES_MAX {
            return Err(RecoveryError::TooLarge("live entries"));
        }
        let mut entry = Entry::decode(&bytes).map_err(undecodable)?;
        // Held once, not twice.
        entry.ciphertext = bytes.slice(bytes.len() - entry.ciphertext.len()..);
        if let Some((before, _)) = self.entries.last()
            && (entry.offset <= before.offset || entry.term < before.term)
        {
            return Err(RecoveryError::NotSigned("entries do not ascend"));
        }
        if !self.births.insert(entry.birth) {
            return Err(RecoveryError::NotSigned("a record has two live entries"));
        }
        self.live.add(Entry::digest_of(&bytes, &self.queue).bytes());
        self.entries.push((entry, bytes));
        Ok(())
    }

    fn take_attachment(&mut self, bytes: Bytes) -> Result<(), RecoveryError> {
        bounded(self.attachments.len() + 1, 2 * self.most.2, 2 * READERS_MAX, "attachments")?;
        if bytes.len() > ATTACHMENT_BYTES_MAX {
            return Err(RecoveryError::TooLarge("attachments"));
        }
        match self.attachments.insert(attachment_hash(&bytes), bytes) {
            Some(_) => Err(RecoveryError::NotSigned("an attachment comes twice")),
            None => Ok(()),
        }
    }

    fn finish(&mut self, head: Bytes, rows: &[Bytes]) -> Result<Recovered, RecoveryError> {
        let head = SignedHead::parse(head).map_err(undecodable)?;
        let owned = head.head().queue == self.queue && head.verify(&self.descriptor.signing_key).is_ok();
        signed(owned, "the head is not the owner's")?;
        self.check_history(head.head())?;
        self.check_entries(head.head())?;
        let (rows, access) = self.check_access(head.head(), rows)?;
        let (frontier, _) = Frontier::start(&self.queue);
        Ok(Recovered {
            descriptor: self.descriptor.clone(),
            head,
            history: std::mem::take(&mut self.history),
            frontier: std::mem::replace(&mut self.frontier, frontier),
            live: self.live.clone(),
            entries: std::mem::take(&mut self.entries),
            access,
            rows,
            attachments: std::mem::take(&mut self.attachments),
        })
    }

    /// The base is signed and one of these heads: a fork is found by comparing hashes, and must not be looked for elsewhere.
    fn check_history(&self, head: &Head) -> Result<(), RecoveryError> {
        let whole = self.frontier.leaves() == head.number.value() && self.frontier.root() == head.history_root;
        signed(whole, "the heads are not those of its history")?;
        let leaf = |number: u64| match number {
            0 => Some(self.queue.bytes()),
            above => self.history.get(usize::try_from(above - 1).ok()?),
        };
        signed(leaf(head.number.value() - 1) == Some(head.previous.bytes()), "the head does not follow the one before it")?;
        signed(leaf(head.base.rank.number.value()) == Some(head.base.head.bytes()), "the base is not in the history")
    }

    fn check_entries(&self, head: &Head) -> Result<(), RecoveryError> {
        let whole = self.entries.len() as u64 == head.live_count && self.live.root() == head.live_root;
        signed(whole, "the entries are not the live set")?;
        for (entry, _) in &self.entries {
            let below = entry.offset <= head.offset && entry.term <= head.term;
            signed(below, "an entry is above the head")?;
            signed(head.epochs.iter().any(|listed| listed.epoch == entry.epoch), "an entry is of an epoch that the head does not list")?;
            signed(self.is_apart(entry), "a record was born at another one's entry")?;
        }
        Ok(())
    }

    /// An offset is that of one entry: where a record was born no other one has its entry.
    fn is_apart(&self, entry: &Entry) -> bool {
        let born = Offset::new(entry.birth.value());
        entry.offset == born || self.entries.binary_search_by_key(&born, |(other, _)| other.offset).is_err()
    }

    fn check_access(&self, head: &Head, encoded: &[Bytes]) -> Result<(Vec<AccessRow>, SetHash), RecoveryError> {
        if encoded.len() > READERS_MAX || encoded.iter().any(|row| row.len() > ACCESS_ROW_BYTES_MAX) {
            return Err(RecoveryError::TooLarge("access rows"));
        }
        let rows = encoded.iter().map(|row| AccessRow::decode(row).map_err(undecodable)).collect::<Result<Vec<_>, _>>()?;
        signed(rows.is_sorted_by(|a, b| a.pseudonym < b.pseudonym), "access rows do not ascend")?;
        let mut access = SetHash::new(SetKind::Access);
        encoded.iter().for_each(|row| access.add(row));
        let whole = u32::try_from(rows.len()) == Ok(head.access_count) && access.root() == head.access_root;
        signed(whole, "the rows are not the access list")?;
        let named: HashSet<_> = rows.iter().flat_map(|row| [row.grant, row.owner_copy]).collect();
        let complete = named.len() == self.attachments.len() && named.iter().all(|hash| self.attachments.contains_key(hash));
        signed(complete, "the attachments are not those that the access list names")?;
        Ok((rows, access))
    }
}

/// `signed` of them are what the head says, `max` is what any recovery takes.
fn bounded(found: usize, signed: usize, max: usize, what: &'static str) -> Result<(), RecoveryError> {
    match found {
        _ if found > max => Err(RecoveryError::TooLarge(what)),
        _ if found > signed => Err(RecoveryError::AnotherHead),
        _ => Ok(()),
    }
}

fn signed(holds: bool, otherwise: &'static str) -> Result<(), RecoveryError> {
    if holds { Ok(()) } else { Err(RecoveryError::NotSigned(otherwise)) }
}

/// A newer version is nobody's lie. [P-20]
fn undecodable(error: DecodeError) -> RecoveryError {
    match error {
        DecodeError::TooNew { object, .. } => RecoveryError::TooNew(object.to_owned()),
        _ => RecoveryError::NotSigned("something does not decode"),
    }
}
