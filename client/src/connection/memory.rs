//! A connection without a network, for tests and simulations: channels to a broker in the same process.

use tidings_proto::{Reply, Request};
use tokio::sync::{mpsc, watch};

use super::endpoint::ConnectOptions;
use super::error::{CloseReason, ConnectionError};
use super::link::Connection;
use super::stream::{ReplyReceiver, RequestSender, gone};
use super::transport::Transport;

/// Frames that wait in one direction of one stream, as a flow control window would let them.
const FRAMES_MAX: usize = 64;

/// The broker's end. Dropping it is the broker's death.
#[derive(Debug)]
pub struct MemoryBroker {
    /// Streams in the order in which the client opens them: the control stream, then publish streams and subscriptions.
    pub streams: mpsc::Receiver<MemoryStream>,
    /// Becomes true when the client closes the connection.
    pub closed: watch::Receiver<bool>,
    exporter: [u8; 32],
}

/// The broker's end of one stream. Dropping it ends the stream.
#[derive(Debug)]
pub struct MemoryStream {
    /// What the client sends.
    pub requests: mpsc::Receiver<Request>,
    /// What the client receives.
    pub replies: mpsc::Sender<Reply>,
}

impl MemoryBroker {
    /// The value that proofs on this connection sign. [P-18]
    pub fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }
}

/// A broker's end, and a future that greets it and gives the client's end.
///
/// The future waits for `Welcome` on the control stream, so both must run at once. `exporter` must be another for every pair.
pub fn memory_pair(exporter: [u8; 32]) -> (MemoryBroker, impl Future<Output = Result<Connection, ConnectionError>> + Send) {
    let (opened, streams) = mpsc::channel(16);
    let (close, closed) = watch::channel(false);
    let transport = Transport::Memory(MemoryTransport { opened, close, exporter });
    (MemoryBroker { streams, closed, exporter }, Connection::greet(transport, ConnectOptions::default().software))
}

#[derive(Debug)]
pub(super) struct MemoryTransport {
    opened: mpsc::Sender<MemoryStream>,
    close: watch::Sender<bool>,
    exporter: [u8; 32],
}

impl MemoryTransport {
    pub(super) async fn open(&self) -> Result<(RequestSender, ReplyReceiver), ConnectionError> {
        if *self.close.borrow() {
            return Err(ConnectionError::closed(CloseReason::Local));
        }
        let (request_sender, requests) = mpsc::channel(FRAMES_MAX);
        let (replies, reply_receiver) = mpsc::channel(FRAMES_MAX);
        self.opened.send(MemoryStream { requests, replies }).await.map_err(|_| gone())?;
        Ok((RequestSender::memory(request_sender), ReplyReceiver::memory(reply_receiver)))
    }

    pub(super) fn exporter(&self) -> [u8; 32] {
        self.exporter
    }

    pub(super) fn close(&self) {
        self.close.send_replace(true);
    }

    pub(super) async fn closed(&self) -> CloseReason {
        let mut local = self.close.subscribe();
        tokio::select! {
            _ = local.wait_for(|closed| *closed) => CloseReason::Local,
            () = self.opened.closed() => CloseReason::Lost("the other end is gone".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{NodeKey, verify_proof};
    use tidings_proto::frames::{Limits, Open, Welcome};
    use tidings_proto::{Refusal, RefusalCode, VerifyingKey};

    fn welcome() -> Welcome {
        let limits = Limits {
            publish_entries_max: 1,
            publish_bytes_max: 1,
            entry_bytes_max: 1,
            publishes_in_flight_max: 1,
            readers_max: 1,
            live_bytes_max: 0,
        };
        Welcome { software: "test".into(), receipt_key: VerifyingKey::ZERO, limits }
    }

    async fn greeted() -> (MemoryBroker, MemoryStream, Connection) {
        let (mut broker, client) = memory_pair([7; 32]);
        let greeting = async {
            let mut control = broker.streams.recv().await.expect("control stream");
            assert!(matches!(control.requests.recv().await, Some(Request::Hello(_))));
            control.replies.send(Reply::Welcome(welcome())).await.expect("client is there");
            control
        };
        let (control, connection) = tokio::join!(greeting, client);
        (broker, control, connection.expect("greeted"))
    }

    /// [P-18]
    #[tokio::test]
    async fn a_proof_verifies_against_the_exporter_of_its_connection_only() {
        let (broker, mut control, connection) = greeted().await;
        let key = NodeKey::from_seed([1; 32]);
        let answer = async {
            let Some(Request::Prove(proof)) = control.requests.recv().await else { panic!("a proof") };
            assert!(verify_proof(&proof.key, broker.exporter(), &proof.signature));
            assert!(!verify_proof(&proof.key, &[8; 32], &proof.signature));
            control.replies.send(Reply::Proven(proof.key)).await.expect("client is there");
        };
        let (proven, ()) = tokio::join!(connection.prove(&key), answer);
        assert_eq!(proven, Ok(()));
    }

    #[tokio::test]
    async fn a_refused_publish_stream_is_an_error_with_the_refusal() {
        let (mut broker, _control, connection) = greeted().await;
        let refusal = Refusal::new(RefusalCode::NotProven, "prove first");
        let answer = async {
            let mut stream = broker.streams.recv().await.expect("a stream");
            assert!(matches!(stream.requests.recv().await, Some(Request::Open(Open { .. }))));
            stream.replies.send(Reply::Refused(refusal.clone())).await.expect("client is there");
        };
        let (opened, ()) = tokio::join!(connection.open_publish(bytes::Bytes::new()), answer);
        assert_eq!(opened.err(), Some(ConnectionError::Refused(refusal.clone())));
    }

    #[tokio::test]
    async fn the_death_of_the_broker_is_seen() {
        let (broker, _control, connection) = greeted().await;
        drop(broker);
        assert!(matches!(connection.closed().await, CloseReason::Lost(_)));
    }

    #[tokio::test]
    async fn a_closed_connection_opens_no_stream() {
        let (broker, _control, connection) = greeted().await;
        connection.close();
        assert_eq!(connection.closed().await, CloseReason::Local);
        assert!(*broker.closed.borrow());
        assert!(connection.open_publish(bytes::Bytes::new()).await.is_err());
    }
}
