//! Publish to and subscribe from sealed queues.
//!
//! [`State`] is the durable file of a node. A [`Publisher`] owns the node's own queue, a [`Subscriber`] keeps up one follow;
//! both run before the network is there and reconnect by themselves.
//!
//! ```
//! use std::sync::Arc;
//! use tidings_client::{BrokerState, Nowhere, Publisher, PublisherConfig, Stage, State, Write};
//! use tidings_core::NodeKey;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = NodeKey::from_seed([7; 32]); // a real one comes from its key file
//! let broker = "tidings://broker.example:4433".parse()?;
//! let config = PublisherConfig::new(Arc::new(Nowhere), vec![broker]);
//! let publisher = Publisher::open(State::in_memory()?, key, config)?;
//!
//! // Durable when this returns, although no broker can be reached. The second write replaces the first.
//! let path: tidings_core::RecordPath = "/favorites/color".parse()?;
//! let put = |value: &'static str| Write::Put { path: path.clone(), value: value.into(), content_type: String::new() };
//! publisher.write(vec![put("blue")]).await?;
//! publisher.write(vec![put("green")]).await?;
//!
//! let record = publisher.get(&path)?.expect("it was written");
//! assert_eq!(record.mutation.inline.as_deref(), Some(&b"green"[..]));
//! assert_eq!(record.stage, Stage::Waiting);
//!
//! let status = publisher.status()?;
//! assert_eq!((status.unsigned, status.unreceipted), (1, 0));
//! assert_ne!(status.brokers[0].state, BrokerState::Connected);
//! publisher.close().await;
//! # Ok(())
//! # }
//! ```

mod backoff; // when to try again
mod clock; // time and randomness
pub mod connection; // the only module that knows QUIC
pub mod dial; // how connections are had
pub mod folder; // whose names last
mod processors; // work for more than one
pub mod publisher; // the owner's side
pub mod state; // what survives
mod stream; // both directions of a stream
pub mod subscriber; // the reader's side
pub mod whole_file; // small files, and what is no file

pub use connection::{Connection, ConnectionError, Endpoint};
pub use dial::{Dial, Network, Nowhere};
pub use publisher::{
    Archive, ArchiveError, Archived, ArchivedHead, BrokerState, BrokerStatus, Compared, Conflict, FlushError, GrantFailure, Loss, Merge,
    MergedReader, MoveError, Moved, Named, OwnMark, OwnSnapshot, OwnStatus, OwnValue, Publisher, PublisherConfig, PublisherError,
    ReaderStatus, ReadersError, Rescued, RevokeFailure, SnapshotError, Stage, TakeOverError, TakenOver, Ticket, TicketError, Write,
    WriteError,
};
pub use state::{Row, State, StateError, StateFailure};
pub use subscriber::{
    CaughtUp, ChangeId, Event, Follow, FollowError, FollowedValue, Rewound, Subscriber, SubscriberConfig, VerdictReport, View, Witness,
};
