//! The owner's side: an outbox that survives, one task that signs and publishes it, receipts.
//!
//! A [`Publisher`] works without a broker: writes are durable in the outbox when [`Publisher::write`] returns, and are
//! signed and published when a broker is there. What was signed is sent again byte for byte until it is receipted. [P-3]

mod error;
mod status;
mod write;

pub use error::{FlushError, GrantFailure, PublisherError, ReadersError, TicketError, WriteError};
pub use status::{BrokerState, BrokerStatus, OwnStatus, ReaderStatus};
pub use write::{OwnValue, Stage, Ticket, Write};

use std::sync::Arc;
use std::time::Duration;

use tidings_core::{Card, NodeKey, RecordPath};
use tidings_proto::BrokerAddress;

use crate::dial::Dial;
use crate::state::State;

/// How a publisher works.
#[derive(Clone)]
pub struct PublisherConfig {
    /// How brokers are reached.
    pub dial: Arc<dyn Dial>,
    /// Brokers, best first. The first one that can go on from what this node signed is used.
    pub brokers: Vec<BrokerAddress>,
    /// Where readers find this node's storage; part of every grant. Empty if nowhere.
    pub locator: String,
    /// Tombstones older than this are purged although not every reader has acknowledged them. [P-6]
    pub tombstone_age: Duration,
    /// How often the broker is asked for acknowledgements.
    pub ask_readers_every: Duration,
}

impl PublisherConfig {
    /// Tombstones are kept for 30 days, acknowledgements asked for every 60 seconds.
    pub fn new(dial: Arc<dyn Dial>, brokers: Vec<BrokerAddress>) -> Self {
        let tombstone_age = Duration::from_secs(30 * 24 * 60 * 60);
        Self { dial, brokers, locator: String::new(), tombstone_age, ask_readers_every: Duration::from_secs(60) }
    }
}

/// Handle to the one task that owns a node's queue. Clones are handles to the same task; it ends with the last one.
#[derive(Clone)]
pub struct Publisher {
    state: State,
}

impl Publisher {
    /// Opens the node's default queue in `state`, creating it the first time, and starts the task on the current runtime.
    ///
    /// # Errors
    /// The state fails, or holds the queue of another key.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(state: State, key: impl Into<Arc<NodeKey>>, config: PublisherConfig) -> Result<Self, PublisherError> {
        let _ = (key.into(), config);
        Ok(Self { state })
    }

    /// Puts writes into the outbox, all or none. Returns when they are durable; gives a ticket for each, in their order.
    ///
    /// A write of a record that waits unsigned replaces what waits. [P-3]
    ///
    /// # Errors
    /// Nothing was written. Safe to cancel, but then it may have been written.
    pub async fn write(&self, writes: Vec<Write>) -> Result<Vec<Ticket>, WriteError> {
        let _ = writes;
        Err(WriteError::Closed)
    }

    /// Makes the node of `card` a reader and gives the invitation for it, one line of text. Returns when the change of
    /// access is receipted. A repetition gives the same invitation again.
    ///
    /// # Errors
    /// [`GrantFailure::Saved`] carries the invitation: the change is signed and durable, but no broker has receipted it yet.
    pub async fn grant(&self, card: Card, name: String) -> Result<String, GrantFailure> {
        let _ = (card, name);
        Err(GrantFailure::Closed)
    }

    /// The record at `path` as this node last wrote it. `None` if there is none, or if its delete is the last write.
    pub fn get(&self, path: &RecordPath) -> Result<Option<OwnValue>, crate::StateError> {
        let _ = (path, &self.state);
        Ok(None)
    }

    /// Records at `prefix` and below it, ascending by path; an empty prefix or `/` is all.
    pub fn list(&self, prefix: &str) -> Result<Vec<OwnValue>, crate::StateError> {
        let _ = prefix;
        Ok(Vec::new())
    }

    /// What waits, what is published, and how the brokers are.
    pub fn status(&self) -> Result<OwnStatus, crate::StateError> {
        Err(crate::StateError::Damaged("not opened".into()))
    }

    /// The readers with what they have acknowledged. Asks the broker if one is connected, else gives what is known.
    pub async fn readers(&self) -> Result<Vec<ReaderStatus>, ReadersError> {
        Err(ReadersError::Closed)
    }

    /// Waits until everything written before is receipted.
    ///
    /// # Errors
    /// `deadline` passed; everything is durable and will be published later. Safe to cancel.
    pub async fn flush(&self, deadline: Duration) -> Result<(), FlushError> {
        let _ = deadline;
        Ok(())
    }

    /// Ends the task for all handles, after the step it is at. Everything written is durable.
    pub async fn close(self) {}
}
