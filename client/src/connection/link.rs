//! One connection to one broker.

use std::sync::Arc;

use bytes::Bytes;
use tidings_proto::frames::{Open, Prove, Subscribe, Welcome};
use tidings_proto::{Reply, Request};

use super::control::{Control, Provable};
use super::error::{CloseReason, ConnectionError};
use super::stream::{ReplyReceiver, RequestSender};
use super::transport::Transport;

/// A greeted connection. Clones are handles to the same one; it closes when they and its streams are dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Transport,
    control: Control,
    welcome: Welcome,
}

/// Bytes of UDP payload in both directions since a connection was begun: with everything that QUIC adds and repeats, without the headers
/// of UDP and IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that left.
    pub sent: u64,
    /// Bytes that came.
    pub received: u64,
}

/// An open publish stream. The halves are independent: receipts are received while publishes are sent.
#[derive(Debug)]
pub struct PublishStream {
    /// Signed head the queue stands at, verbatim; empty if the queue is new there.
    pub standing: Bytes,
    /// Takes `Publish` and `AskReaders`.
    pub requests: RequestSender,
    /// Gives `Receipt`, `Readers` or `Refused`, one for each request and in their order.
    pub replies: ReplyReceiver,
}

/// An open subscription. The halves are independent, but dropping either ends it: keep both as long as it is wanted.
#[derive(Debug)]
pub struct SubscriptionStream {
    /// Takes `AskBitmap` and `Acknowledge`.
    pub requests: RequestSender,
    /// Gives `Grant`, `Announce`, `Chunk`, `Bitmap`, `Acknowledged`; after `Refused` the stream ends.
    pub replies: ReplyReceiver,
}

impl Connection {
    /// Exchanges greetings on the first stream.
    pub(super) async fn greet(transport: Transport, software: String) -> Result<Self, ConnectionError> {
        let (requests, replies) = transport.open().await?;
        let (control, welcome) = Control::start(requests, replies, software).await?;
        Ok(Self { shared: Arc::new(Shared { transport, control, welcome }) })
    }

    /// What the broker said of itself: software, receipt key, limits.
    pub fn welcome(&self) -> &Welcome {
        &self.shared.welcome
    }

    /// Proves a key on this connection. The first one opens the way for further streams; a broker closes a connection that
    /// proves none within seconds. [P-18]
    ///
    /// # Errors
    /// `Refused`, `Closed`, `Protocol`. Proving again is harmless. Safe to cancel.
    pub async fn prove(&self, key: &impl Provable) -> Result<(), ConnectionError> {
        let signature = key.proof(&self.shared.transport.exporter()?);
        self.shared.control.prove(Prove { key: key.key(), signature }).await
    }

    /// Opens the publish stream of a queue whose signing key was proven before.
    ///
    /// # Errors
    /// `Refused`, `Closed`, `Protocol`. Nothing changes at the broker. Safe to cancel.
    pub async fn open_publish(&self, descriptor: Bytes) -> Result<PublishStream, ConnectionError> {
        let (mut requests, mut replies) = self.shared.transport.open().await?;
        requests.send(Request::Open(Open { descriptor })).await?;
        match replies.receive().await? {
            Reply::Standing(standing) => Ok(PublishStream { standing, requests, replies }),
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Err(ConnectionError::Protocol("a publish stream does not begin with where the queue stands".into())),
        }
    }

    /// Opens a subscription of a reader whose pseudonym was proven before. A refusal comes as its first reply.
    ///
    /// # Errors
    /// `Closed`. Safe to cancel.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<SubscriptionStream, ConnectionError> {
        let (mut requests, replies) = self.shared.transport.open().await?;
        requests.send(Request::Subscribe(subscribe)).await?;
        Ok(SubscriptionStream { requests, replies })
    }

    /// What went over the network so far; zeros where there is none. Still there after the connection has ended.
    pub fn traffic(&self) -> Traffic {
        self.shared.transport.traffic()
    }

    /// Waits until the connection has ended, and says why. Safe to cancel.
    pub async fn closed(&self) -> CloseReason {
        self.shared.transport.closed().await
    }

    /// Closes the connection for all its handles and streams. What was sent and not answered may have taken effect.
    pub fn close(&self) {
        self.shared.transport.close();
    }
}
