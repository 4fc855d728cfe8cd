//! Frames on one stream. Both halves may be cancelled between any two polls and lose nothing.

use std::sync::Arc;

use bytes::Bytes;
use tidings_proto::caps::FRAME_BYTES_MAX_UNPROVEN;
use tidings_proto::wire::{FrameBuffer, FrameError};
use tidings_proto::{Refusal, RefusalCode, Reply, Request};

use super::budget::Held;
use super::room::{Room, Sending};

/// Longest piece taken off a stream at once, bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Why a stream gives no further request.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer ended it, or the connection is gone. Nobody to tell.
    Gone,
    /// What the peer sent is not of this protocol; it is told.
    Refused(Refusal),
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Self {
        Self::Refused(error.into())
    }
}

/// Requests that arrive on one stream.
#[derive(Debug)]
pub(super) struct Requests {
    stream: quinn::RecvStream,
    buffer: FrameBuffer,
    frame_bytes_max: usize,
    /// What the buffer is counted against once it may grow.
    held: Option<Held>,
}

impl Requests {
    /// Frames of a peer of which nothing is known yet: short ones.
    pub(super) fn new(stream: quinn::RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::new(), frame_bytes_max: FRAME_BYTES_MAX_UNPROVEN, held: None }
    }

    /// Longer frames are taken from now on, as far as `held` has room for them.
    pub(super) fn allow(&mut self, frame_bytes_max: usize, held: Held) {
        self.frame_bytes_max = frame_bytes_max;
        self.held = Some(held);
    }

    /// The next request. [P-19]
    pub(super) async fn next(&mut self) -> Result<Request, Ended> {
        self.next_held().await.map(|(request, _)| request)
    }

    /// The next request with the memory it is counted for, where it is.
    pub(super) async fn next_held(&mut self) -> Result<(Request, Option<Held>), Ended> {
        loop {
            if let Some(frame) = self.buffer.frame(self.frame_bytes_max)? {
                return Ok((Request::decode(frame)?, self.held.as_mut().map(Held::take)));
            }
            match self.stream.read_chunk(PIECE_BYTES_MAX, true).await {
                Ok(Some(piece)) => self.push(&piece.bytes)?,
                Ok(None) | Err(_) => return Err(Ended::Gone),
            }
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Ended> {
        self.buffer.push(piece);
        match &mut self.held {
            Some(held) => held.grow(self.buffer.len()).ok_or_else(busy),
            None => Ok(()),
        }
    }
}

fn busy() -> Ended {
    Ended::Refused(Refusal::new(RefusalCode::Busy, "too many publishes wait; nothing changed, repeat later"))
}

/// Replies that leave on one stream, at most one frame ahead of what the stream takes.
#[derive(Debug)]
pub(super) struct Replies {
    stream: quinn::SendStream,
    unsent: Bytes,
    /// Length of the frame that `unsent` is the rest of, bytes.
    frame_bytes: usize,
    sending: Sending,
}

impl Replies {
    /// Nothing is on its way yet. `room` is that of the connection.
    pub(super) fn new(stream: quinn::SendStream, room: Arc<Room>) -> Self {
        Self { stream, unsent: Bytes::new(), frame_bytes: 0, sending: Sending::new(room) }
    }

    /// Whether the last frame was taken whole: time for the next.
    pub(super) fn is_idle(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Takes the next frame, with its prefix. Only when idle.
    pub(super) fn put(&mut self, frame: Bytes) {
        debug_assert!(self.is_idle(), "one frame at a time");
        self.frame_bytes = frame.len();
        self.sending.begins(frame.len());
        self.unsent = frame;
    }

    /// There is nothing more to send for now.
    pub(super) fn rest(&mut self) {
        self.sending.rests();
    }

    /// Takes back a frame of which the stream took nothing yet. False: a part of one has left, and it stays.
    pub(super) fn withdraw(&mut self) -> bool {
        let whole = self.unsent.len() == self.frame_bytes;
        if whole {
            self.unsent = Bytes::new();
            self.frame_bytes = 0;
            self.sending.was_withdrawn();
        }
        whole || self.is_idle()
    }

    /// Hands the frame to the stream; waits while the peer takes no more.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        while !self.unsent.is_empty() {
            self.stream.write_chunks(std::slice::from_mut(&mut self.unsent)).await.map_err(|_| Ended::Gone)?;
        }
        self.sending.was_taken();
        Ok(())
    }

    /// Sends one more frame.
    pub(super) async fn send(&mut self, reply: &Reply) -> Result<(), Ended> {
        self.flush().await?;
        self.put(reply.encode_prefixed());
        self.flush().await
    }

    /// Ends the stream after what was sent, and waits until the peer has it all or is gone.
    pub(super) async fn finish(mut self) {
        if self.flush().await.is_ok() && self.stream.finish().is_ok() {
            // Closing the connection earlier would take back what the peer has not received yet.
            let _ = self.stream.stopped().await;
        }
    }

    /// Ends the stream where it stands: the peer sees `code`, and no frame that was cut.
    pub(super) fn abandon(mut self, code: RefusalCode) {
        // It may have ended by itself.
        let _ = self.stream.reset(code.number().into());
    }

    /// Ends the stream with a last word to whoever is still there.
    pub(super) async fn end(mut self, ended: Ended) {
        if let Ended::Refused(refusal) = ended
            && self.send(&Reply::Refused(refusal)).await.is_ok()
        {
            self.finish().await;
        }
    }
}

/// A request that does not belong on this stream.
pub(super) fn out_of_place() -> Ended {
    Ended::Refused(Refusal::new(RefusalCode::Malformed, "this request does not belong on this stream"))
}
