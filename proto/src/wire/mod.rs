//! Frames to bytes and back. The protobuf types are private to this module.
//!
//! Decoding goes from cheap to dear: frame length, number of fields, protobuf, then every length and count against
//! [`caps`](crate::caps). What comes out needs no second check. Byte fields share the frame's memory, except heads, which are kept
//! for long.

mod bounded;
mod buffer;
mod fields;
mod reply;
mod request;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

pub use buffer::FrameBuffer;

use crate::caps::FRAME_BYTES_MAX;
use crate::frames::{Reply, Request};
use crate::refusal::{Refusal, RefusalCode};

/// Bytes of the length that stands before every frame.
pub const PREFIX_BYTES: usize = 4;

/// Generated from `tidings.proto`.
mod schema {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/tidings.v1.rs"));
}

/// Why bytes are not a frame. Nothing was carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The bytes are no frame of this protocol.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// A length or count exceeds its cap. [P-19]
    #[error("{field} exceeds {max}")]
    TooLarge {
        /// What was too large.
        field: &'static str,
        /// Its cap, in bytes or items.
        max: usize,
    },
    /// A kind of frame this build does not know: a newer peer. [P-20]
    #[error("a kind of frame that this build does not know")]
    TooNew,
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::Malformed(_) => RefusalCode::Malformed,
            FrameError::TooLarge { .. } => RefusalCode::TooLarge,
            FrameError::TooNew => RefusalCode::TooNew,
        };
        Self::new(code, error.to_string())
    }
}

/// Length of the frame that follows `prefix`, if it is at most `max` bytes. [P-19]
pub fn frame_length(prefix: [u8; PREFIX_BYTES], max: usize) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > max { Err(FrameError::TooLarge { field: "frame", max }) } else { Ok(length) }
}

macro_rules! coded {
    ($frame:ident) => {
        impl $frame {
            /// The frame without its length prefix.
            pub fn encode(&self) -> Bytes {
                schema::$frame::from(self).encode_to_vec().into()
            }

            /// Length prefix and frame, as they go on a stream.
            pub fn encode_prefixed(&self) -> Bytes {
                let message = schema::$frame::from(self);
                let length = message.encoded_len();
                let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
                out.put_u32(u32::try_from(length).expect("frames are capped below 2^32 bytes"));
                message.encode_raw(&mut out);
                out.freeze()
            }

            /// Reads one whole frame without its length prefix. Byte fields other than heads share the memory of `bytes`.
            pub fn decode(bytes: Bytes) -> Result<Self, FrameError> {
                if bytes.len() > FRAME_BYTES_MAX {
                    return Err(FrameError::TooLarge { field: "frame", max: FRAME_BYTES_MAX });
                }
                fields::check(&bytes)?;
                schema::$frame::decode(bytes).map_err(|_| FrameError::Malformed("not protobuf"))?.try_into()
            }
        }
    };
}

coded!(Request);
coded!(Reply);
