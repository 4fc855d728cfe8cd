//! Everything that a broker holds of the own queue, on its way to the owner. [P-5]

use std::time::Duration;

use tidings_core::recovery::{Recovered, Recovery, RecoveryError};
use tidings_core::{QueueDescriptor, SignedHead};
use tidings_proto::{RefusalCode, Reply, Request};
use tokio::time::Instant;

use super::session::{Opened, Unfit, unfit};
use super::status::BrokerState;
use crate::connection::ConnectionError;
use crate::stream::{SILENCE_MAX, Stream, weight};

/// The parts that came so far.
#[derive(Debug)]
pub(super) struct Recovering {
    pub(super) stream: Stream,
    recovery: Recovery,
    begun_at: Instant,
    heard_at: Instant,
    bytes: u64,
}

/// Bytes in a second that a broker has to give at least. Nothing is signed meanwhile: one that gives next to nothing, and never ends,
/// would keep the owner from signing for ever.
const SLOWEST: u64 = 16 * 1024;

impl Recovering {
    /// Asks for everything that `head` signs, which the broker stands at.
    pub(super) fn begin(opened: Opened, descriptor: QueueDescriptor, head: &SignedHead) -> Self {
        let stream = opened.stream;
        // Of a stream that is gone the receiving half tells.
        stream.send(Request::Recover);
        let now = Instant::now();
        let recovery = Recovery::new(descriptor).of_head(head);
        Self { stream, recovery, begun_at: now, heard_at: now, bytes: 0 }
    }

    /// When the broker is left if it stays silent, or gives too little.
    pub(super) fn silent_at(&self) -> Instant {
        let slowest = self.begun_at + SILENCE_MAX + Duration::from_secs(self.bytes / SLOWEST);
        slowest.min(self.heard_at + SILENCE_MAX)
    }

    /// Takes a reply and those that are there already. Gives the whole, believed because it is what the head signs.
    pub(super) fn take(&mut self, first: Result<Reply, ConnectionError>) -> Result<Option<Recovered>, Unfit> {
        self.heard_at = Instant::now();
        let mut next = Some(first);
        while let Some(reply) = next {
            self.bytes += reply.as_ref().map_or(0, |reply| u64::from(weight(reply)));
            if let Some(recovered) = self.take_one(reply)? {
                return Ok(Some(recovered));
            }
            next = self.stream.received();
        }
        Ok(None)
    }

    fn take_one(&mut self, reply: Result<Reply, ConnectionError>) -> Result<Option<Recovered>, Unfit> {
        match reply.map_err(|error| unfit(&error))? {
            Reply::Part(part) => {
                let unfit = |error| match error {
                    RecoveryError::AnotherHead => (BrokerState::Comparing, error.to_string()),
                    error => (BrokerState::Broken, format!("what it gives back is not what the owner signed: {error}")),
                };
                self.recovery.take(part).map_err(unfit)
            }
            // It went on meanwhile: what it stands at now is compared.
            Reply::Refused(refusal) if refusal.code == RefusalCode::Conflict => Err((BrokerState::Comparing, refusal.to_string())),
            Reply::Refused(refusal) => Err((BrokerState::Refused, refusal.to_string())),
            _ => Err((BrokerState::Broken, "it sent an answer that nobody asked for".into())),
        }
    }
}
