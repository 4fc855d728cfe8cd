//! A stream with a task for each direction, so that neither waits for the other and everything received can be taken at once.

use std::time::Duration;

use tidings_proto::{Reply, Request};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connection::{CloseReason, Connection, ConnectionError, ReplyReceiver, RequestSender};

/// A broker that owes an answer for so long is left.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Frames that wait in each direction. More than a publish stream ever has in flight.
const FRAMES_MAX: usize = 256;

/// Both directions of one stream, and the connection under it. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Connection,
    requests: mpsc::Sender<Request>,
    replies: mpsc::Receiver<Result<Reply, ConnectionError>>,
    _tasks: JoinSet<()>,
}

impl Stream {
    /// Starts the tasks. They end with this value.
    pub(crate) fn start(connection: Connection, sender: RequestSender, receiver: ReplyReceiver, replies_max: usize) -> Self {
        let (requests, outgoing) = mpsc::channel(FRAMES_MAX);
        let (incoming, replies) = mpsc::channel(replies_max);
        let mut tasks = JoinSet::new();
        tasks.spawn(send_all(outgoing, sender));
        tasks.spawn(receive_all(receiver, incoming));
        Self { connection, requests, replies, _tasks: tasks }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Queues a request; false if the stream is gone or too much waits.
    pub(crate) fn send(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }

    /// Whether at most `waiting` requests are still queued.
    pub(crate) fn has_drained(&self, waiting: usize) -> bool {
        self.requests.max_capacity() - self.requests.capacity() <= waiting
    }

    /// Waits until fewer than `waiting` requests are queued, or the stream is gone. Safe to cancel.
    pub(crate) fn drained(&self, waiting: usize) -> impl Future<Output = ()> + use<> {
        let requests = self.requests.clone();
        // Whether it is gone is said by the receiving half.
        async move { drop(requests.reserve_many(FRAMES_MAX - waiting + 1).await) }
    }

    /// The next reply, or why there is none. Safe to cancel.
    pub(crate) async fn receive(&mut self) -> Result<Reply, ConnectionError> {
        self.replies.recv().await.unwrap_or_else(|| Err(ended()))
    }

    /// A reply that is there already.
    pub(crate) fn received(&mut self) -> Option<Result<Reply, ConnectionError>> {
        self.replies.try_recv().ok()
    }

    /// Ends the stream and the connection after the broker has everything queued.
    pub(crate) async fn finish(mut self) {
        drop(self.requests);
        drop(self.replies);
        // The receiving task waits for the broker; only the sending one has something left to do.
        self._tasks.join_next().await;
        self.connection.close();
    }
}

/// The error of a broker that owes an answer and gives none.
pub(crate) fn silent() -> ConnectionError {
    ConnectionError::Closed { reason: CloseReason::Lost("the broker owes an answer and sends nothing".into()) }
}

/// What `attempt` gives, unless the broker stays silent: a connection that is alive need not be one that serves.
pub(crate) async fn in_time<T>(attempt: impl Future<Output = Result<T, ConnectionError>>) -> Result<T, ConnectionError> {
    tokio::time::timeout(SILENCE_MAX, attempt).await.unwrap_or_else(|_| Err(silent()))
}

fn ended() -> ConnectionError {
    ConnectionError::Protocol("the stream ended without a reason".into())
}

async fn send_all(mut outgoing: mpsc::Receiver<Request>, mut sender: RequestSender) {
    while let Some(request) = outgoing.recv().await {
        // Why it failed is said by the receiving half.
        if sender.send(request).await.is_err() {
            return;
        }
    }
    sender.finish().await;
}

async fn receive_all(mut receiver: ReplyReceiver, incoming: mpsc::Sender<Result<Reply, ConnectionError>>) {
    loop {
        let reply = receiver.receive().await;
        let last = reply.is_err();
        if incoming.send(reply).await.is_err() || last {
            return;
        }
    }
}
