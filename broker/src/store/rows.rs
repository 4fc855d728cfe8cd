//! What goes into a store and comes out of it. Bytes that an owner or reader signed are kept verbatim.

use bytes::Bytes;
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, ContentHash, EntryDigest, HeadHash, HeadRank, Offset, Pseudonym, QueueId, Timestamp};

/// All that is kept once for each queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// Encoded queue descriptor.
    pub descriptor: Bytes,
    /// Signed head, verbatim.
    pub head: Bytes,
    /// State of the set hash over the live entries.
    pub live: Box<[u8; 2048]>,
    /// State of the set hash over the access rows.
    pub access: Box<[u8; 2048]>,
    /// Encoded frontier of the history; the leaf of `head` is in it.
    pub frontier: Bytes,
    /// Sum of the encoded live entries, bytes.
    pub live_bytes: u64,
    /// When this head was stored, by this broker's clock.
    pub since: Timestamp,
}

/// What is kept of a live entry beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRow {
    /// Its offset.
    pub offset: Offset,
    /// Pseudonym of its record.
    pub birth: Birth,
    /// Digest of the encoded entry.
    pub digest: EntryDigest,
    /// Length of the encoded entry, bytes.
    pub bytes: u32,
}

/// One publish as the engine decided it. What is removed goes first, then what is put stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The queue.
    pub queue: QueueId,
    /// Hash of the head it continues; `None`: the queue is new here.
    pub expected: Option<HeadHash>,
    /// The row afterwards.
    pub row: QueueRow,
    /// New live entries with their encoded bytes.
    pub entries: Vec<(LiveRow, Bytes)>,
    /// New live entries whose bytes were staged for this branch since this head stood and nothing was unstaged. [P-10]
    pub staged: Vec<LiveRow>,
    /// Whether the branch that stands goes whole, with its entries and its history, and what was staged as [`Branch::Next`] takes its
    /// place; then nothing is retired or ended one by one. Access list and attachments change as in every append. [P-10]
    pub replaces: bool,
    /// Rows that leave the live set, with their bytes.
    pub retired: Vec<LiveRow>,
    /// Births that end because their tombstone is purged.
    pub ended: Vec<Birth>,
    /// New hashes of the history.
    pub history: Vec<(NodeIndex, [u8; 32])>,
    /// Encoded access rows added or replaced.
    pub access_put: Vec<(Pseudonym, Bytes)>,
    /// Readers whose row goes, and with it their acknowledgement.
    pub access_removed: Vec<Pseudonym>,
    /// Attachments added.
    pub attachments_put: Vec<(ContentHash, Bytes)>,
    /// Attachments that no row names any more.
    pub attachments_removed: Vec<ContentHash>,
}

/// Where something is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// In the branch that stands, above its head and beyond its history.
    Standing,
    /// Beside it, in the branch that is to replace it: any offset, history from the start.
    Next,
}

/// What an append to come will name, put where no read looks. [P-10]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// The queue.
    pub queue: QueueId,
    /// Hash of the head that stands; `None`: the queue is new here.
    pub expected: Option<HeadHash>,
    /// Where it goes.
    pub branch: Branch,
    /// Encoded entries; in the branch that stands all above the offset of its head.
    pub entries: Vec<(Offset, Bytes)>,
    /// Subtrees; in the branch that stands those that reach beyond the history of its head.
    pub history: Vec<(NodeIndex, [u8; 32])>,
}

/// Live entries read at one head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Signed head of the snapshot, verbatim.
    pub head: Bytes,
    /// Encoded entries with their offsets, ascending.
    pub entries: Vec<(Offset, Bytes)>,
    /// Nothing is live above the last of these entries (or above where the scan began, if there are none).
    pub complete: bool,
}

/// How much one scan returns at most; one entry always fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimit {
    /// Entries.
    pub entries: usize,
    /// Sum of the encoded entries, bytes.
    pub bytes: usize,
}

impl ScanLimit {
    /// Takes from `live` what fits, and whether that was all.
    pub(super) fn take<E>(self, live: impl Iterator<Item = Result<(Offset, Bytes), E>>) -> Result<(Vec<(Offset, Bytes)>, bool), E> {
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        for entry in live {
            let (offset, entry) = entry?;
            bytes = bytes.saturating_add(entry.len());
            if !taken.is_empty() && (taken.len() >= self.entries || bytes > self.bytes) {
                return Ok((taken, false));
            }
            taken.push((offset, entry));
        }
        Ok((taken, true))
    }
}

/// A verified acknowledgement on its way to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The queue.
    pub queue: QueueId,
    /// The reader.
    pub reader: Pseudonym,
    /// Rank of the head it acknowledges.
    pub rank: HeadRank,
    /// The signed acknowledgement, verbatim.
    pub bytes: Bytes,
}
