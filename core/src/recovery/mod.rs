//! Recovery: from the parts that a broker or a storage holds of a queue to what its owner signed, and on to a writer's state. [P-5]
//!
//! Whoever gives the parts is not trusted: each is bounded when it comes, nothing is believed before the head that signs all of it, and
//! nothing is opened before that.

mod open;
mod take;

pub use open::{Opened, OpenedRecord};
pub use take::Recovery;

use std::collections::HashMap;

use bytes::Bytes;
use tidings_proto::{ContentHash, HeadHash, HeadNumber};

use crate::access::AccessRow;
use crate::entry::Entry;
use crate::head::SignedHead;
use crate::history::Frontier;
use crate::queue::QueueDescriptor;
use crate::set_hash::SetHash;

/// A queue as its owner signed it, whole. Sealed still.
#[derive(Clone, Debug)]
pub struct Recovered {
    descriptor: QueueDescriptor,
    head: SignedHead,
    /// Hashes of the heads before it, from number 1.
    history: Vec<[u8; 32]>,
    /// The queue id and these hashes.
    frontier: Frontier,
    live: SetHash,
    entries: Vec<(Entry, Bytes)>,
    access: SetHash,
    rows: Vec<AccessRow>,
    attachments: HashMap<ContentHash, Bytes>,
}

/// Why parts are not a queue, or why its owner cannot go on with it. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// What was given is not what the owner signed: another broker or storage may have it.
    #[error("what is held of the queue is not what its owner signed: {0}")]
    NotSigned(&'static str),
    /// It is more than the head signs that was shown before: whoever gives it went on since, or lies.
    #[error("more comes than is signed by the head that was shown")]
    AnotherHead,
    /// It is more than one recovery takes.
    #[error("the queue has more {0} than a recovery takes")]
    TooLarge(&'static str),
    /// Something is of a version that this build does not know: a newer one can go on. [P-20]
    #[error("this build is too old for: {0}")]
    TooNew(String),
    /// The owner's signature is right and the owner's key does not open it, or what it opens contradicts itself. No other broker has
    /// anything else at this head.
    #[error("the owner signed what it cannot open: {0}")]
    Unreadable(String),
    /// The key is not the one of this queue.
    #[error("the queue is another node's")]
    OtherOwner,
}

impl Recovered {
    /// The newest head.
    pub fn head(&self) -> &SignedHead {
        &self.head
    }

    /// Hash of head `number`, by which two histories are compared; `None` above the head. Number 0 is the start: the queue id.
    pub fn hash_of(&self, number: HeadNumber) -> Option<HeadHash> {
        let newest = self.head.rank().number;
        match number.value() {
            0 => Some(HeadHash::new(*self.head.head().queue.bytes())),
            _ if number == newest => Some(self.head.hash()),
            before => self.history.get(usize::try_from(before - 1).ok()?).map(|hash| HeadHash::new(*hash)),
        }
    }

    /// The live entries with their encodings, ascending by offset.
    pub fn entries(&self) -> &[(Entry, Bytes)] {
        &self.entries
    }

    /// The access list, ascending by pseudonym.
    pub fn rows(&self) -> &[AccessRow] {
        &self.rows
    }

    /// A grant or an owner's copy; every one that a row names is here.
    pub fn attachment(&self, hash: &ContentHash) -> Option<&Bytes> {
        self.attachments.get(hash)
    }
}
