//! The owner's side of a queue: turns changes into signed publishes.
//!
//! A pure state machine. The caller keeps [`OwnRecord`]s and the encoded [`Writer`] in one durable store and commits both,
//! with the signed bytes, in one transaction *before* a byte leaves [P-3]. A [`Writer`] whose transaction failed is thrown
//! away and decoded again from the durable row.

mod access;
mod request;
mod sign;
mod state;
mod term;

pub use access::{AccessChange, Granted, Invitee, Reader as GrantedReader};
pub use request::{Draft, FloorStep, OwnRecord, SignRequest, Signed, WriterError};
pub(crate) use term::Found;
pub use term::{NewTerm, TermKeys, WriterName};

use std::sync::Arc;

use tidings_proto::{Birth, Epoch, QueueId, Term};

use crate::entropy::Entropy;
use crate::epoch::EpochSecret;
use crate::head::{SignedHead, WriterId};
use crate::history::Frontier;
use crate::key::NodeKey;
use crate::queue::QueueDescriptor;
use crate::set_hash::{SetHash, SetKind};
use crate::version::Version;
use term::Standing;

/// State of one queue at its owner: the newest signed head and what the next one is computed from.
///
/// Holds secrets (epoch secrets and pseudonym seeds); its encoding is to be kept as private as the node key.
#[derive(Clone, Debug)]
pub struct Writer {
    descriptor: QueueDescriptor,
    queue: QueueId,
    writer: WriterId,
    term: Term,
    head: Option<SignedHead>,
    floor_version: Version,
    live: SetHash,
    live_count: u64,
    access: SetHash,
    frontier: Frontier,
    epochs: Vec<EpochInUse>,
    readers: Arc<Vec<access::Reader>>,
    standing: Standing,
    /// A new epoch above this one is to come, with all grants.
    keys_due: Option<Epoch>,
}

/// An epoch secret and how many live entries are sealed under it.
#[derive(Clone, Debug)]
struct EpochInUse {
    secret: EpochSecret,
    live: u64,
}

impl Writer {
    /// The writer of a node's default queue, before its first head: term 1, epoch 1, no entries.
    ///
    /// The first [`Writer::sign`] also carries the owner's own access row and grant: the owner is one of its readers.
    pub fn create(key: &NodeKey, entropy: &mut Entropy) -> Self {
        let descriptor = key.default_queue();
        let queue = descriptor.id();
        let (frontier, _) = Frontier::start(&queue);
        Self {
            descriptor,
            queue,
            writer: WriterId(entropy.bytes()),
            term: Term::new(1),
            head: None,
            floor_version: Version::ZERO,
            live: SetHash::new(SetKind::Live),
            live_count: 0,
            access: SetHash::new(SetKind::Access),
            frontier,
            epochs: vec![EpochInUse { secret: EpochSecret::new(Epoch::new(1), entropy), live: 0 }],
            readers: Arc::new(Vec::new()),
            standing: Standing::Going,
            keys_due: None,
        }
    }

    /// What the queue id is the hash of.
    pub fn descriptor(&self) -> &QueueDescriptor {
        &self.descriptor
    }

    /// The queue this writes.
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// The newest signed head; `None` before the first.
    pub fn head(&self) -> Option<&SignedHead> {
        self.head.as_ref()
    }

    /// Number of live entries, tombstones included.
    pub fn live_count(&self) -> u64 {
        self.live_count
    }

    /// The readers of this queue, the owner among them, ascending by pseudonym.
    pub fn readers(&self) -> &[access::Reader] {
        &self.readers
    }

    /// The newest of the epochs that have to be emptied until no more than `keep` (at least 1) have live entries. `None` if none
    /// has to: records up to this epoch are to be signed again. [P-17]
    pub fn crowded_through(&self, keep: usize) -> Option<Epoch> {
        let current = self.current_epoch();
        let used: Vec<Epoch> = self.epochs.iter().filter(|used| used.live > 0).map(|used| used.secret.epoch).collect();
        let beyond = used.len().checked_sub(keep.max(1) + 1)?;
        used.get(beyond).copied().filter(|epoch| *epoch < current)
    }

    /// The secret that new entries are sealed under.
    fn current(&self) -> &EpochSecret {
        &self.epochs.last().expect("a writer has an epoch from its creation on").secret
    }

    /// An entry of `epoch` left the live set.
    fn release(&mut self, epoch: Epoch) -> Result<(), WriterError> {
        let used = self.epochs.iter_mut().find(|used| used.secret.epoch == epoch);
        let used = used.ok_or(WriterError::Inconsistent("a live record is of an epoch that has no live entries"))?;
        used.live = used.live.checked_sub(1).ok_or(WriterError::Inconsistent("an epoch has fewer live entries than records"))?;
        Ok(())
    }
}

/// The birth of a new record: the offset of its first entry.
fn birth_at(offset: tidings_proto::Offset) -> Birth {
    Birth::new(offset.value())
}

#[cfg(test)]
mod tests;
