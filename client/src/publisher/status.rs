//! What an owner can see of its queue, its brokers and its readers.

use tidings_core::access::Rights;
use tidings_core::{Cursor, Did, Mutation, Receipt};
use tidings_proto::{BrokerAddress, HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Timestamp, VerifyingKey};

use super::owner::Owner;
use crate::state::LossRow;

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
    /// Not tried yet, or not in use because another one is.
    Idle,
    /// A connection is on its way.
    Connecting,
    /// It takes publishes.
    Connected,
    /// It cannot be reached.
    Unreachable,
    /// It answers, but refuses this owner or its publishes.
    Refused,
    /// It stands at a head of this node's key that this node never signed. Nothing is published there.
    UnknownHead,
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
            Self::UnknownHead => "stands at a head this node never signed",
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
