//! One connection to one broker: what was sent there and what its answers mean.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::{Cursor, NodeKey, Object, QueueDescriptor, Receipt};
use tidings_proto::caps::PUBLISHES_IN_FLIGHT_MAX;
use tidings_proto::frames::{Limits, Readers};
use tidings_proto::{BrokerAddress, HeadHash, HeadNumber, RefusalCode, Reply, Request, VerifyingKey};
use tokio::time::Instant;

use super::compare::Standing;
use super::owner::Owner;
use super::status::BrokerState;
use super::transfer::Parts;
use crate::clock;
use crate::connection::{Connection, ConnectionError};
use crate::dial::Dial;
use crate::state::{OwnView, StateError};
use crate::stream::{SILENCE_MAX, Stream, in_time};

/// Bytes of publishes that are in flight at once; one always may be.
const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Parts of a transfer that wait on the stream.
const PARTS_MAX: usize = 4;
/// Replies that wait to be taken.
const REPLIES_MAX: usize = 128;

/// An open publish stream, before it was compared with what this node signed.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) standing: Bytes,
    pub(super) stream: Stream,
    receipt_key: VerifyingKey,
}

/// Connects, proves the owner's key and opens the publish stream.
pub(super) async fn open(
    dial: Arc<dyn Dial>,
    address: BrokerAddress,
    key: Arc<NodeKey>,
    descriptor: QueueDescriptor,
) -> Result<Opened, ConnectionError> {
    let attempt = async {
        let connection: Connection = dial.dial(&address).await?;
        connection.prove(&*key).await?;
        let opened = connection.open_publish(descriptor.encode().into()).await?;
        Ok((connection, opened))
    };
    let (connection, opened) = in_time(attempt).await?;
    let receipt_key = address.receipt.unwrap_or(connection.welcome().receipt_key);
    let stream = Stream::start(connection, opened.requests, opened.replies, REPLIES_MAX);
    Ok(Opened { standing: opened.standing, stream, receipt_key })
}

/// Why a broker is not used, in a word and in words.
pub(super) type Unfit = (BrokerState, String);

/// What an answer was.
#[derive(Debug)]
pub(super) enum Answer {
    /// A head, and all before it, are receipted.
    Receipt(Receipt, Bytes),
    /// What the readers acknowledged.
    Readers(Readers),
}

/// A broker that takes publishes.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: Stream,
    pub(super) receipt_key: VerifyingKey,
    pub(super) limits: Limits,
    /// Number of the next head to send.
    next: HeadNumber,
    /// Where the broker stands once it has what was sent.
    reached: Cursor,
    expected: VecDeque<Expected>,
    in_flight_bytes: usize,
    /// A transfer that is on its way; publishes wait for its receipt.
    transfer: Option<Sending>,
    /// Since when the broker owes an answer.
    owes_since: Option<Instant>,
}

/// How far a transfer is. [P-10]
#[derive(Debug)]
enum Sending {
    /// It leads on from there, and begins once everything that lives is kept sealed and the whole merge of that branch is signed.
    Due { from: Cursor, merged: Option<HeadHash> },
    /// Parts have to be sent; the last time that one could be.
    Parts(Box<Parts>, Instant),
    /// Its receipt is awaited.
    Whole,
}

#[derive(Debug)]
enum Expected {
    Receipt { number: HeadNumber, bytes: usize },
    Readers,
}

impl Session {
    /// A broker whose head is in the own history, or that holds a branch that was merged. [P-5]
    pub(super) fn begin(opened: Opened, standing: &Standing, owner: &Owner) -> Result<Self, StateError> {
        let (reached, merged) = match standing {
            Standing::Merged(head) => (head.cursor(), Some(head.hash())),
            Standing::Known(cursor) => (*cursor, None),
        };
        if merged.is_none() {
            note_loss(owner, &reached, &opened.receipt_key)?;
        }
        let start = Cursor::start(&owner.writer.queue());
        let (next, transfer) = match (merged, first_to_send(owner, reached.rank.number)?) {
            // Nothing of that branch leads on to the own head. [P-10]
            (Some(_), _) => (HeadNumber::ZERO, Some(Sending::Due { from: start, merged })),
            (None, Some(next)) => (next, None),
            (None, None) => (HeadNumber::ZERO, Some(Sending::Due { from: reached, merged: None })),
        };
        let limits = opened.stream.connection().welcome().limits;
        let (stream, receipt_key) = (opened.stream, opened.receipt_key);
        let expected = VecDeque::new();
        Ok(Self { stream, receipt_key, limits, next, reached, expected, in_flight_bytes: 0, transfer, owes_since: None })
    }

    /// How the broker is listed.
    pub(super) fn state(&self) -> BrokerState {
        if self.transfer.is_some() { BrokerState::Transferring } else { BrokerState::Connected }
    }

    /// Waits until another part of a transfer may be queued. For ever if there is none. Safe to cancel.
    pub(super) fn room_for_part(&self) -> impl Future<Output = ()> + use<> {
        let drained = matches!(self.transfer, Some(Sending::Parts(..))).then(|| self.stream.drained(PARTS_MAX));
        async move {
            match drained {
                Some(drained) => drained.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Whether something has to be signed before this broker can be brought on.
    pub(super) fn waits_for_signing(&self, owner: &Owner) -> Result<bool, StateError> {
        let Some(Sending::Due { merged, .. }) = &self.transfer else { return Ok(false) };
        Ok(!owner.can_refill(merged.as_ref())?)
    }

    /// Whether it stands at that head, and said so with a receipt.
    pub(super) fn holds(&self, number: HeadNumber) -> bool {
        self.is_idle() && self.reached.rank.number >= number
    }

    fn begin_transfer(&mut self, owner: &Owner) -> Result<(), StateError> {
        let Some(Sending::Due { from, merged }) = &self.transfer else { return Ok(()) };
        if !owner.can_refill(merged.as_ref())? {
            return Ok(());
        }
        let missing = || StateError::Damaged("a head of this queue stands at a broker and none is kept here".into());
        let parts = Parts::new(owner.snapshot()?.ok_or_else(missing)?, *from);
        self.next = HeadNumber::new(parts.number().value() + 1);
        self.reached = parts.cursor();
        self.transfer = Some(Sending::Parts(Box::new(parts), Instant::now()));
        Ok(())
    }

    /// Queues the next part of a transfer, if one is due.
    fn send_part(&mut self, owner: &Owner) -> Result<(), StateError> {
        self.begin_transfer(owner)?;
        let Some(Sending::Parts(parts, last_sent)) = &mut self.transfer else { return Ok(()) };
        if !self.stream.has_drained(PARTS_MAX) {
            return Ok(());
        }
        let Some(part) = parts.next()? else { return Ok(()) };
        let (number, whole) = (parts.number(), !part.head.is_empty());
        let queued = self.stream.send(Request::Transfer(part));
        *last_sent = Instant::now();
        // Of a stream that is gone the receiving half tells.
        if whole || !queued {
            self.transfer = Some(Sending::Whole);
            self.expect(Expected::Receipt { number, bytes: 0 });
        }
        Ok(())
    }

    /// Whether another publish may be sent now.
    pub(super) fn has_room(&self) -> bool {
        let most = PUBLISHES_IN_FLIGHT_MAX.min(self.limits.publishes_in_flight_max as usize).max(1);
        self.expected.len() < most && (self.in_flight_bytes < IN_FLIGHT_BYTES_MAX)
    }

    /// Whether it has everything that is signed, and room for more.
    pub(super) fn is_ready(&self) -> bool {
        self.transfer.is_none() && self.has_room()
    }

    /// Sends signed publishes that were not sent on this stream, as many as may be in flight. True if all are sent.
    pub(super) fn send_signed(&mut self, owner: &Owner) -> Result<bool, StateError> {
        if self.transfer.is_some() {
            return self.send_part(owner).map(|()| false);
        }
        while self.has_room() {
            let (number, request) = match owner.unreceipted_from(self.next)? {
                Some((number, request)) if number == self.next => (number, request),
                None if owner.rank().number < self.next => return Ok(true),
                // Other brokers have receipted what this one did not get yet, so it is not kept any more.
                _ => return self.begin_catching_up(owner).map(|()| false),
            };
            let Request::Publish(publish) = &request else {
                return Err(StateError::Damaged("what waits to be sent is no publish".into()));
            };
            let bytes = publish.entries.iter().chain(&publish.attachments).map(Bytes::len).sum();
            let Some(reached) = owner.cursor_of(number)? else {
                return Err(StateError::Damaged("a publish of a head that is not kept".into()));
            };
            if !self.stream.send(request) {
                return Ok(false);
            }
            self.expect(Expected::Receipt { number, bytes });
            self.in_flight_bytes += bytes;
            self.reached = reached;
            self.next = HeadNumber::new(number.value() + 1);
        }
        Ok(false)
    }

    /// A transfer begins when everything before it is answered.
    fn begin_catching_up(&mut self, owner: &Owner) -> Result<(), StateError> {
        if !self.is_idle() {
            return Ok(());
        }
        self.transfer = Some(Sending::Due { from: self.reached, merged: None });
        self.send_part(owner)
    }

    /// Asks for rows and acknowledgements, unless the answer is on its way. Not between the parts of a transfer.
    pub(super) fn ask_readers(&mut self) {
        if matches!(&self.transfer, Some(Sending::Parts(parts, _)) if !parts.are_untouched()) {
            return;
        }
        if !self.is_asked() && self.stream.send(Request::AskReaders) {
            self.expect(Expected::Readers);
        }
    }

    /// Whether an answer about readers is on its way.
    pub(super) fn is_asked(&self) -> bool {
        self.expected.iter().any(|expected| matches!(expected, Expected::Readers))
    }

    /// Sends a signed pulse, which has no answer; false if the stream is gone or too much waits. [P-16]
    pub(super) fn send_pulse(&self, pulse: Bytes) -> bool {
        self.stream.send(Request::Pulse(pulse))
    }

    /// Whether nothing that was sent waits for a receipt.
    pub(super) fn is_idle(&self) -> bool {
        self.transfer.is_none() && self.expected.iter().all(|expected| matches!(expected, Expected::Readers))
    }

    fn expect(&mut self, answer: Expected) {
        self.expected.push_back(answer);
        self.owes_since.get_or_insert_with(Instant::now);
    }

    /// When the broker is left if it stays silent.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let stuck = match &self.transfer {
            Some(Sending::Parts(_, last_sent)) => Some(*last_sent),
            _ => None,
        };
        stuck.or(self.owes_since).map(|since| since + SILENCE_MAX)
    }

    /// What a reply answers. Answers come in the order of the requests.
    pub(super) fn answer(&mut self, reply: Result<Reply, ConnectionError>, owner: &Owner) -> Result<Result<Answer, Unfit>, StateError> {
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(unfit(&error))),
        };
        let expected = self.expected.pop_front();
        self.owes_since = (!self.expected.is_empty()).then(Instant::now);
        match (expected, reply) {
            (Some(Expected::Receipt { number, bytes }), Reply::Receipt(receipt)) => {
                self.in_flight_bytes -= bytes;
                // Whatever was sent before it was answered before: it is the transfer's, if there is one.
                self.transfer = None;
                self.receipt(number, receipt, owner)
            }
            (Some(Expected::Readers), Reply::Readers(readers)) => Ok(Ok(Answer::Readers(readers))),
            (_, Reply::Refused(refusal)) => Ok(Err((self.refused(refusal.code), refusal.to_string()))),
            _ => Ok(Err((BrokerState::Broken, "it sent an answer that nobody asked for".into()))),
        }
    }

    /// A broker that takes neither publishes nor a transfer stays where it is.
    fn refused(&self, code: RefusalCode) -> BrokerState {
        use RefusalCode::{BadSignature, Conflict, Invalid, Malformed, Quota, TooLarge, TooNew};
        let never = matches!(code, BadSignature | Conflict | Invalid | Malformed | Quota | TooLarge | TooNew);
        if self.transfer.is_some() && never { BrokerState::NeedsTransfer } else { BrokerState::Refused }
    }

    /// A receipt counts only with the broker's signature and for the very head that was sent.
    fn receipt(&self, number: HeadNumber, bytes: Bytes, owner: &Owner) -> Result<Result<Answer, Unfit>, StateError> {
        let sent = owner.cursor_of(number)?;
        let right = |receipt: &Receipt| {
            receipt.queue == owner.writer.queue() && sent.is_some_and(|sent| sent.rank == receipt.rank && sent.head == receipt.head)
        };
        Ok(match Receipt::verify(&bytes, &self.receipt_key) {
            Ok(receipt) if right(&receipt) => Ok(Answer::Receipt(receipt, bytes)),
            Ok(_) => Err((BrokerState::Broken, "it sent a receipt for something else than what was published".into())),
            Err(error) => Err((BrokerState::Broken, format!("its receipt does not verify: {error}"))),
        })
    }
}

/// How a failed connection is listed.
pub(super) fn unfit(error: &ConnectionError) -> Unfit {
    let state = match error {
        ConnectionError::Refused(_) => BrokerState::Refused,
        ConnectionError::Protocol(_) | ConnectionError::WrongPin | ConnectionError::NoPin => BrokerState::Broken,
        _ => BrokerState::Unreachable,
    };
    (state, error.to_string())
}

/// Number of the first publish to send to a broker that stands at head `number`; `None` if the publishes that are kept do not lead on
/// from there.
fn first_to_send(owner: &Owner, number: HeadNumber) -> Result<Option<HeadNumber>, StateError> {
    let newest = owner.writer.head().map_or(HeadNumber::ZERO, |head| head.rank().number);
    // A head it holds without a receipt here is sent again: the answer to a repetition is that receipt.
    let first = owner.unreceipted_from(if number == HeadNumber::ZERO { HeadNumber::new(1) } else { number })?;
    Ok(match first {
        None if newest == number => Some(HeadNumber::new(number.value() + 1)),
        Some((first, _)) if first.value() <= number.value() + 1 => Some(first),
        _ => None,
    })
}

/// A broker below a head that it receipted lost what it said to hold: that is kept for the person, and made good.
fn note_loss(owner: &Owner, standing: &Cursor, receipt_key: &VerifyingKey) -> Result<(), StateError> {
    let kept = owner.state.read(|transaction| OwnView(transaction).receipt(receipt_key))?;
    let receipt = kept.and_then(|bytes| Receipt::verify(&bytes, receipt_key).ok());
    match receipt.filter(|receipt| receipt.rank > standing.rank) {
        Some(receipt) => owner.lost(*receipt_key, receipt.rank, standing.rank, clock::now()),
        None => Ok(()),
    }
}
