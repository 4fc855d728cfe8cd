//! One connection to one broker: what was sent there and what its answers mean.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::{NodeKey, Object, QueueDescriptor, Receipt, SignedHead};
use tidings_proto::caps::PUBLISHES_IN_FLIGHT_MAX;
use tidings_proto::frames::{Limits, Readers};
use tidings_proto::{BrokerAddress, HeadNumber, Reply, Request, VerifyingKey};
use tokio::time::Instant;

use super::owner::Owner;
use super::status::BrokerState;
use crate::connection::{Connection, ConnectionError};
use crate::dial::Dial;
use crate::state::{OwnView, StateError};
use crate::stream::{SILENCE_MAX, Stream, in_time};

/// Bytes of publishes that are in flight at once; one always may be.
const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Replies that wait to be taken.
const REPLIES_MAX: usize = 128;

/// An open publish stream, before it was compared with what this node signed.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) at: usize,
    pub(super) standing: Bytes,
    stream: Stream,
    receipt_key: VerifyingKey,
}

/// Connects, proves the owner's key and opens the publish stream.
pub(super) async fn open(
    dial: Arc<dyn Dial>,
    at: usize,
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
    Ok(Opened { at, standing: opened.standing, stream, receipt_key })
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
    pub(super) at: usize,
    pub(super) stream: Stream,
    pub(super) receipt_key: VerifyingKey,
    pub(super) limits: Limits,
    /// Number of the next head to send.
    next: HeadNumber,
    expected: VecDeque<Expected>,
    in_flight_bytes: usize,
    /// Since when the broker owes an answer.
    owes_since: Option<Instant>,
}

#[derive(Debug)]
enum Expected {
    Receipt { number: HeadNumber, bytes: usize },
    Readers,
}

impl Session {
    /// Compares where the broker stands with what this node signed, by ancestry and not by number. [P-5]
    pub(super) fn begin(opened: Opened, owner: &Owner) -> Result<Result<Self, Unfit>, StateError> {
        let next = match first_to_send(owner, &opened.standing, &opened.receipt_key)? {
            Ok(next) => next,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let limits = opened.stream.connection().welcome().limits;
        let (at, stream, receipt_key) = (opened.at, opened.stream, opened.receipt_key);
        Ok(Ok(Self { at, stream, receipt_key, limits, next, expected: VecDeque::new(), in_flight_bytes: 0, owes_since: None }))
    }

    /// Whether another publish may be sent now.
    pub(super) fn has_room(&self) -> bool {
        let most = PUBLISHES_IN_FLIGHT_MAX.min(self.limits.publishes_in_flight_max as usize).max(1);
        self.expected.len() < most && (self.in_flight_bytes < IN_FLIGHT_BYTES_MAX)
    }

    /// Sends signed publishes that were not sent on this stream, as many as may be in flight. True if all are sent.
    pub(super) fn send_signed(&mut self, owner: &Owner) -> Result<bool, StateError> {
        while self.has_room() {
            let Some((number, request)) = owner.unreceipted_from(self.next)? else { return Ok(true) };
            let bytes = match &request {
                Request::Publish(publish) => publish.entries.iter().chain(&publish.attachments).map(Bytes::len).sum(),
                _ => return Err(StateError::Damaged("what waits to be sent is no publish".into())),
            };
            if !self.stream.send(request) {
                return Ok(false);
            }
            self.expect(Expected::Receipt { number, bytes });
            self.in_flight_bytes += bytes;
            self.next = HeadNumber::new(number.value() + 1);
        }
        Ok(false)
    }

    /// Asks for rows and acknowledgements, unless the answer is on its way.
    pub(super) fn ask_readers(&mut self) {
        let asked = self.expected.iter().any(|expected| matches!(expected, Expected::Readers));
        if !asked && self.stream.send(Request::AskReaders) {
            self.expect(Expected::Readers);
        }
    }

    fn expect(&mut self, answer: Expected) {
        self.expected.push_back(answer);
        self.owes_since.get_or_insert_with(Instant::now);
    }

    /// When the broker is left if it stays silent.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        self.owes_since.map(|since| since + SILENCE_MAX)
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
                self.receipt(number, receipt, owner)
            }
            (Some(Expected::Readers), Reply::Readers(readers)) => Ok(Ok(Answer::Readers(readers))),
            (_, Reply::Refused(refusal)) => Ok(Err((BrokerState::Refused, refusal.to_string()))),
            _ => Ok(Err((BrokerState::Broken, "it sent an answer that nobody asked for".into()))),
        }
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

/// Number of the first publish to send to a broker that stands at `standing`; or why nothing may be sent there.
fn first_to_send(owner: &Owner, standing: &Bytes, receipt_key: &VerifyingKey) -> Result<Result<HeadNumber, Unfit>, StateError> {
    let number = match standing_number(owner, standing)? {
        Ok(number) => number,
        Err(unfit) => return Ok(Err(unfit)),
    };
    let receipted = owner.state.read(|transaction| OwnView(transaction).receipt(receipt_key))?;
    let receipted = receipted.and_then(|bytes| Receipt::verify(&bytes, receipt_key).ok());
    if let Some(receipt) = receipted.filter(|receipt| receipt.rank.number > number) {
        let detail = format!("it receipted head {}, and stands at head {number}", receipt.rank);
        return Ok(Err((BrokerState::BehindReceipt, detail)));
    }
    let newest = owner.writer.head().map_or(HeadNumber::ZERO, |head| head.rank().number);
    // A head it holds without a receipt here is sent again: the answer to a repetition is that receipt.
    let first = owner.unreceipted_from(if number == HeadNumber::ZERO { HeadNumber::new(1) } else { number })?;
    let follows = |first: HeadNumber| first.value() <= number.value() + 1;
    match first {
        None if newest == number => Ok(Ok(HeadNumber::new(number.value() + 1))),
        Some((first, _)) if follows(first) => Ok(Ok(first)),
        _ => Ok(Err((BrokerState::NeedsTransfer, format!("it stands at head {number}; this node keeps only later ones for sending")))),
    }
}

/// Number of the head a broker stands at, if it is one that this node signed; 0 if the queue is new there.
fn standing_number(owner: &Owner, standing: &Bytes) -> Result<Result<HeadNumber, Unfit>, StateError> {
    if standing.is_empty() {
        return Ok(Ok(HeadNumber::ZERO));
    }
    let broken = |detail: &str| Ok(Err((BrokerState::Broken, detail.to_owned())));
    let Ok(head) = SignedHead::parse(standing.clone()) else { return broken("the head it stands at does not decode") };
    if head.verify(&owner.key.verifying_key()).is_err() || head.head().queue != owner.writer.queue() {
        return broken("the head it stands at is not of this owner");
    }
    if owner.cursor_of(head.rank().number)? == Some(head.cursor()) {
        return Ok(Ok(head.rank().number));
    }
    Ok(Err((BrokerState::UnknownHead, format!("it stands at head {}; another writer with this key, or a lost state", head.rank()))))
}
