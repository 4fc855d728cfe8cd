//! The reader's side of a queue: applies deltas to the set it holds and accepts a result only if the owner signed it.
//!
//! A pure state machine over a [`ReaderStore`]. Each call belongs into one transaction of the caller: what the call wrote to
//! the store and the encoded [`Reader`] are committed together, or neither is. An interrupted catch-up goes on from what was
//! staged. Nothing reaches the application before the set it belongs to was verified [P-11, P-15].

mod accuse;
mod announce;
mod attempt;
mod bitmap;
mod change;
mod chunk;
mod denied;
mod fault;
mod memory;
mod pulse;
mod reopen;
mod rewind;
mod settle;
mod state;
mod store;
mod verdict;

pub use change::{Change, ChangeKind, Handed};
pub use fault::Fault;
pub use memory::MemoryReaderStore;
pub use pulse::{PULSE_FUTURE_MAX, PulseTaken};
pub use rewind::{REWOUND_GONE_MAX, Rewound};
pub use store::{HeldKind, HeldRow, ReaderStore, StagedRow};
pub use verdict::{EVIDENCE_ENTRIES_MAX, Evidence, Finding, Verdict};

use bytes::Bytes;
use tidings_proto::frames::Subscribe;
use tidings_proto::{ContentHash, HeadRank, Offset, Pseudonym, QueueId, Timestamp};

use crate::acknowledgement::Acknowledgement;
use crate::cursor::Cursor;
use crate::epoch::EpochSecret;
use crate::grant::{Grant, GrantError, attachment_hash};
use crate::head::SignedHead;
use crate::key::NodeKey;
use crate::pseudonym::PseudonymKey;
use crate::queue::QueueDescriptor;
use crate::set_hash::{SetHash, SetKind};
use attempt::Attempt;
use pulse::LastPulse;

/// One follow of one queue: the set held at the last verified head, and the delta on its way.
#[derive(Clone, Debug)]
pub struct Reader {
    descriptor: QueueDescriptor,
    queue: QueueId,
    seed: zeroize::Zeroizing<[u8; 32]>,
    grant: ContentHash,
    secrets: Vec<EpochSecret>,
    locator: String,
    cursor: Cursor,
    head: Option<SignedHead>,
    live: SetHash,
    live_count: u64,
    staging: Staging,
    /// The held set was set aside and is read again from zero.
    rebuilding: bool,
    /// The verified head from before the held set was set aside: what is read again must descend from it, or be of a higher term. [P-14]
    ancestor: Option<SignedHead>,
    /// A head of a higher term was seen that does not descend from the ancestor: such a branch is read. [P-14]
    rewinding: bool,
    /// The set aside is not all that the application saw: rows of it were damaged.
    damaged: bool,
    pulse: Option<LastPulse>,
    /// A broker contradicted itself once; the next contradiction from it is a verdict.
    suspect: Option<String>,
    attempt: Option<Attempt>,
}

/// What is known about staged entries beyond the rows in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Staging {
    /// Entries up to here are staged (or known not to live).
    position: Offset,
    /// Highest head rank seen on any connection, verified or not yet.
    stamp: HeadRank,
    /// Lowest floor of the first heads of connections that contributed; counts while nothing is held. [P-12]
    floor: Option<Offset>,
}

/// What to do after a frame was taken.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Read on.
    Continue,
    /// Send `AskBitmap`, then read on.
    AskBitmap,
    /// A head was verified; its changes are in the store. Commit, hand out, then acknowledge.
    Accepted(Accepted),
    /// This broker lags behind what was seen. No lie, no progress: try another one, or later. [P-13]
    Behind,
    /// Subscribe again at this broker; staging was dropped. Not yet an accusation. [P-14]
    Restart(Fault),
    /// The reader's own state did not match its own head. It reads again from zero; nobody is accused. [P-14]
    LocalDamage,
    /// A verdict with its evidence. End the subscription. After [`Verdict::Rewound`] subscribe again: the other branch is read from zero.
    Verdict(Box<Finding>),
}

/// What another invitation is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invited {
    /// It was given out at the newest head known here or later: its grant is taken.
    Anew,
    /// It is of before, and of the same access: what it says of places may be as old.
    Before,
    /// It is of before, and of another access: that may have ended since.
    Elsewise,
}

/// How far a delta has come; see [`Reader::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    cursor: Cursor,
    announced: Option<HeadRank>,
    position: Offset,
    bitmap: Option<Offset>,
}

/// A verified delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The head now held.
    pub cursor: Cursor,
    /// When the owner signed it, by the owner's clock.
    pub signed_at: Timestamp,
    /// It is not older than the head announced when this connection subscribed.
    pub caught_up: bool,
    /// Entries that the delta carried.
    pub entries: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// Records whose state changed for the application.
    pub changes: u64,
    /// The head does not descend from the one that was held: what became of that.
    pub rewound: Option<Rewound>,
    /// It is the last head of a broker that the owner leaves: another one has the queue. [P-13]
    pub closed: bool,
}

impl Reader {
    /// A new follow, from the grant of an invitation. Holds nothing yet.
    ///
    /// The grant's floor head is the oldest head this reader will accept.
    pub fn join(descriptor: QueueDescriptor, grant: &[u8], key: &NodeKey) -> Result<Self, GrantError> {
        let queue = descriptor.id();
        let opened = Grant::open(grant, key, &descriptor)?;
        let mut reader = Self {
            descriptor,
            queue,
            seed: zeroize::Zeroizing::new(opened.seed),
            grant: attachment_hash(grant),
            secrets: Vec::new(),
            locator: String::new(),
            cursor: Cursor::start(&queue),
            head: None,
            live: SetHash::new(SetKind::Live),
            live_count: 0,
            staging: Staging::default(),
            rebuilding: false,
            ancestor: None,
            rewinding: false,
            damaged: false,
            pulse: None,
            suspect: None,
            attempt: None,
        };
        reader.take_grant(&opened);
        Ok(reader)
    }

    /// Takes the grant of another invitation to the same queue, unless it is older than what is known here: an old one would bring back
    /// places that the owner left, or access that has ended. What is held stays, also where the owner knows this reader by another
    /// pseudonym since.
    ///
    /// # Errors
    /// The grant does not open; nothing changed.
    pub fn join_again(&mut self, grant: &[u8], key: &NodeKey) -> Result<Invited, GrantError> {
        let opened = Grant::open(grant, key, &self.descriptor)?;
        let given_out = self.floor_of(&opened).map_or(HeadRank::default(), |head| head.rank());
        if given_out < self.cursor.rank.max(self.staging.stamp) {
            return Ok(if opened.seed == *self.seed { Invited::Before } else { Invited::Elsewise });
        }
        self.seed = zeroize::Zeroizing::new(opened.seed);
        self.grant = attachment_hash(grant);
        self.attempt = None;
        self.take_grant(&opened);
        Ok(Invited::Anew)
    }

    /// Begins a subscription at `broker` (a name for messages): what to send. Forgets the connection before.
    pub fn begin<S: ReaderStore>(&mut self, broker: &str, store: &mut S) -> Result<Subscribe, S::Error> {
        // The second reading of a suspect rests on what it alone sends. [P-14]
        if self.suspect.as_deref() == Some(broker) && self.staging.position > self.cursor.offset {
            self.drop_staging(store)?;
        }
        let base = self.ancestor.as_ref().map_or(self.cursor, SignedHead::cursor);
        self.attempt = Some(Attempt::new(broker, base));
        Ok(Subscribe {
            queue: self.queue,
            reader: self.pseudonym(),
            cursor: base.rank.number,
            position: self.staging.position,
            grant: Bytes::copy_from_slice(self.grant.bytes()),
        })
    }

    /// Takes a newer grant from the broker.
    pub fn on_grant<S: ReaderStore>(&mut self, grant: &[u8], key: &NodeKey, store: &mut S) -> Result<Step, S::Error> {
        match Grant::open(grant, key, &self.descriptor) {
            // An old one again: it would bring back secrets and a locator that are no longer the owner's.
            Ok(opened) if opened.seed == *self.seed && self.verified_epoch() > Some(opened.epoch) => Ok(Step::Continue),
            Ok(opened) if opened.seed == *self.seed => {
                self.grant = attachment_hash(grant);
                self.take_grant(&opened);
                Ok(Step::Continue)
            }
            Ok(_) => self.contradiction(Fault::Grant("it is another reader's"), store),
            Err(GrantError::TooNew) => Ok(self.too_new("grant")),
            Err(_) => self.contradiction(Fault::Grant("it does not open"), store),
        }
    }

    /// The signed acknowledgement of the last verified head. Send it after the application committed its changes. [P-15]
    pub fn acknowledgement(&self) -> Bytes {
        let body = Acknowledgement { queue: self.queue, reader: self.pseudonym(), cursor: self.cursor };
        body.sign(&self.pseudonym_key())
    }

    /// The key that subscriptions of this queue are proven with.
    pub fn pseudonym_key(&self) -> PseudonymKey {
        PseudonymKey::from_seed(&self.seed)
    }

    /// The name the broker knows this reader by.
    pub fn pseudonym(&self) -> Pseudonym {
        self.pseudonym_key().pseudonym()
    }

    /// The queue read.
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// What the queue id is the hash of.
    pub fn descriptor(&self) -> &QueueDescriptor {
        &self.descriptor
    }

    /// The last verified head's place; the start if there is none.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The last verified head.
    pub fn head(&self) -> Option<&SignedHead> {
        self.head.as_ref()
    }

    /// Where the owner says its storage is; empty if nowhere.
    pub fn locator(&self) -> &str {
        &self.locator
    }

    /// How far the delta on its way has come: what is staged up to, and the newest offset announced. For progress.
    pub fn progress(&self) -> Option<(Offset, Offset)> {
        let head = self.attempt.as_ref()?.head()?;
        Some((self.staging.position, head.head().offset))
    }

    /// Live entries announced by the connection's first head: the most a catch-up can carry.
    pub fn announced_count(&self) -> Option<u64> {
        self.attempt.as_ref()?.first().map(|head| head.head().live_count)
    }

    /// The newest head announced on this connection.
    pub fn announced(&self) -> Option<HeadRank> {
        self.attempt.as_ref()?.head().map(SignedHead::rank)
    }

    /// What is verified counts and not what is held: a grant of a branch that was given up could have brought higher epochs.
    fn verified_epoch(&self) -> Option<tidings_proto::Epoch> {
        self.head.as_ref().map(|head| head.head().epoch)
    }

    /// Whether the broker owes something: a first head, the entries of one that it announced, or a bitmap.
    pub fn awaits(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.head().is_none_or(|head| head.rank() > self.cursor.rank))
    }

    /// Changes with everything that brings a delta forward, and with nothing else.
    pub fn mark(&self) -> Mark {
        let attempt = self.attempt.as_ref();
        Mark {
            cursor: self.cursor,
            announced: attempt.and_then(|attempt| attempt.head()).map(SignedHead::rank),
            position: self.staging.position,
            bitmap: attempt.and_then(|attempt| attempt.bitmap_through()),
        }
    }

    /// The owner's newest head when it sealed the first grant of an invitation.
    fn floor_of(&self, grant: &Grant) -> Option<SignedHead> {
        let floor = SignedHead::parse(grant.floor_head.clone()).ok();
        floor.filter(|head| head.verify(&self.descriptor.signing_key).is_ok() && head.head().queue == self.queue)
    }

    fn take_grant(&mut self, grant: &Grant) {
        if let Some(head) = self.floor_of(grant) {
            self.staging.stamp = self.staging.stamp.max(head.rank());
        }
        // The newest grant replaces all but what a verified head commits to: in another branch another secret has the same epoch, and
        // a grant of a branch that was given up may have been sent again.
        let (queue, head) = (&self.queue, self.head.as_ref());
        self.secrets.retain(|secret| head.is_some_and(|head| head.head().commits_to(secret, queue)));
        for secret in &grant.secrets {
            if !self.secrets.iter().any(|known| known.epoch == secret.epoch) {
                self.secrets.push(secret.clone());
            }
        }
        self.secrets.sort_by_key(|secret| secret.epoch);
        self.locator.clone_from(&grant.locator);
    }
}
