//! Which term the next head is of. [P-4]

use tidings_core::head::WriterId;
use tidings_core::writer::{AccessChange, NewTerm, TermKeys, Writer, WriterName};
use tidings_proto::{Pseudonym, Term, Timestamp};

use super::super::room::Room;
use super::signing::Access;
use super::{Owner, Published, SignError};
use crate::clock;
use crate::state::{OwnStep, OwnView, StateError};

impl Owner {
    /// The state is a copy, and nothing is signed yet by a writer of its own.
    pub(in super::super) fn is_moved(&self) -> bool {
        self.moved
    }

    /// Everything that was to be compared with was, or nobody waits any longer: from now on this session signs. In its own term only
    /// if all of it was compared and the state lies where it lay; else the next head opens a new one on the own newest head, which
    /// keeps epoch and grants. [P-4]
    pub(in super::super) fn settle(&mut self, compared: bool) -> Result<(), SignError> {
        if self.settled {
            return Ok(());
        }
        if !compared || self.moved || self.is_closed() {
            let writer = if self.moved { WriterName::New } else { WriterName::Kept };
            let mut next = self.writer.clone();
            next.open_term(self.seen, NewTerm { writer, keys: TermKeys::Kept }, &mut clock::entropy()?)?;
            self.state.write(|transaction| put_term(&OwnStep(transaction), &next))?;
            self.writer = next;
        }
        self.settled = true;
        if !self.moved {
            self.state.renew_mark()?;
        }
        Ok(())
    }

    /// What was signed here may not be all that was signed in this term: before anything else is, there is to be a new one.
    pub(in super::super) fn unsettle(&mut self) {
        self.settled = false;
    }

    /// A head is signed and durable. What the state of a copy signs from now on is of a writer of its own.
    pub(super) fn term_began(&mut self) -> Result<(), StateError> {
        if !std::mem::take(&mut self.moved) {
            return Ok(());
        }
        self.state.renew_mark()
    }

    /// Everything that comes before anything else that is signed. Gives what was signed.
    pub(super) fn sign_all_opening(&mut self, now: Timestamp) -> Result<Vec<Published>, SignError> {
        std::iter::from_fn(|| self.sign_opening(now).transpose()).collect()
    }

    /// The first publish after a merge: the new epoch, all grants, and without those whose access ended on another branch. It comes
    /// before anything else that is signed, but for what makes room for the epoch. [P-5]
    pub(super) fn sign_opening(&mut self, now: Timestamp) -> Result<Option<Published>, SignError> {
        if !self.writer.keys_are_due() {
            return Ok(None);
        }
        if !self.writer.epoch_fits() {
            return self.empty_epochs(now);
        }
        let removals = self.state.read(|transaction| OwnView(transaction).removals())?.unwrap_or_default();
        let is_reader = |gone: &Pseudonym| self.writer.readers().iter().any(|reader| reader.row.pseudonym == *gone);
        let remove: Vec<Pseudonym> = removals.into_iter().filter(is_reader).collect();
        let access = AccessChange { remove: remove.clone(), locator: self.locator.clone(), ..AccessChange::default() };
        self.try_sign(&Room::none(), Access::Change(access), now, |step, signed| {
            step.end_removals()?;
            let number = signed.head.rank().number;
            remove.iter().try_for_each(|gone| {
                step.end_reader(gone)?;
                step.put_reader_ended(gone, number)
            })
        })
    }
}

/// A writer whose next head opens a term, and that its name is a known one.
pub(in super::super) fn put_term(step: &OwnStep<'_>, writer: &Writer) -> Result<(), StateError> {
    know(step, writer.writer())?;
    step.put_writer(writer, None)
}

fn know(step: &OwnStep<'_>, writer: WriterId) -> Result<(), StateError> {
    step.know_writer(&writer, Term::ZERO)
}
