//! Frames on one stream: a half that sends requests and a half that receives replies.

use bytes::Bytes;
use tidings_proto::caps::FRAME_BYTES_MAX;
use tidings_proto::wire::FrameBuffer;
use tidings_proto::{Reply, Request};
use tokio::sync::mpsc;

use super::error::{CloseReason, ConnectionError};
use super::silence::Word;

/// Longest piece taken off a stream at once, bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Sends requests on one stream. Dropping it ends the stream after what was sent.
#[derive(Debug)]
pub struct RequestSender {
    inner: Sender,
}

#[derive(Debug)]
enum Sender {
    Quic { stream: quinn::SendStream, unsent: Bytes },
    Memory(mpsc::Sender<Request>),
}

impl RequestSender {
    pub(super) fn quic(stream: quinn::SendStream) -> Self {
        Self { inner: Sender::Quic { stream, unsent: Bytes::new() } }
    }

    pub(super) fn memory(channel: mpsc::Sender<Request>) -> Self {
        Self { inner: Sender::Memory(channel) }
    }

    /// Hands a request to the connection; waits while the broker takes no more.
    ///
    /// If this is cancelled, the request is sent whole or not at all: a frame that was begun goes on with the next `send`.
    ///
    /// # Errors
    /// `Closed`. The broker may have refused before it closed: what it said is at the receiving half.
    pub async fn send(&mut self, request: Request) -> Result<(), ConnectionError> {
        match &mut self.inner {
            Sender::Quic { stream, unsent } => {
                flush(stream, unsent).await?;
                *unsent = request.encode_prefixed();
                flush(stream, unsent).await
            }
            Sender::Memory(channel) => channel.send(request).await.map_err(|_| gone()),
        }
    }

    /// Ends the stream and waits until the broker has all that was sent: closing the connection before that would take it back.
    /// Safe to cancel.
    pub async fn finish(self) {
        if let Sender::Quic { mut stream, .. } = self.inner
            && stream.finish().is_ok()
        {
            // A stream that was stopped or lost has nothing left to wait for.
            let _ = stream.stopped().await;
        }
    }
}

/// Cancelled or not, `unsent` is what the stream has not taken yet.
async fn flush(stream: &mut quinn::SendStream, unsent: &mut Bytes) -> Result<(), ConnectionError> {
    while !unsent.is_empty() {
        stream.write_chunks(std::slice::from_mut(unsent)).await?;
    }
    Ok(())
}

/// Receives the replies of one stream. Dropping it tells the broker to stop.
#[derive(Debug)]
pub struct ReplyReceiver {
    inner: Receiver,
}

#[derive(Debug)]
enum Receiver {
    Quic { stream: quinn::RecvStream, buffer: FrameBuffer, word: Word },
    Memory(mpsc::Receiver<Reply>),
}

impl ReplyReceiver {
    pub(super) fn quic(stream: quinn::RecvStream, word: Word) -> Self {
        Self { inner: Receiver::Quic { stream, buffer: FrameBuffer::new(), word } }
    }

    pub(super) fn memory(channel: mpsc::Receiver<Reply>) -> Self {
        Self { inner: Receiver::Memory(channel) }
    }

    /// The next reply, a [`Reply::Refused`] included. Safe to cancel.
    ///
    /// # Errors
    /// `Closed`, with [`CloseReason::Finished`] where the broker ended this stream alone; `Protocol`.
    pub async fn receive(&mut self) -> Result<Reply, ConnectionError> {
        match &mut self.inner {
            Receiver::Quic { stream, buffer, word } => receive(stream, buffer).await.map_err(|error| word.error(error)),
            Receiver::Memory(channel) => channel.recv().await.ok_or(ConnectionError::closed(CloseReason::Finished)),
        }
    }
}

async fn receive(stream: &mut quinn::RecvStream, buffer: &mut FrameBuffer) -> Result<Reply, ConnectionError> {
    loop {
        if let Some(frame) = buffer.frame(FRAME_BYTES_MAX)? {
            return Ok(Reply::decode(frame)?);
        }
        match stream.read_chunk(PIECE_BYTES_MAX, true).await? {
            Some(piece) => buffer.push(&piece.bytes),
            None if buffer.is_empty() => return Err(ConnectionError::closed(CloseReason::Finished)),
            None => return Err(ConnectionError::Protocol("a stream ends inside a frame".into())),
        }
    }
}

pub(super) fn gone() -> ConnectionError {
    ConnectionError::closed(CloseReason::Lost("the other end is gone".into()))
}
