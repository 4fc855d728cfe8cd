//! The owner's side: an outbox that survives, one task that signs and publishes it, receipts.
//!
//! A [`Publisher`] works without a broker: writes are durable in the outbox when [`Publisher::write`] returns, and are
//! signed and published when a broker is there. What was signed is sent again byte for byte until it is receipted. [P-3]

mod error;
mod floor; // when tombstones go
mod line; // the way to the brokers
mod owner; // durable steps
mod room; // what fits into a publish
mod session; // one connection
mod snapshot; // the queue at one head
mod status;
mod task; // the loop
mod tickets;
mod transfer; // what refills a broker
mod write;

pub use error::{FlushError, GrantFailure, PublisherError, ReadersError, RevokeFailure, SnapshotError, TicketError, WriteError};
pub use snapshot::OwnSnapshot;
pub use status::{BrokerState, BrokerStatus, Loss, Named, OwnMark, OwnStatus, ReaderStatus};
pub use write::{OwnValue, Stage, Ticket, Write};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_core::{Card, NodeKey, Operation, Receipt, RecordPath};
use tidings_proto::{BrokerAddress, HeadNumber, HeadRank, Offset, Pseudonym, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::dial::Dial;
use crate::state::{OwnView, Row, State, StateError, Waiting, receipted, receipted_offset};
use floor::FloorPolicy;
use owner::{Owner, Part};
use task::{Ask, Command, Task, Watched, WriteCommand, Written};

/// Commands that wait for the task.
const COMMANDS_MAX: usize = 1_024;

/// How long a broker may take to tell what the readers acknowledged.
const READERS_WAIT: Duration = Duration::from_secs(5);

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
    /// How long [`Publisher::grant`] and [`Publisher::revoke`] wait for the receipt.
    pub grant_wait: Duration,
    /// How often a pulse says that the newest head is still the newest; each promises the next within three times as long.
    /// `None`: no pulses. [P-16]
    pub pulse_every: Option<Duration>,
}

impl PublisherConfig {
    /// Tombstones are kept for 30 days, acknowledgements asked for every 60 seconds; a grant waits 10 seconds; no pulses.
    pub fn new(dial: Arc<dyn Dial>, brokers: Vec<BrokerAddress>) -> Self {
        Self {
            dial,
            brokers,
            locator: String::new(),
            tombstone_age: Duration::from_secs(30 * 24 * 60 * 60),
            ask_readers_every: Duration::from_secs(60),
            grant_wait: Duration::from_secs(10),
            pulse_every: None,
        }
    }
}

/// Handle to the one task that owns a node's queue. Clones are handles to the same task; it ends with the last one.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    waiting: watch::Receiver<Waiting>,
    mark: watch::Receiver<OwnMark>,
    grant_wait: Duration,
}

/// What handles see without asking the task.
struct Shared {
    state: State,
    brokers: Mutex<Vec<BrokerStatus>>,
    error: Mutex<String>,
}

impl Shared {
    fn broker(&self, at: usize, state: BrokerState, error: String) {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = brokers.get_mut(at) {
            // Trying again does not make the last error untrue.
            let error = if state == BrokerState::Connecting { std::mem::take(&mut broker.error) } else { error };
            *broker = BrokerStatus { address: broker.address.clone(), state, error, as_of: clock::now() };
        }
    }

    fn fail(&self, error: &dyn std::error::Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
    }
}

impl Publisher {
    /// Opens the node's default queue in `state`, creating it the first time, and starts the task on the current runtime.
    ///
    /// # Errors
    /// The state fails, holds the queue of another key, or has a publisher already.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(state: State, key: impl Into<Arc<NodeKey>>, config: PublisherConfig) -> Result<Self, PublisherError> {
        let owner = Owner::open(state.clone(), key.into(), FloorPolicy::new(config.tombstone_age), config.locator.clone())?;
        let idle = |address: &BrokerAddress| BrokerStatus {
            address: address.clone(),
            state: BrokerState::Idle,
            error: String::new(),
            as_of: Timestamp::ZERO,
        };
        let brokers = Mutex::new(config.brokers.iter().map(idle).collect());
        let shared = Arc::new(Shared { state, brokers, error: Mutex::default() });
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (waiting_sender, waiting) = watch::channel(owner.waiting()?);
        let (mark_sender, mark) = watch::channel(owner.mark());
        let grant_wait = config.grant_wait;
        let task = Task::new(owner, config, shared.clone(), received, Watched { waiting: waiting_sender, mark: mark_sender });
        tokio::spawn(async move {
            // Told after the task has let go of everything.
            if let Some(done) = task.run().await {
                let _ = done.send(());
            }
        });
        Ok(Self { shared, commands, waiting, mark, grant_wait })
    }

    /// Puts writes into the outbox, all or none. Returns when they are durable; gives a ticket for each, in their order.
    ///
    /// A write of a record that waits unsigned replaces what waits. [P-3]
    ///
    /// # Errors
    /// Nothing was written. Safe to cancel, but then it may have been written.
    pub async fn write(&self, writes: Vec<Write>) -> Result<Vec<Ticket>, WriteError> {
        self.write_with(writes, Vec::new()).await
    }

    /// Like [`Publisher::write`]; `rows` are kept in the same transaction: all or none.
    ///
    /// # Errors
    /// Nothing was written and no row is kept. Safe to cancel, but then it may have been done.
    pub async fn write_with(&self, writes: Vec<Write>, rows: Vec<Row>) -> Result<Vec<Ticket>, WriteError> {
        let answers = self.write_parts(vec![Part { writes, rows }]).await?;
        answers.into_iter().next().unwrap_or(Err(WriteError::Closed))
    }

    /// Puts writes into the outbox in one transaction, each for itself: one that is refused stops no other. Gives a ticket or the
    /// refusal for each, in their order; a refused one was not written.
    ///
    /// Safe to cancel, but then they may have been written.
    pub async fn write_each(&self, writes: Vec<Write>) -> Vec<Result<Ticket, WriteError>> {
        let count = writes.len();
        let parts = writes.into_iter().map(|write| Part { writes: vec![write], rows: Vec::new() }).collect();
        match self.write_parts(parts).await {
            Ok(answers) => answers.into_iter().map(|answer| answer?.pop().ok_or(WriteError::Closed)).collect(),
            Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
        }
    }

    async fn write_parts(&self, parts: Vec<Part>) -> Result<Vec<Written>, WriteError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Write(WriteCommand { parts, done })).await.map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Makes the node of `card` a reader and gives the invitation for it, one line of text. Returns when the change of
    /// access is receipted. A repetition gives the same invitation again.
    ///
    /// # Errors
    /// [`GrantFailure::Saved`] carries the invitation: the change is signed and durable, but no broker has receipted it yet.
    pub async fn grant(&self, card: Card, name: String) -> Result<String, GrantFailure> {
        let (done, answer) = oneshot::channel();
        let command = Command::Grant { card: Box::new(card), name, done };
        self.commands.send(command).await.map_err(|_| GrantFailure::Closed)?;
        let (invitation, ticket) = answer.await.map_err(|_| GrantFailure::Closed)??;
        let Some(ticket) = ticket else { return Ok(invitation) };
        match tokio::time::timeout(self.grant_wait, ticket.receipted()).await {
            Ok(Ok(_)) => Ok(invitation),
            _ => Err(GrantFailure::Saved { invitation }),
        }
    }

    /// Ends the access of `reader`. Returns when the change is receipted. What is signed from now on is sealed under a new epoch,
    /// whether the broker knows of the change or not; what the reader was given before it keeps. [P-17]
    ///
    /// # Errors
    /// [`RevokeFailure::Saved`]: signed and durable, but no broker has receipted it yet.
    pub async fn revoke(&self, reader: &Pseudonym) -> Result<(), RevokeFailure> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Revoke { reader: *reader, done }).await.map_err(|_| RevokeFailure::Closed)?;
        let ticket = answer.await.map_err(|_| RevokeFailure::Closed)??;
        match tokio::time::timeout(self.grant_wait, ticket.receipted()).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(RevokeFailure::Saved),
        }
    }

    /// How far signing and receipts have come; changes with every signed head and every receipt.
    pub fn mark(&self) -> watch::Receiver<OwnMark> {
        self.mark.clone()
    }

    /// The newest signed head and its live set, once that head is receipted; `None` before the first head.
    ///
    /// Nothing new is signed while somebody waits for one (changes of access are), at most for `patience`. If no broker is
    /// configured, there is nobody to wait for: what waits is signed now, and from now on at once.
    ///
    /// # Errors
    /// [`SnapshotError::Late`] after `patience`. Safe to cancel.
    pub async fn snapshot(&self, patience: Duration) -> Result<Option<OwnSnapshot>, SnapshotError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Snapshot { patience, done }).await.map_err(|_| SnapshotError::Closed)?;
        answer.await.map_err(|_| SnapshotError::Closed)?
    }

    /// What names values of the record at `path` now: the write that waits unsigned, and the live signed entry, tombstones included.
    pub fn named(&self, path: &RecordPath) -> Result<Named, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            Ok(Named {
                waiting: view.outbox_row(path)?,
                signed: view.record(path)?.map(|(record, mutation)| (mutation, record.offset)),
                head: view.newest()?,
                receipted: receipted(&view)?.map_or(HeadNumber::ZERO, |cursor| cursor.rank.number),
            })
        })
    }

    /// The record at `path` as this node last wrote it. `None` if there is none, or if its delete is the last write.
    pub fn get(&self, path: &RecordPath) -> Result<Option<OwnValue>, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            own_value(&view, path, receipted_offset(&view)?)
        })
    }

    /// Records at `prefix` and below it, ascending by path; an empty prefix or `/` is all.
    pub fn list(&self, prefix: &str) -> Result<Vec<OwnValue>, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            let receipted = receipted_offset(&view)?;
            let paths = view.paths(prefix.trim_end_matches('/'))?;
            paths.iter().filter_map(|path| own_value(&view, path, receipted).transpose()).collect()
        })
    }

    /// What waits, what is published, and how the brokers are.
    pub fn status(&self) -> Result<OwnStatus, StateError> {
        let (writer, waiting, receipt, losses) = self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            let writer = view.writer()?.ok_or_else(|| StateError::Damaged("the owner's writer is gone".into()))?;
            let receipts = view.receipts()?;
            let verified = receipts.iter().filter_map(|(key, bytes)| Receipt::verify(bytes, key).ok());
            let receipt = verified.max_by_key(|receipt| receipt.rank);
            Ok((writer, view.waiting()?, receipt, view.losses()?))
        })?;
        let head = writer.head().map(|head| head.head());
        Ok(OwnStatus {
            queue: writer.queue(),
            head: head.map_or(HeadRank::default(), |head| head.rank()),
            offset: head.map_or(Offset::ZERO, |head| head.offset),
            live_count: writer.live_count(),
            floor: head.map_or(Offset::ZERO, |head| head.floor),
            unsigned: waiting.unsigned,
            unreceipted: waiting.unreceipted,
            receipt,
            losses: losses.into_iter().map(Loss::from).collect(),
            brokers: self.shared.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            error: self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    /// The readers with what they have acknowledged. Asks the broker if one is connected, else gives what is known.
    pub async fn readers(&self) -> Result<Vec<ReaderStatus>, ReadersError> {
        match tokio::time::timeout(READERS_WAIT, self.ask_readers(Ask::Broker)).await {
            Ok(answer) => answer,
            Err(_) => self.ask_readers(Ask::Nobody).await,
        }
    }

    async fn ask_readers(&self, ask: Ask) -> Result<Vec<ReaderStatus>, ReadersError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Readers { ask, done }).await.map_err(|_| ReadersError::Closed)?;
        answer.await.map_err(|_| ReadersError::Closed)
    }

    /// Waits until everything written before is receipted.
    ///
    /// # Errors
    /// `deadline` passed; everything is durable and will be published later. Safe to cancel.
    pub async fn flush(&self, deadline: Duration) -> Result<(), FlushError> {
        let mut waiting = self.waiting.clone();
        let published = waiting.wait_for(|waiting| *waiting == Waiting::default());
        let outcome = tokio::time::timeout(deadline, published).await.map(|outcome| outcome.map(|_| ()));
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(FlushError::Closed),
            Err(_) => {
                let Waiting { unsigned, unreceipted } = *self.waiting.borrow();
                Err(FlushError::Deadline { unsigned, unreceipted })
            }
        }
    }

    /// Ends the task for all handles, after the step it is at. Everything written is durable.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }
}

/// The newest write of a record: what waits, else what is signed.
fn own_value(view: &OwnView<'_>, path: &RecordPath, receipted: Offset) -> Result<Option<OwnValue>, StateError> {
    let value = match view.outbox_row(path)? {
        Some(mutation) => Some(OwnValue { mutation, offset: None, stage: Stage::Waiting }),
        None => view.record(path)?.map(|(record, mutation)| {
            let stage = if record.offset <= receipted { Stage::Receipted } else { Stage::Signed };
            OwnValue { mutation, offset: Some(record.offset), stage }
        }),
    };
    Ok(value.filter(|value| value.mutation.operation != Operation::Delete))
}
