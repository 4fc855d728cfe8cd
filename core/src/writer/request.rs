//! What goes into a publish and what comes out.

use bytes::Bytes;
use tidings_proto::caps::PUBLISH_PURGED_MAX;
use tidings_proto::frames::Publish;
use tidings_proto::{Birth, EntryDigest, Epoch, Offset, Pseudonym, Timestamp};

use super::access::{AccessChange, Granted};
use crate::access::OwnerCopyError;
use crate::grant::GrantError;
use crate::head::SignedHead;
use crate::mutation::Mutation;
use crate::path::RecordPath;
use crate::seal::SealError;
use crate::version::Version;

/// What the owner keeps of each live record, tombstones included. The caller stores it, one for each path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRecord {
    /// The record.
    pub path: RecordPath,
    /// Its pseudonym in the queue.
    pub birth: Birth,
    /// Offset of its live entry.
    pub offset: Offset,
    /// Digest of its live entry.
    pub digest: EntryDigest,
    /// Epoch its live entry is sealed under.
    pub epoch: Epoch,
    /// Version of its live entry.
    pub version: Version,
    /// The live entry is a delete.
    pub tombstone: bool,
    /// When the live entry was signed.
    pub signed_at: Timestamp,
}

/// A mutation and the live record of its path, if there is one.
///
/// A mutation with the version of that record is the same one again: it gets a new entry under the current epoch, and keeps
/// operation and time, so that epochs can be emptied. [P-17]
#[derive(Clone, Debug)]
pub struct Draft {
    /// What happens. Whether a write is a create or an update is settled here from `prior`, not by the caller.
    pub mutation: Mutation,
    /// The live record of that path, a tombstone included.
    pub prior: Option<OwnRecord>,
}

/// A raise of the floor. [P-6]
#[derive(Clone, Debug, Default)]
pub struct FloorStep {
    /// The new floor.
    pub floor: Offset,
    /// Every live tombstone at or below it.
    pub purged: Vec<OwnRecord>,
}

impl FloorStep {
    /// A step towards `target` that purges no more than a publish may name.
    ///
    /// `tombstones` are the live ones at or below `target`, ascending by offset; all of them, or the first
    /// [`PUBLISH_PURGED_MAX`] + 1.
    pub fn capped(target: Offset, mut tombstones: Vec<OwnRecord>) -> Self {
        let floor = match tombstones.get(PUBLISH_PURGED_MAX) {
            Some(beyond) => Offset::new(beyond.offset.value() - 1),
            None => target,
        };
        tombstones.truncate(PUBLISH_PURGED_MAX);
        Self { floor, purged: tombstones }
    }
}

/// One publish, before it is signed.
#[derive(Debug, Default)]
pub struct SignRequest {
    /// At most one for each path.
    pub changes: Vec<Draft>,
    /// Raise of the floor.
    pub floor: Option<FloorStep>,
    /// Change of access.
    pub access: AccessChange,
}

/// One signed publish. It is kept durably, byte for byte, until its receipt is there. [P-3]
#[derive(Clone, Debug)]
pub struct Signed {
    /// The head.
    pub head: SignedHead,
    /// The records that now live, with the encoded entries, ascending by offset.
    pub entries: Vec<(OwnRecord, Bytes)>,
    /// Offsets of purged tombstones, ascending.
    pub purged: Vec<Offset>,
    /// Births of purged tombstones: their records are gone.
    pub ended: Vec<Birth>,
    /// Encoded access rows added or replaced.
    pub access_put: Vec<Bytes>,
    /// Rows removed.
    pub access_removed: Vec<Pseudonym>,
    /// Grants and owner's copies that the rows name.
    pub attachments: Vec<Bytes>,
    /// Readers that were added, with their grants.
    pub granted: Vec<Granted>,
}

impl Signed {
    /// The frame that carries it.
    pub fn publish(&self) -> Publish {
        Publish {
            head: self.head.bytes().clone(),
            entries: self.entries.iter().map(|(_, bytes)| bytes.clone()).collect(),
            purged: self.purged.clone(),
            access_put: self.access_put.clone(),
            access_removed: self.access_removed.clone(),
            attachments: self.attachments.clone(),
        }
    }
}

/// Why nothing was signed. The writer is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriterError {
    /// One of the changes is too large for an entry.
    #[error("{path}: {source}")]
    Seal {
        /// The record.
        path: RecordPath,
        /// Why.
        source: SealError,
    },
    /// More changes, bytes, rows or purged offsets than one publish takes. Split the request.
    #[error("the publish has too many {0}; split it")]
    TooMany(&'static str),
    /// Two changes of one record in one publish. Conflate them. [P-3]
    #[error("{0}: two changes of one record in one publish")]
    Twice(RecordPath),
    /// A delete of a record that is not there.
    #[error("{0}: there is nothing to delete")]
    NothingToDelete(RecordPath),
    /// The request contradicts the writer's state: the caller's tables are damaged.
    #[error("the owner's records and its head contradict each other: {0}")]
    Inconsistent(&'static str),
    /// All places for epochs are taken by live entries of old epochs. Re-publish the oldest first.
    #[error("all 64 epochs have live entries")]
    EpochsFull,
    /// No room for another reader.
    #[error("the queue has as many readers as it may have")]
    ReadersFull,
    /// That card has a grant already.
    #[error("that node is a reader already")]
    AlreadyReader,
    /// No such reader.
    #[error("there is no such reader")]
    NoSuchReader,
    /// The newest head is a closed one: only a new term goes on.
    #[error("the queue is closed")]
    Closed,
    /// The newest head was found, not signed here: only a new term goes on. [P-4]
    #[error("the newest head was not signed by this writer")]
    NeedsTerm,
    /// A grant could not be sealed.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// An owner's copy could not be sealed.
    #[error(transparent)]
    OwnerCopy(#[from] OwnerCopyError),
}
