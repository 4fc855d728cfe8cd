//! The last head for a broker that is left, and what comes after it. [P-13]

use tidings_core::access::Rights;
use tidings_core::head::QueueState;
use tidings_core::writer::{GrantedReader, NewTerm};
use tidings_proto::frames::Request;
use tidings_proto::{HeadNumber, Pseudonym, Timestamp};

use super::super::room::Room;
use super::signing::{Access, RENEWED_TOGETHER};
use super::{Owner, Published, SignError, put_term};
use crate::clock;
use crate::state::OwnStep;

impl Owner {
    /// Signs the closed head, durably. After it only a new term goes on.
    pub(in super::super) fn close(&mut self, now: Timestamp) -> Result<HeadNumber, SignError> {
        let mut writer = self.writer.clone();
        let signed = writer.close(&self.key, now, &mut clock::entropy()?)?;
        self.state.write(|transaction| {
            let step = OwnStep(transaction);
            step.put_writer(&writer, Some(&self.writer))?;
            step.put_signed(&signed.head.cursor(), &Request::Publish(signed.publish()).encode())
        })?;
        self.writer = writer;
        Ok(signed.head.rank().number)
    }

    /// Whether the newest head is the closed one, and nothing goes on from it yet.
    pub(super) fn is_closed(&self) -> bool {
        !self.writer.term_is_open() && self.writer.head().is_some_and(|head| head.head().state == QueueState::Closed)
    }

    /// Whether a term was opened on a closed head, and nothing is signed in it yet.
    pub(super) fn is_behind_closed(&self) -> bool {
        self.writer.term_is_open() && self.writer.head().is_some_and(|head| head.head().state == QueueState::Closed)
    }

    /// Opens a new term on the closed head. Where somebody goes on serving the queue, its first head is signed at once: to them the
    /// queue would be closed too.
    pub(in super::super) fn reopen(&mut self, goes_on: bool, now: Timestamp) -> Result<(), SignError> {
        if self.is_closed() {
            let mut writer = self.writer.clone();
            writer.open_term(self.seen, NewTerm::ON_OWN_HEAD, &mut clock::entropy()?)?;
            self.state.write(|transaction| put_term(&OwnStep(transaction), &writer))?;
            self.writer = writer;
        }
        if goes_on { self.sign_behind_closed(now).map(drop) } else { Ok(()) }
    }

    /// Signs the first head of a term that was opened on a closed head: whoever goes on serving the queue shows it as closed until then.
    /// `None` where nothing is closed. [P-13]
    pub(in super::super) fn sign_behind_closed(&mut self, now: Timestamp) -> Result<Option<Published>, SignError> {
        if !self.is_behind_closed() {
            return Ok(None);
        }
        if let Some(opening) = self.sign_opening(now)? {
            return Ok(Some(opening));
        }
        let readers = self.writer.readers().iter();
        let owner: Vec<Pseudonym> =
            readers.filter(|reader| reader.row.rights == Rights::Owner).map(|reader| reader.row.pseudonym).collect();
        self.try_sign(&Room::none(), Access::Renew(owner), now, |_, _| Ok(()))
    }

    /// Whether a reader's grant may name other places than it is to name.
    pub(in super::super) fn has_to_tell(&self) -> bool {
        let is_other = |reader: &GrantedReader| reader.row.rights != Rights::Owner;
        self.told.as_deref() != Some(self.locator.as_str()) && self.writer.readers().iter().any(is_other)
    }

    /// Seals the grants of all readers anew, with the locator there is now. That all of them name it is durable with the last.
    pub(in super::super) fn grant_anew(&mut self, now: Timestamp) -> Result<(), SignError> {
        self.sign_all_opening(now)?;
        let all: Vec<Pseudonym> = self.writer.readers().iter().map(|reader| reader.row.pseudonym).collect();
        let count = all.len().div_ceil(RENEWED_TOGETHER);
        for (some, left) in all.chunks(RENEWED_TOGETHER).zip((0..count).rev()) {
            let locator = self.locator.clone();
            let last = |step: &OwnStep<'_>| if left == 0 { step.put_told(&locator) } else { Ok(()) };
            self.try_sign(&Room::none(), Access::Renew(some.to_vec()), now, |step, _| last(step))?;
        }
        self.told = Some(self.locator.clone());
        Ok(())
    }
}
