//! Publish to and subscribe from sealed queues.
//!
//! [`State`] is the durable file of a node. A [`Publisher`] owns the node's own queue, a [`Subscriber`] keeps up one follow;
//! both run before the network is there and reconnect by themselves.

mod backoff; // when to try again
mod clock; // time and randomness
pub mod connection; // the only module that knows QUIC
pub mod dial; // how connections are had
pub mod publisher; // the owner's side
pub mod state; // what survives
mod stream; // both directions of a stream
pub mod subscriber; // the reader's side

pub use connection::{Connection, ConnectionError, Endpoint};
pub use dial::{Dial, Network, Nowhere};
pub use publisher::{
    BrokerState, BrokerStatus, FlushError, GrantFailure, OwnStatus, OwnValue, Publisher, PublisherConfig, PublisherError, ReaderStatus,
    ReadersError, Stage, Ticket, TicketError, Write, WriteError,
};
pub use state::{State, StateError};
pub use subscriber::{CaughtUp, ChangeId, Event, Follow, FollowError, FollowedValue, Subscriber, SubscriberConfig, VerdictReport};
