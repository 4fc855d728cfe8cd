//! From what waits to a signed publish: one transaction each. [P-3]

use std::collections::HashSet;

use tidings_core::writer::{AccessChange, Draft, FloorStep, SignRequest, Signed, Writer, WriterError};
use tidings_core::{Mutation, RecordPath};
use tidings_proto::frames::{Limits, Request};
use tidings_proto::{ContentHash, Pseudonym, Timestamp};

use super::super::floor::Due;
use super::super::room::Room;
use super::{Owner, Published, SignError};
use crate::clock;
use crate::state::{OwnStep, SealedView, StateError};

/// Epochs that may have live entries before the oldest ones are emptied: sixteen of the head's 64 places stay free. [P-17]
const EPOCHS_KEPT: usize = 48;

/// Readers whose grants and copies are renewed by one publish.
pub(super) const RENEWED_TOGETHER: usize = 256;

/// What goes into a publish that is signed before a broker said how much it takes: any broker takes so much.
pub(in super::super) const UNASKED: Limits = Limits {
    publish_entries_max: 1_024,
    publish_bytes_max: 1 << 20,
    entry_bytes_max: 16 * 1_024,
    publishes_in_flight_max: 1,
    readers_max: 0,
    live_bytes_max: 0,
};

/// What a publish does to the access list.
pub(super) enum Access {
    Same,
    Change(AccessChange),
    /// These readers' grants and copies are sealed anew.
    Renew(Vec<Pseudonym>),
    /// Records of the oldest epochs are signed again and nothing else: a new epoch finds no place. [P-17]
    Empty,
}

impl Owner {
    /// Signs what waits, as much as one publish takes, with a raise of the floor if one is due, and signs again what has to be.
    /// `None` if there is nothing to sign. When this returns, the publish is durable.
    pub(in super::super) fn sign(&mut self, limits: &Limits, now: Timestamp) -> Result<Option<Published>, SignError> {
        if let Some(opened) = self.sign_opening(now)? {
            return Ok(Some(opened));
        }
        if self.renewing
            && let Some(published) = self.renew(now)?
        {
            return Ok(Some(published));
        }
        self.sign_what_fits(limits, || Access::Same, now)
    }

    /// Signs records of the oldest epochs again, as many as one publish takes, so that a new epoch finds a place. [P-17]
    pub(super) fn empty_epochs(&mut self, now: Timestamp) -> Result<Option<Published>, SignError> {
        self.sign_what_fits(&UNASKED, || Access::Empty, now)
    }

    fn sign_what_fits(&mut self, limits: &Limits, access: impl Fn() -> Access, now: Timestamp) -> Result<Option<Published>, SignError> {
        let mut room = Room::new(limits);
        loop {
            match self.try_sign(&room, access(), now, |_, _| Ok(())) {
                // Sealed entries are larger than estimated: fewer of them.
                Err(SignError::Writer(WriterError::TooMany(_))) if room.halve() => {}
                result => return result,
            }
        }
    }

    /// Signs until everything that lives is kept sealed, and the term that a merge opened has its first head. Gives what was signed.
    pub(in super::super) fn make_whole(&mut self, now: Timestamp) -> Result<Vec<Published>, SignError> {
        let mut published = Vec::new();
        while self.writer.keys_are_due() || !self.is_whole()? {
            match self.sign(&UNASKED, now)? {
                Some(signed) => published.push(signed),
                None => break,
            }
        }
        Ok(published)
    }

    pub(in super::super) fn is_whole(&self) -> Result<bool, StateError> {
        Ok(!self.renewing && self.state.read(|transaction| SealedView(transaction).has_all_entries())?)
    }

    /// Renews attachments that are not kept, for some readers at a time.
    fn renew(&mut self, now: Timestamp) -> Result<Option<Published>, SignError> {
        let missing = self.state.read(|transaction| {
            let sealed = SealedView(transaction);
            let mut missing = Vec::new();
            for row in self.writer.readers().iter().map(|reader| reader.row) {
                if sealed.attachment(&row.grant)?.is_none() || sealed.attachment(&row.owner_copy)?.is_none() {
                    missing.push(row.pseudonym);
                }
            }
            Ok(missing)
        })?;
        if missing.is_empty() {
            self.state.write(|transaction| OwnStep(transaction).end_renewal())?;
            self.renewing = false;
            return Ok(None);
        }
        let some = missing.into_iter().take(RENEWED_TOGETHER).collect();
        self.try_sign(&Room::none(), Access::Renew(some), now, |_, _| Ok(()))
    }

    pub(super) fn try_sign(
        &mut self,
        room: &Room,
        access: Access,
        now: Timestamp,
        beside: impl FnOnce(&OwnStep<'_>, &Signed) -> Result<(), StateError>,
    ) -> Result<Option<Published>, SignError> {
        if self.failed {
            return Err(StateError::Io(std::io::Error::other("an earlier change failed; open the state again")).into());
        }
        let mut entropy = clock::entropy()?;
        // The step works on a copy: a transaction that fails leaves the writer at the durable row.
        let mut writer = self.writer.clone();
        let done = self.state.write(|transaction| {
            let step = OwnStep(transaction);
            let content = match &access {
                Access::Renew(_) => Content::default(),
                Access::Empty => self.emptying(&step, room)?,
                access => self.content(&step, room, matches!(access, Access::Change(_)), now)?,
            };
            if content.is_nothing() && matches!(access, Access::Same | Access::Empty) {
                return Err(SignAbort::Nothing);
            }
            let Content { drafts, waiting, floor } = content;
            let purged = floor.as_ref().map(|floor| floor.purged.clone()).unwrap_or_default();
            let signed = match access {
                Access::Renew(whom) => writer.renew(&self.key, &whom, &self.locator, now, &mut entropy)?,
                Access::Change(access) => {
                    writer.sign(&self.key, SignRequest { changes: drafts.clone(), floor, access }, now, &mut entropy)?
                }
                Access::Same | Access::Empty => {
                    writer.sign(&self.key, SignRequest { changes: drafts.clone(), floor, ..SignRequest::default() }, now, &mut entropy)?
                }
            };
            for ended in purged.iter().filter(|record| signed.ended.contains(&record.birth)) {
                step.end_record(ended)?;
            }
            for ((record, sealed), draft) in signed.entries.iter().zip(&drafts) {
                step.put_record(record, draft.prior.as_ref(), &draft.mutation, sealed)?;
            }
            let paths: Vec<RecordPath> = drafts.into_iter().take(waiting).map(|draft| draft.mutation.path).collect();
            paths.iter().try_for_each(|path| step.remove_outbox(path))?;
            step.put_attachments(&signed.attachments, &unnamed(&self.writer, &writer, &signed))?;
            step.put_writer(&writer)?;
            step.put_signed(&signed.head.cursor(), &Request::Publish(signed.publish()).encode())?;
            beside(&step, &signed)?;
            Ok(Published { number: signed.head.rank().number, paths })
        });
        match done {
            Ok(published) => {
                self.writer = writer;
                self.term_began()?;
                Ok(Some(published))
            }
            Err(SignAbort::Nothing) => Ok(None),
            Err(SignAbort::Error(error)) => {
                self.failed |= matches!(error, SignError::State(_));
                Err(error)
            }
        }
    }

    /// What waits, as far as there is room; the raise of the floor; and beside it what is to be signed again.
    fn content(&self, step: &OwnStep<'_>, room: &Room, accompanied: bool, now: Timestamp) -> Result<Content, StateError> {
        let mut room = room.clone();
        let waiting = step.outbox(|_, bytes| room.take(bytes))?;
        let floor =
            self.floor.step(step, &self.writer, Due { accompanied: accompanied || !waiting.is_empty(), compared: self.compared }, now)?;
        let purged = floor.iter().flat_map(|floor| &floor.purged).map(|record| record.path.clone());
        let done: HashSet<RecordPath> = waiting.iter().map(|mutation| mutation.path.clone()).chain(purged).collect();
        let again = self.again(step, &done, &mut room)?;
        let first = |mutation: Mutation| Ok(Draft { prior: step.record(&mutation.path)?, mutation });
        let mut drafts = waiting.into_iter().map(first).collect::<Result<Vec<_>, StateError>>()?;
        let waiting = drafts.len();
        drafts.extend(again);
        Ok(Content { drafts, waiting, floor })
    }

    fn emptying(&self, step: &OwnStep<'_>, room: &Room) -> Result<Content, StateError> {
        let drafts = self.again(step, &HashSet::new(), &mut room.clone())?;
        Ok(Content { drafts, ..Content::default() })
    }

    fn again(&self, step: &OwnStep<'_>, done: &HashSet<RecordPath>, room: &mut Room) -> Result<Vec<Draft>, StateError> {
        let again = step.again(self.writer.crowded_through(EPOCHS_KEPT), done, |bytes| room.take(bytes))?;
        Ok(again.into_iter().map(|(record, mutation)| Draft { mutation, prior: Some(record) }).collect())
    }
}

/// What goes into one publish.
#[derive(Default)]
struct Content {
    /// First those that waited, then those that are signed again.
    drafts: Vec<Draft>,
    waiting: usize,
    floor: Option<FloorStep>,
}

impl Content {
    fn is_nothing(&self) -> bool {
        self.drafts.is_empty() && self.floor.is_none()
    }
}

/// Why a transaction ends without a commit.
enum SignAbort {
    Nothing,
    Error(SignError),
}

impl<E: Into<SignError>> From<E> for SignAbort {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Attachments that the rows named before a publish and do not name after it.
fn unnamed(before: &Writer, after: &Writer, signed: &Signed) -> Vec<ContentHash> {
    if signed.access_put.is_empty() && signed.access_removed.is_empty() {
        return Vec::new();
    }
    let rows = after.readers().iter().map(|reader| reader.row);
    let named: HashSet<ContentHash> = rows.flat_map(|row| [row.grant, row.owner_copy]).collect();
    let rows = before.readers().iter().map(|reader| reader.row);
    rows.flat_map(|row| [row.grant, row.owner_copy]).filter(|hash| !named.contains(hash)).collect()
}
