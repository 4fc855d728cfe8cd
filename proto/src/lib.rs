//! What client and broker of Tidings agree on: ids, frames, caps and refusals.
//!
//! Nothing here knows tokio, quinn or a disk. Frames are plain structs; the protobuf types behind them are private.
//! What is signed, hashed or sealed travels inside frames as `bytes` and is defined in `tidings-core`.

pub mod address;
pub mod caps;
pub mod frames;
pub mod ids;
pub mod refusal;
pub mod wire;

pub use address::BrokerAddress;
pub use frames::{Reply, Request};
pub use ids::{
    Birth, ContentHash, EntryDigest, Epoch, HeadHash, HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Term, Timestamp, VerifyingKey,
};
pub use refusal::{Refusal, RefusalCode};
pub use wire::FrameError;
