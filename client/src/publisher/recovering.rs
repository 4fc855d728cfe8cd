//! Everything that a broker holds of the own queue, on its way to the owner. [P-5]

use tidings_core::QueueDescriptor;
use tidings_core::recovery::{Recovered, Recovery};
use tidings_proto::{RefusalCode, Reply, Request};
use tokio::time::Instant;

use super::session::{Opened, Unfit, unfit};
use super::status::BrokerState;
use crate::connection::ConnectionError;
use crate::stream::{SILENCE_MAX, Stream};

/// The parts that came so far.
#[derive(Debug)]
pub(super) struct Recovering {
    pub(super) stream: Stream,
    recovery: Recovery,
    heard_at: Instant,
}

impl Recovering {
    /// Asks for everything.
    pub(super) fn begin(opened: Opened, descriptor: QueueDescriptor) -> Self {
        let stream = opened.stream;
        // Of a stream that is gone the receiving half tells.
        stream.send(Request::Recover);
        Self { stream, recovery: Recovery::new(descriptor), heard_at: Instant::now() }
    }

    /// When the broker is left if it stays silent.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard_at + SILENCE_MAX
    }

    /// Takes a reply and those that are there already. Gives the whole, believed because it is what the head signs.
    pub(super) fn take(&mut self, first: Result<Reply, ConnectionError>) -> Result<Option<Recovered>, Unfit> {
        self.heard_at = Instant::now();
        let mut next = Some(first);
        while let Some(reply) = next {
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
                let wrong = |error| (BrokerState::Broken, format!("what it gives back is not what the owner signed: {error}"));
                self.recovery.take(part).map_err(wrong)
            }
            // It went on meanwhile: what it stands at now is compared.
            Reply::Refused(refusal) if refusal.code == RefusalCode::Conflict => Err((BrokerState::Comparing, refusal.to_string())),
            Reply::Refused(refusal) => Err((BrokerState::Refused, refusal.to_string())),
            _ => Err((BrokerState::Broken, "it sent an answer that nobody asked for".into())),
        }
    }
}
