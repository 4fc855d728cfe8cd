//! What an owner can see of its queue, its brokers and its readers.

use tidings_core::access::Rights;
use tidings_core::{Cursor, Did, Mutation, Receipt, RecordPath, WriterId};
use tidings_proto::{BrokerAddress, HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Term, Timestamp, VerifyingKey};

use super::compare::Conflict;
use super::owner::Owner;
use crate::state::{self, LossRow, MergeRow};

/// One look at the owner's side.
#[derive(Clone, Debug)]
pub struct OwnStatus {
    /// The queue.
    pub queue: QueueId,
    /// Rank of the newest signed head; 0.0 before the first.
    pub head: HeadRank,
    /// Its newest offset.
    pub offset: Offset,
    /// Live entries, tombstones among them.
    pub live_count: u64,
    /// No tombstone lives at or below this offset.
    pub floor: Offset,
    /// Records that wait in the outbox, unsigned.
    pub unsigned: u64,
    /// Signed publishes without a receipt.
    pub unreceipted: u64,
    /// Newest receipt of any broker.
    pub receipt: Option<Receipt>,
    /// The brokers, in the order of the configuration.
    pub brokers: Vec<BrokerStatus>,
    /// Brokers that stood below a head they had receipted, oldest first; the newest 64.
    pub losses: Vec<Loss>,
    /// Term of the newest head, or the one that the next head opens.
    pub term: Term,
    /// Random name of this incarnation of the writer.
    pub writer: WriterId,
    /// What keeps this node from signing; `None` if nothing does. [P-4]
    pub conflict: Option<Conflict>,
    /// Rescued values that wait for a person.
    pub rescued: u64,
    /// What merges of other branches came to, oldest first; the newest 100. [P-5]
    pub merged: Vec<Merge>,
    /// The last failure of this node itself, in words; empty if there was none. Nothing is signed after the state failed.
    pub error: String,
}

/// How far signing and receipts have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnMark {
    /// Rank of the newest signed head; 0.0 before the first.
    pub signed: HeadRank,
    /// The highest rank that a broker receipted; 0.0 before the first.
    pub receipted: HeadRank,
}

/// What names values of one record now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The write that waits unsigned.
    pub waiting: Option<Mutation>,
    /// The live signed entry, a tombstone included, with its offset.
    pub signed: Option<(Mutation, Offset)>,
    /// Number of the newest signed head; 0 before the first.
    pub head: HeadNumber,
    /// Number of the newest receipted head; 0 before the first.
    pub receipted: HeadNumber,
}

/// A broker that had less than it had receipted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Key of its receipts.
    pub broker: VerifyingKey,
    /// When that was seen, by this node's clock.
    pub time: Timestamp,
    /// The head it had receipted.
    pub receipted: HeadRank,
    /// The head it stood at; 0.0 if the queue was new to it.
    pub standing: HeadRank,
}

impl From<LossRow> for Loss {
    fn from(LossRow { broker, time, receipted, standing }: LossRow) -> Self {
        Self { broker, time, receipted, standing }
    }
}

/// What became of a branch of the own queue that was left. [P-5]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// When, by this node's clock.
    pub time: Timestamp,
    /// The broker, or the storage, that held the other branch.
    pub source: String,
    /// Number of the newest head that both branches have.
    pub fork: HeadNumber,
    /// The head that was gone on from.
    pub base: HeadRank,
    /// The head whose branch was left.
    pub tail: HeadRank,
    /// Values and deletes that are published again.
    pub published: u64,
    /// Values that wait for a person.
    pub rescued: u64,
    /// Records that were deleted on the tail.
    pub deleted: u64,
    /// Records that live and may have been deleted on the tail: what is left of the histories does not tell.
    pub doubtful: u64,
    /// The first 100 of them.
    pub doubtful_paths: Vec<RecordPath>,
    /// Readers whose access had ended on the tail.
    pub removed: Vec<MergedReader>,
    /// Readers that only the tail had: they have no access any more, and may be granted anew.
    pub unknown_readers: Vec<MergedReader>,
}

/// A reader that a merge concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedReader {
    /// What the owner calls it.
    pub name: String,
    /// Who it is.
    pub did: String,
}

impl From<MergeRow> for Merge {
    fn from(row: MergeRow) -> Self {
        let readers = |readers: Vec<state::MergedReader>| {
            readers.into_iter().map(|state::MergedReader { name, did }| MergedReader { name, did }).collect()
        };
        Self {
            time: row.time,
            source: row.source,
            fork: row.fork,
            base: row.base,
            tail: row.tail,
            published: row.published,
            rescued: row.rescued,
            deleted: row.deleted,
            doubtful: row.doubtful,
            doubtful_paths: row.doubtful_paths,
            removed: readers(row.removed),
            unknown_readers: readers(row.unknown),
        }
    }
}

/// How one broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerStatus {
    /// Where it is.
    pub address: BrokerAddress,
    /// How it is.
    pub state: BrokerState,
    /// The last error in words; empty if there was none.
    pub error: String,
    /// When that was seen, by this node's clock; 0 if it was not tried yet.
    pub as_of: Timestamp,
}

/// How a broker stands to what this node signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerState {
    /// Not tried yet.
    Idle,
    /// A connection is on its way.
    Connecting,
    /// It takes publishes.
    Connected,
    /// It cannot be reached.
    Unreachable,
    /// It answers, but refuses this owner or its publishes.
    Refused,
    /// What it holds is to be compared with what this node signed.
    Comparing,
    /// It holds a branch that this node does not have: everything there is being read.
    Recovering,
    /// It stands at a head of another writer with this node's key. Nothing is signed before a person decides.
    Conflict,
    /// It was left: it has the closed head.
    Closed,
    /// It is being brought to the newest head in one step; publishes follow.
    Transferring,
    /// It stands below what this node keeps for sending and refuses the transfer that would bring it on.
    NeedsTransfer,
    /// It sent something that is not of the protocol, or a receipt for something else.
    Broken,
}

impl BrokerState {
    /// The words in listings.
    pub fn words(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Comparing => "is being compared",
            Self::Recovering => "is being read back",
            Self::Conflict => "stands at a head of another writer",
            Self::Closed => "closed",
            Self::Transferring => "is being refilled",
            Self::NeedsTransfer => "needs a transfer and refuses it",
            Self::Broken => "does not keep to the protocol",
        }
    }
}

/// One reader of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderStatus {
    /// What the owner calls it; empty for the owner itself.
    pub name: String,
    /// Who it is.
    pub did: Did,
    /// What the broker knows it by.
    pub pseudonym: Pseudonym,
    /// The owner itself, which is one of its readers.
    pub owner: bool,
    /// The last verified acknowledgement of a head of this queue.
    pub acknowledged: Option<Cursor>,
    /// Offsets between that and the newest one.
    pub lag: u64,
}

/// The readers with what is known of them.
pub(super) fn readers(owner: &Owner) -> Vec<ReaderStatus> {
    let newest = owner.writer.head().map_or(Offset::ZERO, |head| head.head().offset);
    let acknowledged = owner.acknowledged();
    let status = |reader: &tidings_core::writer::GrantedReader| {
        let cursor = acknowledged.get(&reader.row.pseudonym).copied();
        let owner = reader.row.rights == Rights::Owner;
        let seen = cursor.map_or(Offset::ZERO, |cursor| cursor.offset);
        ReaderStatus {
            name: reader.copy.name.clone(),
            did: reader.copy.card.did(),
            pseudonym: reader.row.pseudonym,
            owner,
            acknowledged: cursor,
            lag: if owner { 0 } else { newest.value().saturating_sub(seen.value()) },
        }
    };
    owner.writer.readers().iter().map(status).collect()
}
