//! The owner's steps: each is one durable transaction, and nothing leaves before it is committed. [P-3]

mod access; // who may read
mod closing; // the end at a broker
mod outbox; // what was written
mod signing; // what is signed
mod terms; // in which term

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::writer::{Writer, WriterError};
use tidings_core::{Acknowledgement, Cursor, NodeKey, Receipt, RecordPath};
use tidings_proto::frames::{Readers, Request};
use tidings_proto::{HeadNumber, HeadRank, Pseudonym, Term, Timestamp, VerifyingKey};

use super::error::PublisherError;
use super::floor::FloorPolicy;
use super::snapshot::OwnSnapshot;
use super::status::OwnMark;
use crate::clock;
use crate::state::{Claim, Claimed, Keep, LossRow, OwnStep, OwnView, SealedView, State, StateError, Waiting, receipted};

pub(super) use outbox::{Answer, Part, Taken};
pub(super) use signing::UNASKED;
pub(super) use terms::put_term;

/// The queue of a node at its owner: the writer in memory and its rows on disk, always equal.
pub(super) struct Owner {
    pub(super) state: State,
    pub(super) key: Arc<NodeKey>,
    pub(super) writer: Writer,
    pub(super) floor: FloorPolicy,
    /// Where readers find this node's storage and brokers; part of every grant that is sealed from now on.
    pub(super) locator: String,
    /// What all grants name; `None` if that is not known.
    pub(super) told: Option<String>,
    /// How many brokers have to receipt a publish before it is done and kept no longer for sending.
    pub(super) receipts: usize,
    /// A person said that this state is to be rebuilt from what is found. [P-4]
    pub(super) restoring: bool,
    /// Everything that is configured was compared with since the start. [P-6]
    pub(super) compared: bool,
    /// The highest term seen anywhere.
    pub(super) seen: Term,
    /// This session knows in which term it signs.
    settled: bool,
    /// The state is a copy, and nothing is signed yet by a writer of its own.
    moved: bool,
    pub(super) clock: u64,
    receipted: HeadRank,
    /// Receipts were kept since the last durable step.
    receipts_unkept: bool,
    /// Access rows may name attachments that are not kept.
    renewing: bool,
    /// A commit failed: what is durable is not known, so nothing is signed until the state is opened again.
    failed: bool,
    _claimed: Claimed,
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
    /// Records whose outbox rows it took.
    pub(super) paths: Vec<RecordPath>,
    /// It has the grants of all readers, with the locator there is.
    tells: bool,
}

impl Owner {
    /// Reads the queue of `key` from `state`, or creates it. Grants name `locator`.
    pub(super) fn open(state: State, key: Arc<NodeKey>, floor: FloorPolicy, locator: String) -> Result<Self, PublisherError> {
        let claimed = state.claim(Claim::Publish).ok_or(PublisherError::AlreadyOpen)?;
        let stored = state.read(|transaction| OwnView(transaction).writer())?;
        let writer = match stored {
            Some(writer) if writer.descriptor().signing_key == key.verifying_key() => writer,
            Some(_) => return Err(PublisherError::OtherKey),
            None => {
                let writer = Writer::create(&key, &mut clock::entropy()?);
                state.write(|transaction| put_term(&OwnStep(transaction), &writer))?;
                writer
            }
        };
        let (clock, told, receipted, renewing) = state.read(|transaction| {
            let view = OwnView(transaction);
            let receipted = receipted(&view)?.map_or(HeadRank::default(), |cursor| cursor.rank);
            Ok((view.clock()?, view.told()?, receipted, SealedView(transaction).renewing()?))
        })?;
        let mut owner = Self {
            moved: state.is_moved()?,
            seen: writer.term(),
            state,
            key,
            writer,
            floor,
            locator,
            told,
            receipts: 1,
            restoring: false,
            compared: false,
            settled: false,
            clock,
            receipted,
            receipts_unkept: false,
            renewing,
            failed: false,
            _claimed: claimed,
        };
        owner.recall_acknowledgements()?;
        Ok(owner)
    }

    /// Stands where the durable rows stand after a merge, whatever was in memory.
    pub(super) fn reread(&mut self, writer: Writer, clock: u64) -> Result<(), StateError> {
        (self.writer, self.clock, self.settled) = (writer, clock, true);
        (self.told, self.receipted, self.renewing) = self.state.read(|transaction| {
            let view = OwnView(transaction);
            let receipted = receipted(&view)?.map_or(HeadRank::default(), |cursor| cursor.rank);
            Ok((view.told()?, receipted, SealedView(transaction).renewing()?))
        })?;
        self.floor.forget();
        self.recall_acknowledgements()
    }

    fn recall_acknowledgements(&mut self) -> Result<(), StateError> {
        for bytes in self.state.read(|transaction| OwnView(transaction).acknowledgements())? {
            if let Some(acknowledgement) = self.verified(&bytes)? {
                self.floor.acknowledged(acknowledgement.reader, acknowledgement.cursor);
            }
        }
        Ok(())
    }

    /// Keeps a receipt that the broker's key signed for a head of this queue. Gives the newest head that has as many receipts as it
    /// needs. A crash may lose it until the next durable step: then the publish is sent again, and receipted again.
    pub(super) fn receipted(&mut self, broker: &VerifyingKey, bytes: &Bytes, receipt: &Receipt) -> Result<HeadNumber, StateError> {
        let done = self.enough_receipts(broker, receipt.rank.number)?;
        self.state.write_with(|transaction| {
            OwnStep(transaction).put_receipt(broker, bytes, done)?;
            Ok::<_, StateError>(((), Keep::UntilCrash))
        })?;
        self.receipts_unkept = true;
        self.receipted = self.receipted.max(receipt.rank);
        Ok(done)
    }

    /// Makes receipts durable that are not.
    pub(super) fn keep_receipts(&mut self) -> Result<(), StateError> {
        if std::mem::take(&mut self.receipts_unkept) {
            self.state.write(|_| Ok::<_, StateError>(()))?;
        }
        Ok(())
    }

    /// The newest head that so many brokers hold as have to, with this receipt among theirs. A receipt is for its head and all before it.
    fn enough_receipts(&self, broker: &VerifyingKey, number: HeadNumber) -> Result<HeadNumber, StateError> {
        if self.receipts <= 1 {
            return Ok(number);
        }
        let kept = self.state.read(|transaction| OwnView(transaction).receipts())?;
        let others = kept.iter().filter(|(key, _)| key != broker).filter_map(|(key, bytes)| Receipt::verify(bytes, key).ok());
        let mut numbers: Vec<HeadNumber> = others.map(|receipt| receipt.rank.number).chain([number]).collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        Ok(numbers.get(self.receipts - 1).copied().unwrap_or_default())
    }

    /// Notes that a broker stands below a head that it receipted; once for each such place.
    pub(super) fn lost(&self, broker: VerifyingKey, receipted: HeadRank, standing: HeadRank, now: Timestamp) -> Result<(), StateError> {
        let loss = LossRow { broker, time: now, receipted, standing };
        self.state.write(|transaction| OwnStep(transaction).put_loss(&loss))
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
        let Cursor { rank, offset, head } = acknowledgement.cursor;
        let (ours, hash) = self.state.read(|transaction| {
            let view = OwnView(transaction);
            Ok((view.cursor_of(rank.number)?, view.hash_of(rank.number)?))
        })?;
        let right = match ours {
            Some(ours) => ours == acknowledgement.cursor,
            // Of a head that came from elsewhere only the hash is known: a reader that lies about the rest harms itself alone.
            None => hash == Some(head) && self.writer.head().is_some_and(|newest| offset <= newest.head().offset),
        };
        Ok(right.then_some(acknowledgement))
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

    /// Where signing and receipts stand.
    pub(super) fn mark(&self) -> OwnMark {
        OwnMark { signed: self.rank(), receipted: self.receipted }
    }

    pub(super) fn rank(&self) -> HeadRank {
        self.writer.head().map_or(HeadRank::default(), |head| head.rank())
    }

    /// The newest signed head and everything that lives at it; `None` before the first. Whatever is not kept sealed has to be
    /// signed again before: see [`Owner::make_whole`].
    pub(super) fn snapshot(&self) -> Result<Option<OwnSnapshot>, StateError> {
        OwnSnapshot::take(&self.state, &self.writer)
    }

    /// What each reader acknowledged.
    pub(super) fn acknowledged(&self) -> HashMap<Pseudonym, Cursor> {
        self.floor.all_acknowledged()
    }
}

#[cfg(test)]
mod tests;
