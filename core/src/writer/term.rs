//! New terms: how a writer goes on where it may not go on in the term of its newest head. [P-4]

use tidings_proto::caps::HEAD_EPOCHS_MAX;
use tidings_proto::{Epoch, Term};

use super::access::Reader;
use super::sign::is_again;
use super::{EpochInUse, SignRequest, Writer, WriterError};
use crate::cursor::Cursor;
use crate::entropy::Entropy;
use crate::epoch::EpochSecret;
use crate::head::{QueueState, SignedHead, WriterId};
use crate::history::Frontier;
use crate::queue::QueueDescriptor;
use crate::set_hash::SetHash;
use crate::version::Version;

/// How a new term begins. [P-4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTerm {
    /// Under which name.
    pub writer: WriterName,
    /// Under which epoch and grants.
    pub keys: TermKeys,
}

impl NewTerm {
    /// On the writer's own newest head: everything is kept.
    pub const ON_OWN_HEAD: Self = Self { writer: WriterName::Kept, keys: TermKeys::Kept };

    /// On a head that was found, or with a merge: a new name, and an epoch above `seen`, the highest of any branch.
    pub const fn on_found_head(seen: Epoch) -> Self {
        Self { writer: WriterName::New, keys: TermKeys::New { seen } }
    }
}

/// Whether the writer goes on under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterName {
    /// It merely could not compare, or merges into its own state.
    Kept,
    /// Its state was copied, put back or rebuilt.
    New,
}

/// Whether a term keeps epoch and grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermKeys {
    /// The term goes on from the writer's own newest head.
    Kept,
    /// Another base, or a merge: a new epoch above `seen` and above all of the writer's, by a random step, since another branch may
    /// have given the next numbers to other secrets.
    New {
        /// The highest epoch of any branch; the writer's own count by themselves.
        seen: Epoch,
    },
}

/// How a writer stands to the term of its newest head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It goes on in it.
    Going,
    /// It opened a later one and signed nothing in it.
    Open,
    /// The head was found, not signed here: its successor may be signed already by somebody else.
    Found,
}

/// What a recovered queue says of its writer.
pub(crate) struct Found {
    pub(crate) descriptor: QueueDescriptor,
    pub(crate) head: SignedHead,
    /// With the head itself as last leaf.
    pub(crate) frontier: Frontier,
    pub(crate) live: SetHash,
    pub(crate) access: SetHash,
    /// The epochs that the head lists, ascending, and how many live entries each has.
    pub(crate) epochs: Vec<(EpochSecret, u64)>,
    /// Ascending by pseudonym.
    pub(crate) readers: Vec<Reader>,
}

impl Writer {
    /// Opens a new term above `seen`, the highest term seen anywhere (the writer's own counts by itself), by a random step of 1 to
    /// 2^32. The next head names the newest one as its base. Nothing is signed yet; an open term may be opened again.
    ///
    /// With [`TermKeys::New`] the first publish carries the new epoch and every grant, also together with removals, as a revocation
    /// does; its [`AccessChange::locator`](super::AccessChange::locator) is that of all grants. Where live entries take all 64 places
    /// of epochs ([`Self::epoch_fits`] is false), publishes that only sign mutations again or raise the floor come first, under the
    /// epoch there is, until there is a place: who was removed elsewhere could read those before. [P-17]
    ///
    /// A writer that was recovered always gets a new name and new keys.
    ///
    /// # Errors
    /// [`WriterError::Inconsistent`] at the end of the range of terms; nothing changed.
    pub fn open_term(&mut self, seen: Term, how: NewTerm, entropy: &mut Entropy) -> Result<(), WriterError> {
        let term = step_above(self.term.max(seen).value(), entropy).ok_or(WriterError::Inconsistent("terms are used up"))?;
        let found = self.standing == Standing::Found;
        if found || how.writer == WriterName::New {
            self.writer = WriterId(entropy.bytes());
        }
        self.keys_due = match how.keys {
            TermKeys::New { seen } => self.keys_due.max(Some(seen)),
            // What a merge owes is owed until it is signed.
            TermKeys::Kept => self.keys_due.or(found.then_some(Epoch::ZERO)),
        };
        self.term = Term::new(term);
        self.standing = Standing::Open;
        Ok(())
    }

    /// The floor version rises to `version`, if that is later: that of a branch that was merged, or of a delete that the merge dropped, so
    /// that what was deleted there does not come back from a third branch. The next head says it. [P-5]
    pub fn raise_floor_version(&mut self, version: Version) {
        self.floor_version = self.floor_version.max(version);
    }

    /// Name of this incarnation of the writer.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    /// Term of the newest head, or the one that was opened and in which nothing is signed yet.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Whether a term was opened in which nothing is signed yet.
    pub fn term_is_open(&self) -> bool {
        self.standing == Standing::Open
    }

    /// Whether the term's new epoch is still to come, with all grants.
    pub fn keys_are_due(&self) -> bool {
        self.keys_due.is_some()
    }

    /// Whether a new epoch finds a place: live entries are of less than 64.
    pub fn epoch_fits(&self) -> bool {
        self.epochs.iter().filter(|used| used.live > 0).count() < HEAD_EPOCHS_MAX
    }

    /// Whether this publish only makes room for the epoch that is due.
    pub(super) fn makes_room(&self, request: &SignRequest) -> bool {
        let SignRequest { changes, floor, access } = request;
        let access_stays = access.add.is_empty() && access.remove.is_empty() && !access.rotate;
        let again = changes.iter().all(|draft| is_again(&draft.mutation, draft.prior.as_ref()));
        self.keys_are_due() && !self.epoch_fits() && access_stays && again && (!changes.is_empty() || floor.is_some())
    }

    /// [P-3] No second head of a rank, none behind a closed one.
    pub(super) fn may_sign(&self) -> Result<(), WriterError> {
        let closed = self.head.as_ref().is_some_and(|head| head.head().state == QueueState::Closed);
        match self.standing {
            Standing::Found => Err(WriterError::NeedsTerm),
            Standing::Going if closed => Err(WriterError::Closed),
            Standing::Going | Standing::Open => Ok(()),
        }
    }

    /// Head that the term of the next head goes on from.
    pub(super) fn base(&self) -> Cursor {
        let start = Cursor::start(&self.queue);
        let head = self.head.as_ref();
        if self.standing == Standing::Going { head.map_or(start, |head| head.head().base) } else { head.map_or(start, SignedHead::cursor) }
    }

    /// Number of the epoch that begins now.
    pub(super) fn next_epoch(&mut self, entropy: &mut Entropy) -> Result<Epoch, WriterError> {
        let current = self.current_epoch();
        let next = match self.keys_due.take() {
            Some(seen) => step_above(current.max(seen).value(), entropy).map(Epoch::new),
            None => current.next(),
        };
        next.ok_or(WriterError::EpochsFull)
    }

    /// The writer at a head that was found: only a new term goes on.
    pub(crate) fn found(found: Found) -> Self {
        let head = found.head.head();
        Self {
            queue: head.queue,
            writer: head.writer,
            term: head.term,
            floor_version: head.floor_version,
            live_count: head.live_count,
            descriptor: found.descriptor,
            live: found.live,
            access: found.access,
            frontier: found.frontier,
            epochs: found.epochs.into_iter().map(|(secret, live)| EpochInUse { secret, live }).collect(),
            readers: found.readers.into(),
            standing: Standing::Found,
            keys_due: None,
            head: Some(found.head),
        }
    }
}

/// `number` plus a random step of 1 to 2^32. Two writers that do not know of each other do not take the same one.
fn step_above(number: u64, entropy: &mut Entropy) -> Option<u64> {
    number.checked_add(1 + u64::from(u32::from_be_bytes(entropy.bytes())))
}
