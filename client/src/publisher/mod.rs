//! The owner's side: an outbox that survives, one task that signs and publishes it, receipts.
//!
//! A [`Publisher`] works without a broker: writes are durable in the outbox when [`Publisher::write`] returns, and are
//! signed and published when a broker is there. What was signed is sent again byte for byte until it is receipted. [P-3]

mod archived; // what the storage's writer has to know
mod compare; // where brokers stand
mod error;
mod floor; // when tombstones go
mod lines; // the ways to the brokers
mod look; // without asking the task
mod merge; // of two branches
mod moving; // to other brokers
mod owner; // durable steps
mod recovering; // everything that a broker holds
mod rescued; // what waits for a person
mod room; // what fits into a publish
mod session; // one connection
mod snapshot; // the queue at one head
mod status;
mod task; // the loop
mod tickets;
mod transfer; // what refills a broker
mod write;

pub use archived::ArchivedHead;
pub use compare::{Archive, ArchiveError, Archived, Compared, Conflict, TakeOverError, TakenOver};
pub use error::{FlushError, GrantFailure, MoveError, PublisherError, ReadersError, RevokeFailure, SnapshotError, TicketError, WriteError};
pub use moving::Moved;
pub use rescued::Rescued;
pub use snapshot::OwnSnapshot;
pub use status::{BrokerState, BrokerStatus, Loss, Merge, MergedReader, Named, OwnMark, OwnStatus, ReaderStatus};
pub use write::{OwnValue, Stage, Ticket, Write};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_core::{Card, NodeKey};
use tidings_proto::{BrokerAddress, Pseudonym, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::dial::Dial;
use crate::state::{Row, State, Waiting};
use floor::FloorPolicy;
use look::own_value;
use owner::{Owner, Part};
use task::{Command, Task, Watched, WriteCommand, Written};

/// Commands that wait for the task.
const COMMANDS_MAX: usize = 1_024;

/// How a publisher works.
#[derive(Clone)]
pub struct PublisherConfig {
    /// How brokers are reached.
    pub dial: Arc<dyn Dial>,
    /// Brokers, best first. Everything is published to all of them.
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
    /// How many brokers have to receipt a publish before it is done, at least 1; where fewer are configured, all of them.
    pub receipts: usize,
    /// How long nothing is signed because a broker does not answer; then a new term is opened. [P-4]
    pub compare_wait: Duration,
    /// The owner's storage, to compare with and to recover from.
    pub archive: Option<Arc<dyn Archive>>,
    /// A person said that this state is to be rebuilt from what is found: writers that are found are confirmed. [P-4]
    pub restoring: bool,
}

impl PublisherConfig {
    /// Tombstones are kept for 30 days, acknowledgements asked for every 60 seconds; a grant waits 10 seconds; no pulses;
    /// one receipt is enough; brokers that do not answer are waited for 3 seconds; no archive.
    pub fn new(dial: Arc<dyn Dial>, brokers: Vec<BrokerAddress>) -> Self {
        Self {
            dial,
            brokers,
            locator: String::new(),
            tombstone_age: Duration::from_secs(30 * 24 * 60 * 60),
            ask_readers_every: Duration::from_secs(60),
            grant_wait: Duration::from_secs(10),
            pulse_every: None,
            receipts: 1,
            compare_wait: Duration::from_secs(3),
            archive: None,
            restoring: false,
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
    compared: watch::Receiver<Compared>,
    grant_wait: Duration,
}

/// What handles see without asking the task.
struct Shared {
    state: State,
    brokers: Mutex<Vec<BrokerStatus>>,
    error: Mutex<String>,
    conflict: Mutex<Option<Conflict>>,
}

impl Shared {
    fn broker(&self, address: &BrokerAddress, state: BrokerState, error: String) {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = brokers.iter_mut().find(|broker| broker.address == *address) {
            // Trying again does not make the last error untrue.
            let error = if state == BrokerState::Connecting { std::mem::take(&mut broker.error) } else { error };
            *broker = BrokerStatus { address: broker.address.clone(), state, error, as_of: clock::now() };
        }
    }

    /// The same, if that is news.
    fn broker_is(&self, address: &BrokerAddress, state: BrokerState) {
        let known = self
            .brokers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|broker| broker.address == *address && broker.state == state);
        if !known {
            self.broker(address, state, String::new());
        }
    }

    /// These are the brokers; what is known of them stays.
    fn list(&self, addresses: Vec<BrokerAddress>) {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = std::mem::take(&mut *brokers);
        let status = |address: BrokerAddress| {
            let found = known.iter().find(|broker| broker.address == address).cloned();
            found.unwrap_or(BrokerStatus { address, state: BrokerState::Idle, error: String::new(), as_of: Timestamp::ZERO })
        };
        *brokers = addresses.into_iter().map(status).collect();
    }

    fn fail(&self, error: &dyn std::error::Error) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
    }

    fn conflict(&self, conflict: Option<Conflict>) {
        let mut known = self.conflict.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.as_ref(), conflict.as_ref()) {
            (None, Some(found)) => tracing::warn!(head = %found.rank, "another writer has the key of this node: nothing is signed"),
            (Some(_), None) => tracing::info!("no other writer is in the way any more: what waits is signed"),
            _ => {}
        }
        *known = conflict;
    }
}

/// How many receipts a publish needs where so many are wanted and there are so many brokers.
fn receipts(wanted: usize, brokers: usize) -> usize {
    wanted.clamp(1, brokers.max(1))
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
        let mut owner = Owner::open(state.clone(), key.into(), FloorPolicy::new(config.tombstone_age), config.locator.clone())?;
        (owner.receipts, owner.restoring) = (receipts(config.receipts, config.brokers.len()), config.restoring);
        let shared = Arc::new(Shared { state, brokers: Mutex::default(), error: Mutex::default(), conflict: Mutex::default() });
        shared.list(config.brokers.clone());
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (waiting_sender, waiting) = watch::channel(owner.waiting()?);
        let (mark_sender, mark) = watch::channel(owner.mark());
        let missing = Compared { missing: config.brokers.clone(), archive_missing: config.archive.is_some(), ..Compared::default() };
        let (compared_sender, compared) = watch::channel(missing);
        let grant_wait = config.grant_wait;
        let watched = Watched { waiting: waiting_sender, mark: mark_sender, compared: compared_sender };
        let task = Task::new(owner, config, shared.clone(), received, watched);
        tokio::spawn(async move {
            // Told after the task has let go of everything.
            if let Some(done) = task.run().await {
                let _ = done.send(());
            }
        });
        Ok(Self { shared, commands, waiting, mark, compared, grant_wait })
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
        let answers = self.write_parts(vec![Part { writes, rows, reserved: false }]).await?;
        answers.into_iter().next().unwrap_or(Err(WriteError::Closed))
    }

    /// Puts writes into the outbox in one transaction, each for itself: one that is refused stops no other. Gives a ticket or the
    /// refusal for each, in their order; a refused one was not written.
    ///
    /// Safe to cancel, but then they may have been written.
    pub async fn write_each(&self, writes: Vec<Write>) -> Vec<Result<Ticket, WriteError>> {
        let count = writes.len();
        let parts = writes.into_iter().map(|write| Part { writes: vec![write], rows: Vec::new(), reserved: false }).collect();
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
    /// access is receipted. A repetition gives the same invitation again, or one that names the brokers and storages of now.
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

    /// Ends when everything that is configured was compared with since this was opened, or something keeps this node from signing, or
    /// `patience` passed. Safe to cancel. [P-4]
    pub async fn compared(&self, patience: Duration) -> Compared {
        let mut compared = self.compared.clone();
        let whole = compared.wait_for(|compared| compared.conflict.is_some() || compared.is_whole());
        let _ = tokio::time::timeout(patience, whole).await;
        self.compared.borrow().clone()
    }

    /// A person says that this writer goes on: all other writers that were found are known from now on, and what they signed is merged.
    /// Ends a conflict. [P-4]
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn take_over(&self) -> Result<TakenOver, TakeOverError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::TakeOver { done }).await.map_err(|_| TakeOverError::Closed)?;
        answer.await.map_err(|_| TakeOverError::Closed)?
    }

    /// The brokers from now on, and what grants name as the places of the queue; all grants are renewed if that changed, once it is
    /// sure: not before a broker that stays holds everything, if others are left. Those get the closed head then. All of that has
    /// `patience`, and the closed head as long again but at most 10 seconds, in which nothing is signed. [P-13]
    ///
    /// # Errors
    /// See [`MoveError`] for what changed.
    pub async fn set_brokers(&self, brokers: Vec<BrokerAddress>, locator: String, patience: Duration) -> Result<Moved, MoveError> {
        if brokers.is_empty() {
            return Err(MoveError::LastBroker);
        }
        self.change_brokers(brokers, locator, patience).await
    }

    /// Leaves all brokers: the queue is closed there. It goes on as soon as there is a broker again.
    ///
    /// # Errors
    /// See [`MoveError`] for what changed.
    pub async fn leave_all_brokers(&self, locator: String, patience: Duration) -> Result<Moved, MoveError> {
        self.change_brokers(Vec::new(), locator, patience).await
    }

    async fn change_brokers(&self, brokers: Vec<BrokerAddress>, locator: String, patience: Duration) -> Result<Moved, MoveError> {
        let (done, answer) = oneshot::channel();
        let command = Command::Move { brokers, locator, patience, done };
        self.commands.send(command).await.map_err(|_| MoveError::Closed)?;
        answer.await.map_err(|_| MoveError::Closed)?
    }

    /// Ends the task for all handles, after the step it is at. Everything written is durable.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }
}
