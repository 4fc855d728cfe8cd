//! A connection to one broker: the only place in this crate that knows QUIC.
//!
//! Upper layers see three plain structs: [`Connection`], [`RequestSender`] and [`ReplyReceiver`], in and out the frames of
//! [`tidings_proto::frames`]. Each is one of two kinds inside: QUIC, or a pair of channels from [`memory_pair`], so
//! everything above runs against a broker in the same process, honest or not, without a socket. An enum and not a trait:
//! there are two kinds, both known here, and no caller becomes generic over them.
//!
//! Order of use: [`Endpoint::bind`] once for a process, [`Connection::connect`], [`Connection::prove`] for each key, then
//! [`Connection::open_publish`] and [`Connection::subscribe`].

mod control; // the first stream: greeting and proofs
mod endpoint; // the socket; connecting
mod error;
mod link; // one connection
mod memory; // a connection without a network
mod race; // attempts beside each other
mod silence; // a path that carries nothing back
mod stream; // frames on one stream
mod tls; // who the broker is
mod transport; // QUIC or memory

pub use control::Provable;
pub use endpoint::{ConnectOptions, Endpoint};
pub use error::{CloseReason, ConnectionError, Effect};
pub use link::{Connection, PublishStream, SubscriptionStream, Traffic};
pub use memory::{MemoryBroker, MemoryStream, memory_pair};
pub use stream::{ReplyReceiver, RequestSender};
pub use tls::KeyExchange;
