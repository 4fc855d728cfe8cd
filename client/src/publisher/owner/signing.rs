//! From what waits to a signed publish: one transaction each. [P-3]

use std::collections::HashSet;

use tidings_core::writer::{AccessChange, Draft, FloorStep, SignRequest, Signed, Writer, WriterError};
use tidings_core::{Entropy, Mutation, RecordPath};
use tidings_proto::frames::{Limits, Request};
use tidings_proto::{ContentHash, Pseudonym, Timestamp};

use super::super::floor::Due;
use super::super::room::Room;
use super::outbox::{Answer, Intake, Part, put_beside, size};
use super::{Owner, Published, SignError};
use crate::clock;
use crate::state::{OwnStep, OwnView, SealedView, StateError};

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

    /// Whether [`Owner::sign`] may find something. It looks at a snapshot, which costs less than a step that changes nothing.
    pub(in super::super) fn has_to_sign(&self) -> Result<bool, StateError> {
        let due = self.renewing || self.writer.keys_are_due() || self.writer.crowded_through(EPOCHS_KEPT).is_some();
        if due { Ok(true) } else { self.state.read(|transaction| OwnView(transaction).may_have_to_sign()) }
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
            let (signed, published) = self.seal_and_keep(&step, &mut writer, content, access, now, &mut entropy)?;
            let mut outbox = step.outbox()?;
            published.paths.iter().try_for_each(|path| outbox.remove(path))?;
            drop(outbox);
            beside(&step, &signed)?;
            Ok(published)
        });
        self.signed(writer, done)
    }

    /// Takes writes and signs them in one transaction, as many as one publish takes; the others wait in the outbox. What became of each
    /// part, and what was signed. `None` if something else has to be signed before: then nothing was taken. [P-3]
    pub(in super::super) fn write_and_sign(
        &mut self,
        parts: &[Part],
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Option<TakenAndSigned>, SignError> {
        if self.failed || self.renewing || self.writer.keys_are_due() || self.is_behind_closed() {
            return Ok(None);
        }
        let (mut entropy, mut writer, mut clock) = (clock::entropy()?, self.writer.clone(), self.clock);
        let mut answers = Vec::new();
        let done = self.state.write(|transaction| {
            let step = OwnStep(transaction);
            let Some(mut intake) = Intake::to_sign(&step)? else { return Err(SignAbort::Nothing) };
            answers = intake.take_all(parts, &mut clock, now, self.key.version_node())?;
            let (mut room, mut drafts) = (Room::new(limits), intake.into_drafts());
            let fitting = drafts.iter().take_while(|draft| room.take(size(&draft.mutation))).count();
            let later = drafts.split_off(fitting);
            let mut outbox = step.outbox()?;
            later.iter().try_for_each(|draft| outbox.put(&draft.mutation, None))?;
            drop(outbox);
            put_beside(transaction, &step, parts, &answers, clock)?;
            let content = self.content_with(&step, drafts, &mut room, false, now)?;
            if content.is_nothing() {
                return Ok(None);
            }
            let (_, published) = self.seal_and_keep(&step, &mut writer, content, Access::Same, now, &mut entropy)?;
            Ok(Some(published))
        });
        let published = match done {
            // Its writes were refused, or undid each other.
            Ok(None) => None,
            Ok(Some(published)) => self.signed(writer, Ok(published))?,
            Err(SignAbort::Nothing) => return Ok(None),
            // Sealed entries are larger than estimated: the outbox is taken from in smaller pieces.
            Err(SignAbort::Error(SignError::Writer(WriterError::TooMany(_)))) => return Ok(None),
            Err(error) => return self.signed(writer, Err(error)).map(|_| None),
        };
        self.clock = clock;
        Ok(Some((answers, published)))
    }

    fn signed(&mut self, writer: Writer, done: Result<Published, SignAbort>) -> Result<Option<Published>, SignError> {
        match done {
            Ok(published) => {
                self.writer = writer;
                if published.tells {
                    self.told = Some(self.locator.clone());
                }
                // That step took the receipts before it along.
                self.receipts_unkept = false;
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

    /// Signs one publish and keeps what lives, what is sent and where the writer stands.
    fn seal_and_keep(
        &self,
        step: &OwnStep<'_>,
        writer: &mut Writer,
        Content { drafts, waiting, floor }: Content,
        access: Access,
        now: Timestamp,
        entropy: &mut Entropy,
    ) -> Result<(Signed, Published), SignAbort> {
        let purged = floor.as_ref().map(|floor| floor.purged.clone()).unwrap_or_default();
        let request = |access| SignRequest { changes: drafts.clone(), floor, access };
        let signed = match access {
            Access::Renew(whom) => writer.renew(&self.key, &whom, &self.locator, now, entropy)?,
            Access::Change(access) => writer.sign(&self.key, request(access), now, entropy)?,
            Access::Same | Access::Empty => writer.sign(&self.key, request(AccessChange::default()), now, entropy)?,
        };
        let mut live = step.live()?;
        for ended in purged.iter().filter(|record| signed.ended.contains(&record.birth)) {
            live.end(ended)?;
        }
        for ((record, sealed), draft) in signed.entries.iter().zip(&drafts) {
            live.put(record, draft.prior.as_ref(), &draft.mutation, sealed)?;
        }
        drop(live);
        step.put_attachments(&signed.attachments, &unnamed(&self.writer, writer, &signed))?;
        step.put_writer(writer, Some(&self.writer))?;
        step.put_signed(&signed.head.cursor(), &Request::Publish(signed.publish()).encode())?;
        let paths = drafts.into_iter().take(waiting).map(|draft| draft.mutation.path).collect();
        // All grants were sealed, now and with this locator.
        let tells = signed.access_put.len() == writer.readers().len();
        if tells {
            step.put_told(&self.locator)?;
        }
        let number = signed.head.rank().number;
        Ok((signed, Published { number, paths, tells }))
    }

    /// What waits, as far as there is room; the raise of the floor; and beside it what is to be signed again.
    fn content(&self, step: &OwnStep<'_>, room: &Room, accompanied: bool, now: Timestamp) -> Result<Content, StateError> {
        let mut room = room.clone();
        let waiting = step.outbox()?.first(|bytes| room.take(bytes))?;
        let live = step.live()?;
        let draft = |mutation: Mutation| Ok(Draft { prior: live.record(&mutation.path)?, mutation });
        let drafts = waiting.into_iter().map(draft).collect::<Result<Vec<_>, StateError>>()?;
        drop(live);
        self.content_with(step, drafts, &mut room, accompanied, now)
    }

    /// The same with what waits already read.
    fn content_with(
        &self,
        step: &OwnStep<'_>,
        mut drafts: Vec<Draft>,
        room: &mut Room,
        accompanied: bool,
        now: Timestamp,
    ) -> Result<Content, StateError> {
        let due = Due { accompanied: accompanied || !drafts.is_empty(), compared: self.compared };
        let floor = self.floor.step(step, &self.writer, due, now)?;
        let purged = floor.iter().flat_map(|floor| &floor.purged).map(|record| record.path.clone());
        let done: HashSet<RecordPath> = drafts.iter().map(|draft| draft.mutation.path.clone()).chain(purged).collect();
        let waiting = drafts.len();
        drafts.extend(self.again(step, &done, room)?);
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

/// What became of each part that was written, and what was signed of it.
type TakenAndSigned = (Vec<Answer>, Option<Published>);

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
