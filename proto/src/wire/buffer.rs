//! Frames out of the pieces in which a stream delivers them.

use bytes::{Bytes, BytesMut};

use super::{FrameError, PREFIX_BYTES, frame_length};

/// What a stream delivered and no frame was made of yet.
///
/// Holds at most the bytes pushed: a length that a peer announces allocates nothing. [P-19]
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: BytesMut,
}

impl FrameBuffer {
    /// Nothing delivered yet; costs no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the stream delivered next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes delivered and not taken out as frames.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the stream may end here: no frame is half delivered.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next whole frame without its prefix, if it is there.
    ///
    /// # Errors
    /// A frame that announces more than `max` bytes, before it arrives. The stream is of no use after that.
    pub fn frame(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let end = PREFIX_BYTES + frame_length(*prefix, max)?;
        if self.bytes.len() < end {
            return Ok(None);
        }
        Ok(Some(self.bytes.split_to(end).freeze().slice(PREFIX_BYTES..)))
    }
}
