//! Where a broker or a storage stands, compared by ancestry and not by number. [P-5]

mod archive;
mod outcome;

pub use archive::{Archive, ArchiveError, Archived};
pub(super) use archive::{ArchiveEvent, ArchiveWay};
pub use outcome::{Compared, Conflict, TakeOverError, TakenOver};

use bytes::Bytes;
use tidings_core::head::WriterId;
use tidings_core::{Cursor, SignedHead};
use tidings_proto::{HeadHash, Term, Timestamp};

use super::owner::Owner;
use crate::state::{OwnStep, OwnView, StateError};

/// Where somebody stands who can be brought on from there.
#[derive(Debug)]
pub(super) enum Standing {
    /// In the own history, or at the start.
    Known(Cursor),
    /// On a branch that was left behind, and whose values were merged.
    Merged(Box<SignedHead>),
}

/// What a comparison came to.
#[derive(Debug)]
pub(super) enum Comparison {
    Fits(Standing),
    /// Another branch of a writer that is known: everything there is asked for, and merged.
    Other(Box<SignedHead>),
    /// A head of this key that nobody here knows the writer of.
    Stranger(Stranger),
    /// Nothing that an owner ever signed.
    Broken(&'static str),
}

/// Who signed a head that this owner does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    pub(super) writer: WriterId,
    pub(super) term: Term,
    pub(super) cursor: Cursor,
}

impl Owner {
    /// Compares the head that somebody stands at, empty if none, with the own history.
    pub(super) fn compare(&mut self, standing: &Bytes) -> Result<Comparison, StateError> {
        if standing.is_empty() {
            return Ok(Comparison::Fits(Standing::Known(Cursor::start(&self.writer.queue()))));
        }
        let Ok(head) = SignedHead::parse(standing.clone()) else {
            return Ok(Comparison::Broken("the head it stands at does not decode"));
        };
        if head.verify(&self.key.verifying_key()).is_err() || head.head().queue != self.writer.queue() {
            return Ok(Comparison::Broken("the head it stands at is not of this owner"));
        }
        self.seen = self.seen.max(head.head().term);
        let (known, merged) = self.state.read(|transaction| {
            let view = OwnView(transaction);
            Ok((view.hash_of(head.rank().number)?, view.is_merged(&head.hash())?))
        })?;
        if known == Some(head.hash()) {
            return Ok(Comparison::Fits(Standing::Known(head.cursor())));
        }
        if merged {
            return Ok(Comparison::Fits(Standing::Merged(Box::new(head))));
        }
        match self.stranger(&head)? {
            Some(stranger) if self.restoring => {
                self.know(&[stranger])?;
                Ok(Comparison::Other(Box::new(head)))
            }
            Some(stranger) => Ok(Comparison::Stranger(stranger)),
            None => Ok(Comparison::Other(Box::new(head))),
        }
    }

    /// Whether a head that is not in the own history is of an unknown writer, or of one of this owner's although it did not sign it: a
    /// state that was lost, or a second machine with it. [P-4]
    fn stranger(&self, head: &SignedHead) -> Result<Option<Stranger>, StateError> {
        let signed = head.head();
        let known = self.state.read(|transaction| OwnView(transaction).known_writer(&signed.writer))?;
        let fits = known.is_some_and(|confirmed| confirmed >= signed.term);
        Ok((!fits).then_some(Stranger { writer: signed.writer, term: signed.term, cursor: head.cursor() }))
    }

    /// A person says that these are known from now on, durably.
    pub(super) fn know(&mut self, strangers: &[Stranger]) -> Result<(), StateError> {
        self.state.write(|transaction| {
            strangers.iter().try_for_each(|stranger| OwnStep(transaction).know_writer(&stranger.writer, stranger.term))
        })
    }

    /// Whether a broker can be brought to the newest head: everything that lives is kept sealed, and of a branch that was merged
    /// everything is signed.
    pub(super) fn can_refill(&self, merged: Option<&HeadHash>) -> Result<bool, StateError> {
        if self.writer.term_is_open() || self.writer.head().is_none() || !self.is_whole()? {
            return Ok(false);
        }
        merged.map_or(Ok(true), |head| self.state.read(|transaction| OwnView(transaction).is_merged_whole(head)))
    }
}

impl Stranger {
    pub(super) fn conflict(&self, source: &str, now: Timestamp) -> Conflict {
        Conflict { broker: source.to_owned(), writer: self.writer, rank: self.cursor.rank, since: now }
    }
}
