//! A stream with a task for each direction, so that neither waits for the other and everything received can be taken at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_proto::{Reply, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::connection::{CloseReason, Connection, ConnectionError, ReplyReceiver, RequestSender};

/// A broker that owes an answer for so long is left.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Frames that wait in each direction. More than a publish stream ever has in flight.
const FRAMES_MAX: usize = 256;

/// Bytes of replies that wait to be taken, beside one of any size: a broker that gives back a whole queue sends faster than it is judged.
const WAITING_BYTES_MAX: u32 = 32 * 1024 * 1024;

/// A reply, and its part of the bytes that may wait.
type Waiting = (Result<Reply, ConnectionError>, Option<OwnedSemaphorePermit>);

/// Both directions of one stream, and the connection under it. Dropping it ends the stream.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Connection,
    requests: mpsc::Sender<Request>,
    replies: mpsc::Receiver<Waiting>,
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
        self.replies.recv().await.map_or_else(|| Err(ended()), |(reply, _)| reply)
    }

    /// A reply that is there already.
    pub(crate) fn received(&mut self) -> Option<Result<Reply, ConnectionError>> {
        self.replies.try_recv().ok().map(|(reply, _)| reply)
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

async fn receive_all(mut receiver: ReplyReceiver, incoming: mpsc::Sender<Waiting>) {
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX as usize));
    loop {
        let reply = receiver.receive().await;
        let (last, bytes) = (reply.is_err(), reply.as_ref().map_or(0, weight));
        let taken = room.clone().acquire_many_owned(bytes).await.ok();
        if incoming.send((reply, taken)).await.is_err() || last {
            return;
        }
    }
}

/// Bytes of what makes a reply large, no more than there is room for.
pub(crate) fn weight(reply: &Reply) -> u32 {
    let lengths = |parts: &[Bytes]| parts.iter().map(Bytes::len).sum::<usize>();
    let bytes = match reply {
        Reply::Part(part) => {
            let hashes = part.history.len() * size_of::<[u8; 32]>();
            hashes + lengths(&part.entries) + lengths(&part.attachments) + lengths(&part.rows) + part.live.len() + part.head.len()
        }
        Reply::Chunk(chunk) => lengths(&chunk.entries),
        Reply::Bitmap(bitmap) => bitmap.live.len(),
        Reply::Readers(readers) => lengths(&readers.rows) + lengths(&readers.acknowledgements),
        Reply::Refused(refusal) => lengths(&refusal.rows),
        _ => 0,
    };
    u32::try_from(bytes).unwrap_or(u32::MAX).min(WAITING_BYTES_MAX)
}
