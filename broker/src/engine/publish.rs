//! What can be said about a publish without looking at any store. [P-7]

use std::collections::HashSet;

use bytes::Bytes;
use tidings_core::access::AccessRow;
use tidings_core::entry::Entry;
use tidings_core::grant::attachment_hash;
use tidings_core::{DecodeError, Head, Object, QueueDescriptor, SignedHead};
use tidings_proto::frames::Publish;
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId, Refusal, RefusalCode, caps};

use crate::store::LiveRow;

/// A publish within its caps, whose objects parse, whose signature verifies and which agrees with itself.
///
/// Says nothing yet about the queue it is for; [`super::QueueState::apply`] does.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(super) descriptor: Bytes,
    pub(super) head: SignedHead,
    pub(super) entries: Vec<(LiveRow, Bytes)>,
    pub(super) purged: Vec<Offset>,
    pub(super) access_put: Vec<(AccessRow, Bytes)>,
    pub(super) access_removed: Vec<Pseudonym>,
    pub(super) attachments: Vec<(ContentHash, Bytes)>,
}

impl Checked {
    /// The queue it is for.
    pub fn queue(&self) -> QueueId {
        self.head.head().queue
    }

    /// Its head; the signature was verified.
    pub fn head(&self) -> &SignedHead {
        &self.head
    }

    /// Bytes of entries and attachments: what a group commit is bounded by.
    pub fn size(&self) -> usize {
        let entries = self.entries.iter().map(|(_, bytes)| bytes.len());
        entries.chain(self.attachments.iter().map(|(_, bytes)| bytes.len())).sum::<usize>() + self.head.bytes().len()
    }

    /// Offset of the head that this one continues: offsets are dense. [P-2]
    pub(super) fn previous_offset(&self) -> Offset {
        Offset::new(self.head.head().offset.value() - self.entries.len() as u64)
    }

    /// Whether rows or attachments come with it.
    pub(super) fn touches_access(&self) -> bool {
        !(self.access_put.is_empty() && self.access_removed.is_empty() && self.attachments.is_empty())
    }
}

/// Checks everything about a publish that needs no store, cheap before dear: caps, structure, agreement, signature, hashes. [P-19]
///
/// Pure and safe to run on any thread. `descriptor` is the one the stream was opened with.
///
/// # Errors
/// `TooLarge`, `Malformed`, `TooNew`, `Invalid` or `BadSignature`. Nothing changed.
pub fn check(descriptor: &QueueDescriptor, publish: Publish) -> Result<Checked, Refusal> {
    check_caps(&publish)?;
    let head = SignedHead::parse(publish.head).map_err(undecodable)?;
    if head.head().queue != descriptor.id() {
        return Err(invalid("the head is of another queue than the stream"));
    }
    let entries = publish.entries.iter().map(|bytes| Entry::decode(bytes).map_err(undecodable)).collect::<Result<Vec<_>, _>>()?;
    check_entries(head.head(), &entries)?;
    check_floor(head.head(), entries.len(), &publish.purged)?;
    let access_put = parse_rows(publish.access_put)?;
    check_access(head.head(), &access_put, &publish.access_removed)?;
    head.verify(&descriptor.signing_key)
        .map_err(|_| Refusal::new(RefusalCode::BadSignature, "the head is not signed by the queue's key"))?;
    if Head::purged_hash(&publish.purged) != head.head().purged {
        return Err(invalid("the purged offsets are not those the head signs"));
    }
    Ok(Checked {
        descriptor: descriptor.encode().into(),
        entries: live_rows(&entries, publish.entries, &head.head().queue),
        head,
        purged: publish.purged,
        access_put,
        access_removed: publish.access_removed,
        attachments: name_attachments(publish.attachments)?,
    })
}

/// [P-19] Nothing is parsed, let alone hashed, before its size is known to be small.
fn check_caps(publish: &Publish) -> Result<(), Refusal> {
    let longest = |items: &[Bytes]| items.iter().map(Bytes::len).max().unwrap_or(0);
    let sum = |items: &[Bytes]| items.iter().map(Bytes::len).sum::<usize>();
    let caps = [
        ("bytes of the head", publish.head.len(), caps::HEAD_BYTES_MAX),
        ("entries", publish.entries.len(), caps::PUBLISH_ENTRIES_MAX),
        ("bytes of one entry", longest(&publish.entries), caps::ENTRY_BYTES_MAX),
        ("bytes of all entries", sum(&publish.entries), caps::PUBLISH_BYTES_MAX),
        ("purged offsets", publish.purged.len(), caps::PUBLISH_PURGED_MAX),
        ("access rows", publish.access_put.len().saturating_add(publish.access_removed.len()), caps::PUBLISH_ACCESS_MAX),
        ("bytes of one access row", longest(&publish.access_put), caps::ACCESS_ROW_BYTES_MAX),
        ("attachments", publish.attachments.len(), 2 * caps::PUBLISH_ACCESS_MAX),
        ("bytes of one attachment", longest(&publish.attachments), caps::ATTACHMENT_BYTES_MAX),
        ("bytes of all attachments", sum(&publish.attachments), caps::PUBLISH_ATTACHMENT_BYTES_MAX),
    ];
    match caps.iter().find(|(_, found, cap)| found > cap) {
        Some((what, found, cap)) => Err(Refusal::new(RefusalCode::TooLarge, format!("{what}: {found}, at most {cap} are taken"))),
        None => Ok(()),
    }
}

/// Entries are dense up to the head's offset, of its term and epoch, one for each record. [P-2] [P-3]
fn check_entries(head: &Head, entries: &[Entry]) -> Result<(), Refusal> {
    let previous = head.offset.value().checked_sub(entries.len() as u64).ok_or_else(|| invalid("more entries than offsets"))?;
    let mut births = HashSet::with_capacity(entries.len());
    for (entry, before) in entries.iter().zip(previous..) {
        if entry.offset.value() != before + 1 {
            return Err(invalid("the entries are not those up to the head's offset, one after the other"));
        }
        if entry.term != head.term {
            return Err(invalid("an entry is of another term than the head"));
        }
        // [P-17] Nothing sealed before a revocation leaves after it: the head names the epoch that holds now.
        if entry.epoch != head.epoch {
            return Err(invalid("an entry is sealed under another epoch than the head's"));
        }
        if !is_birth(entry.birth, entry.offset, previous) || !births.insert(entry.birth) {
            return Err(invalid("a birth is neither the entry's own offset nor an older record's, or comes twice"));
        }
    }
    Ok(())
}

/// Its own offset, or that of an entry before this publish: within one publish nothing is born and replaced.
fn is_birth(birth: Birth, own: Offset, previous: u64) -> bool {
    birth.value() == own.value() || (1..=previous).contains(&birth.value())
}

/// [P-6] The floor stays at or below the previous head's offset, and all that is purged at or below the floor.
fn check_floor(head: &Head, entries: usize, purged: &[Offset]) -> Result<(), Refusal> {
    if head.floor.value() > head.offset.value() - entries as u64 {
        return Err(invalid("the floor is above the previous head's offset"));
    }
    if !purged.is_sorted_by(|a, b| a < b) {
        return Err(malformed("the purged offsets do not ascend"));
    }
    match purged.last() {
        Some(last) if *last > head.floor => Err(invalid("an offset above the floor is purged")),
        _ => Ok(()),
    }
}

fn parse_rows(rows: Vec<Bytes>) -> Result<Vec<(AccessRow, Bytes)>, Refusal> {
    rows.into_iter().map(|bytes| Ok((AccessRow::decode(&bytes).map_err(undecodable)?, bytes))).collect()
}

fn check_access(head: &Head, put: &[(AccessRow, Bytes)], removed: &[Pseudonym]) -> Result<(), Refusal> {
    if !put.is_sorted_by(|(a, _), (b, _)| a.pseudonym < b.pseudonym) || !removed.is_sorted_by(|a, b| a < b) {
        return Err(malformed("the access rows do not ascend by pseudonym"));
    }
    if put.iter().any(|(row, _)| removed.binary_search(&row.pseudonym).is_ok()) {
        return Err(invalid("an access row is both put and removed"));
    }
    match usize::try_from(head.access_count) {
        Ok(readers) if readers <= caps::READERS_MAX => Ok(()),
        _ => Err(Refusal::new(RefusalCode::TooLarge, format!("at most {} readers are taken", caps::READERS_MAX))),
    }
}

fn live_rows(entries: &[Entry], encoded: Vec<Bytes>, queue: &QueueId) -> Vec<(LiveRow, Bytes)> {
    let row = |entry: &Entry, bytes: &Bytes| LiveRow {
        offset: entry.offset,
        birth: entry.birth,
        digest: Entry::digest_of(bytes, queue),
        // At most ENTRY_BYTES_MAX, checked above.
        bytes: bytes.len() as u32,
    };
    entries.iter().zip(encoded).map(|(entry, bytes)| (row(entry, &bytes), bytes)).collect()
}

fn name_attachments(attachments: Vec<Bytes>) -> Result<Vec<(ContentHash, Bytes)>, Refusal> {
    let named: Vec<_> = attachments.into_iter().map(|bytes| (attachment_hash(&bytes), bytes)).collect();
    let distinct: HashSet<_> = named.iter().map(|(hash, _)| *hash).collect();
    if distinct.len() < named.len() { Err(malformed("an attachment comes twice")) } else { Ok(named) }
}

/// [P-20] A newer version is told apart from nonsense.
pub(super) fn undecodable(error: DecodeError) -> Refusal {
    let code = if matches!(error, DecodeError::TooNew { .. }) { RefusalCode::TooNew } else { RefusalCode::Malformed };
    Refusal::new(code, error.to_string())
}

fn malformed(detail: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, detail)
}

fn invalid(detail: &str) -> Refusal {
    Refusal::new(RefusalCode::Invalid, detail)
}

#[cfg(test)]
mod tests;
