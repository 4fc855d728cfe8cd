//! The owner's steps: each is one durable transaction, and nothing leaves before it is committed. [P-3]

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::writer::{AccessChange, Draft, Invitee, SignRequest, Signed, Writer, WriterError};
use tidings_core::{Acknowledgement, Card, Cursor, Invitation, Mutation, NodeKey, Operation, Receipt, RecordPath, Version};
use tidings_proto::caps::{INLINE_BYTES_MAX, REFERENCE_TEXT_BYTES_MAX};
use tidings_proto::frames::{Limits, Readers, Request};
use tidings_proto::{HeadNumber, Pseudonym, Timestamp, VerifyingKey};

use super::error::{GrantFailure, PublisherError, WriteError};
use super::floor::FloorPolicy;
use super::room::Room;
use super::write::{CONTENT_TYPE, Write};
use crate::clock;
use crate::state::{Claim, Claimed, OwnStep, OwnView, State, StateError, Waiting};

/// The queue of a node at its owner: the writer in memory and its rows on disk, always equal.
pub(super) struct Owner {
    pub(super) state: State,
    pub(super) key: Arc<NodeKey>,
    pub(super) writer: Writer,
    pub(super) floor: FloorPolicy,
    clock: u64,
    /// A commit failed: what is durable is not known, so nothing is signed until the state is opened again.
    failed: bool,
    _claimed: Claimed,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It waits in the outbox.
    Waits(RecordPath),
    /// It undid a write that was not signed yet.
    Undone(RecordPath),
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error(transparent)]
    Randomness(#[from] getrandom::Error),
}

/// One signed and durable publish.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) number: HeadNumber,
    pub(super) paths: Vec<RecordPath>,
}

impl Owner {
    /// Reads the queue of `key` from `state`, or creates it.
    pub(super) fn open(state: State, key: Arc<NodeKey>, floor: FloorPolicy) -> Result<Self, PublisherError> {
        let claimed = state.claim(Claim::Publish).ok_or(PublisherError::AlreadyOpen)?;
        let stored = state.read(|transaction| OwnView(transaction).writer())?;
        let writer = match stored {
            Some(writer) if writer.descriptor().signing_key == key.verifying_key() => writer,
            Some(_) => return Err(PublisherError::OtherKey),
            None => {
                let writer = Writer::create(&key, &mut clock::entropy()?);
                state.write(|transaction| OwnStep(transaction).put_writer(&writer))?;
                writer
            }
        };
        let clock = state.read(|transaction| OwnView(transaction).clock())?;
        let mut owner = Self { state, key, writer, floor, clock, failed: false, _claimed: claimed };
        owner.recall_acknowledgements()?;
        Ok(owner)
    }

    fn recall_acknowledgements(&mut self) -> Result<(), StateError> {
        for bytes in self.state.read(|transaction| OwnView(transaction).acknowledgements())? {
            if let Some(acknowledgement) = self.verified(&bytes)? {
                self.floor.acknowledged(acknowledgement.reader, acknowledgement.cursor);
            }
        }
        Ok(())
    }

    /// Puts writes into the outbox, all or none; conflates them with what waits for the same record. [P-3]
    pub(super) fn write(&mut self, writes: &[Write], now: Timestamp) -> Result<Vec<Taken>, WriteError> {
        writes.iter().try_for_each(check)?;
        let mut clock = self.clock;
        let taken = self.state.write(|transaction| {
            let step = OwnStep(transaction);
            let mut taken = Vec::with_capacity(writes.len());
            for write in writes {
                let version = Version::after(Version { clock, ..Version::ZERO }, now, self.key.version_node());
                clock = version.clock;
                taken.push(take(&step, write, version)?);
            }
            step.put_clock(clock)?;
            Ok::<_, WriteError>(taken)
        })?;
        self.clock = clock;
        Ok(taken)
    }

    /// Signs what waits, as much as one publish takes, with a raise of the floor if one is due. `None` if there is nothing
    /// to sign. When this returns, the publish is durable.
    pub(super) fn sign(&mut self, limits: &Limits, now: Timestamp) -> Result<Option<Published>, SignError> {
        let mut room = Room::new(limits);
        loop {
            match self.try_sign(&room, AccessChange::default(), now, |_, _| Ok(())) {
                // Sealed entries are larger than estimated: fewer of them.
                Err(SignError::Writer(WriterError::TooMany(_))) if room.halve() => {}
                result => return result,
            }
        }
    }

    /// Makes the node of `card` a reader, signed and durable. Gives the invitation and the head that carries the change;
    /// for a node that is a reader already, those of the first time.
    pub(super) fn grant(
        &mut self,
        card: Card,
        name: String,
        addresses: Vec<String>,
        locator: String,
        now: Timestamp,
    ) -> Result<(String, HeadNumber), GrantFailure> {
        let known = self.writer.readers().iter().find(|reader| reader.copy.card.verifying_key == card.verifying_key);
        if let Some(pseudonym) = known.map(|reader| reader.row.pseudonym) {
            let text = self.state.read(|transaction| OwnView(transaction).invitation(&pseudonym))?;
            let number = self.writer.head().map_or(HeadNumber::ZERO, |head| head.rank().number);
            return Ok((text.ok_or(WriterError::AlreadyReader)?, number));
        }
        let access = AccessChange { add: vec![Invitee { card, name }], locator, ..AccessChange::default() };
        let (key, descriptor) = (self.key.clone(), self.writer.descriptor().clone());
        let mut text = String::new();
        // Without waiting records: the invitation must not fail because one of them does.
        let published = self.try_sign(&Room::none(), access, now, |step, signed| {
            let granted = signed.granted.first().ok_or(StateError::Damaged("a grant was not sealed".into()))?;
            let invitation = Invitation { descriptor, card: key.card(), addresses, grant: granted.grant.clone() };
            text = invitation.sign(&key);
            step.put_invitation(&granted.pseudonym, &text)
        });
        match published {
            Ok(Some(published)) => Ok((text, published.number)),
            Ok(None) => Err(WriterError::NoSuchReader.into()),
            Err(SignError::State(error)) => Err(error.into()),
            Err(SignError::Writer(error)) => Err(error.into()),
            Err(SignError::Randomness(error)) => Err(error.into()),
        }
    }

    fn try_sign(
        &mut self,
        room: &Room,
        access: AccessChange,
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
            let changes = drafts(&step, room)?;
            let granting = !access.add.is_empty();
            let floor = self.floor.step(&step, &writer, !changes.is_empty() || granting, now)?;
            if changes.is_empty() && floor.is_none() && !granting {
                return Err(SignAbort::Nothing);
            }
            let values: Vec<(Mutation, _)> = changes.iter().map(|draft| (draft.mutation.clone(), draft.prior.clone())).collect();
            let purged = floor.as_ref().map(|floor| floor.purged.clone()).unwrap_or_default();
            let signed = writer.sign(&self.key, SignRequest { changes, floor, access }, now, &mut entropy)?;
            for ended in purged.iter().filter(|record| signed.ended.contains(&record.birth)) {
                step.end_record(ended)?;
            }
            for ((record, _), (value, prior)) in signed.entries.iter().zip(&values) {
                step.put_record(record, prior.as_ref(), value)?;
                step.remove_outbox(&record.path)?;
            }
            step.put_writer(&writer)?;
            step.put_signed(&signed.head.cursor(), &Request::Publish(signed.publish()).encode())?;
            beside(&step, &signed)?;
            let paths = values.into_iter().map(|(value, _)| value.path).collect();
            Ok(Published { number: signed.head.rank().number, paths })
        });
        match done {
            Ok(published) => {
                self.writer = writer;
                Ok(Some(published))
            }
            Err(SignAbort::Nothing) => Ok(None),
            Err(SignAbort::Error(error)) => {
                self.failed |= matches!(error, SignError::State(_));
                Err(error)
            }
        }
    }

    /// Keeps a receipt that the broker's key signed for a head of this queue.
    pub(super) fn receipted(&mut self, broker: &VerifyingKey, bytes: &Bytes, receipt: &Receipt) -> Result<(), StateError> {
        self.state.write(|transaction| OwnStep(transaction).put_receipt(broker, bytes, receipt.rank.number))
    }

    /// Keeps the acknowledgements that are signed by a reader of this queue and name a head of ours. [P-6]
    pub(super) fn take_readers(&mut self, readers: &Readers) -> Result<(), StateError> {
        let mut kept = Vec::new();
        for bytes in &readers.acknowledgements {
            if let Some(acknowledgement) = self.verified(bytes)?
                && self.floor.acknowledged(acknowledgement.reader, acknowledgement.cursor)
            {
                kept.push((acknowledgement.reader, bytes.clone()));
            }
        }
        if kept.is_empty() {
            return Ok(());
        }
        self.state.write(|transaction| kept.iter().try_for_each(|(reader, bytes)| OwnStep(transaction).put_acknowledgement(reader, bytes)))
    }

    /// A broker may send anything: the signature, the queue, the reader and the head it names must be right.
    fn verified(&self, bytes: &[u8]) -> Result<Option<Acknowledgement>, StateError> {
        let Ok(acknowledgement) = Acknowledgement::verify(bytes) else { return Ok(None) };
        let reader = self.writer.readers().iter().any(|reader| reader.row.pseudonym == acknowledgement.reader);
        if !reader || acknowledgement.queue != self.writer.queue() {
            return Ok(None);
        }
        let ours = self.cursor_of(acknowledgement.cursor.rank.number)?;
        Ok((ours == Some(acknowledgement.cursor)).then_some(acknowledgement))
    }

    pub(super) fn cursor_of(&self, number: HeadNumber) -> Result<Option<Cursor>, StateError> {
        self.state.read(|transaction| OwnView(transaction).cursor_of(number))
    }

    /// The first publish without a receipt at or after `from`, ready to be sent: byte for byte what was signed. [P-3]
    pub(super) fn unreceipted_from(&self, from: HeadNumber) -> Result<Option<(HeadNumber, Request)>, StateError> {
        let found = self.state.read(|transaction| OwnView(transaction).unreceipted_from(from))?;
        let Some((number, frame)) = found else { return Ok(None) };
        let request = Request::decode(frame.into()).map_err(|error| StateError::Damaged(format!("a publish: {error}")))?;
        Ok(Some((number, request)))
    }

    pub(super) fn waiting(&self) -> Result<Waiting, StateError> {
        self.state.read(|transaction| OwnView(transaction).waiting())
    }

    /// What each reader acknowledged.
    pub(super) fn acknowledged(&self) -> HashMap<Pseudonym, Cursor> {
        self.floor.all_acknowledged()
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

fn drafts(step: &OwnStep<'_>, room: &Room) -> Result<Vec<Draft>, StateError> {
    let mut room = room.clone();
    let mutations = step.outbox(|_, bytes| room.take(bytes))?;
    mutations.into_iter().map(|mutation| Ok(Draft { prior: step.record(&mutation.path)?, mutation })).collect()
}

fn check(write: &Write) -> Result<(), WriteError> {
    match write {
        Write::Put { path, value, .. } if value.len() > INLINE_BYTES_MAX => {
            Err(WriteError::TooLarge { path: path.clone(), size: value.len() })
        }
        Write::Put { path, content_type, .. } if content_type.len() > REFERENCE_TEXT_BYTES_MAX => {
            Err(WriteError::ContentType(path.clone()))
        }
        _ => Ok(()),
    }
}

/// One write against what is signed and what waits.
fn take(step: &OwnStep<'_>, write: &Write, version: Version) -> Result<Taken, WriteError> {
    let path = write.path().clone();
    let signed = step.record(&path)?.is_some_and(|record| !record.tombstone);
    let waits = step.outbox_row(&path)?;
    let exists = waits.as_ref().map_or(signed, |row| row.mutation.operation != Operation::Delete);
    if matches!(write, Write::Delete { .. }) {
        if !exists {
            return Err(WriteError::NotFound(path));
        }
        if !signed {
            step.remove_outbox(&path)?;
            return Ok(Taken::Undone(path));
        }
    }
    step.put_outbox(&mutation(write, version, signed), waits.map(|row| row.sequence))?;
    Ok(Taken::Waits(path))
}

fn mutation(write: &Write, version: Version, signed: bool) -> Mutation {
    let mut mutation = Mutation {
        path: write.path().clone(),
        operation: Operation::Delete,
        version,
        object: None,
        inline: None,
        headers: Vec::new(),
        unknown: Vec::new(),
    };
    if let Write::Put { value, content_type, .. } = write {
        mutation.operation = if signed { Operation::Update } else { Operation::Create };
        mutation.inline = Some(value.clone());
        if !content_type.is_empty() {
            mutation.headers.push((CONTENT_TYPE.to_owned(), Bytes::copy_from_slice(content_type.as_bytes())));
        }
    }
    mutation
}

#[cfg(test)]
mod tests;
