//! The one task of a publisher: receives one thing at a time and takes one step for it.

mod access; // grants and revocations
mod comparing; // with whom, and what comes of it
mod moving; // other brokers
mod pulses; // that this is still the newest head
mod replies; // what brokers answer
mod snapshots; // who waits for one
mod writes; // what is put into the outbox

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_core::{Card, QueueDescriptor};
use tidings_proto::frames::Limits;
use tidings_proto::{BrokerAddress, Pseudonym, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::compare::{ArchiveWay, Compared, TakeOverError, TakenOver};
use super::error::{GrantFailure, MoveError, RevokeFailure, SnapshotError};
use super::lines::{Line, LineEvent, Lines, Up};
use super::moving::Moved;
use super::owner::{Owner, Published, SignError};
use super::session::{Unfit, open, unfit};
use super::snapshot::OwnSnapshot;
use super::status::{BrokerState, OwnMark, ReaderStatus};
use super::tickets::Tickets;
use super::write::Ticket;
use super::{PublisherConfig, Shared};
use crate::clock;
use crate::state::{StateError, Waiting};
use comparing::Comparing;
use moving::Moving;
use pulses::Pulses;
use snapshots::Snapshots;

pub(super) use writes::{WriteCommand, Written};

/// How long a broker may take the last pulse at the end.
const END_WAIT: Duration = Duration::from_secs(2);

/// How long a receipt may be lost in a crash: what it is for would be sent again, and receipted again.
const RECEIPTS_KEPT_WITHIN: Duration = Duration::from_millis(200);

/// Signed publishes that wait for their receipts; then signing waits too, and what is written stays in the outbox.
const UNRECEIPTED_MAX: u64 = 256;

/// What a handle asks of the task.
pub(super) enum Command {
    Write(WriteCommand),
    Grant { card: Box<Card>, name: String, done: oneshot::Sender<Result<(String, Option<Ticket>), GrantFailure>> },
    Revoke { reader: Pseudonym, done: oneshot::Sender<Result<Ticket, RevokeFailure>> },
    Snapshot { patience: Duration, done: oneshot::Sender<Result<Option<OwnSnapshot>, SnapshotError>> },
    Readers { ask: Ask, done: oneshot::Sender<Vec<ReaderStatus>> },
    TakeOver { done: oneshot::Sender<Result<TakenOver, TakeOverError>> },
    CompareArchive,
    Move { brokers: Vec<BrokerAddress>, locator: String, patience: Duration, done: oneshot::Sender<Result<Moved, MoveError>> },
    Close { done: oneshot::Sender<()> },
}

/// Whether the broker is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Broker,
    Nobody,
}

/// What handles see change.
pub(super) struct Watched {
    pub(super) waiting: watch::Sender<Waiting>,
    pub(super) mark: watch::Sender<OwnMark>,
    pub(super) compared: watch::Sender<Compared>,
}

pub(super) struct Task {
    owner: Arc<Mutex<Owner>>,
    descriptor: QueueDescriptor,
    config: PublisherConfig,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    watched: Watched,
    lines: Lines,
    archive: ArchiveWay,
    comparing: Comparing,
    /// Changes of access that wait until something may be signed.
    deferred: Vec<Command>,
    moving: Option<Moving>,
    /// Grants name other places than they are to name.
    telling: bool,
    /// That could not be mended: it is not tried again for now.
    untellable: bool,
    tickets: Tickets,
    asking: Vec<oneshot::Sender<Vec<ReaderStatus>>>,
    snapshots: Snapshots,
    pulses: Pulses,
    /// When receipts are made durable, if nothing that is signed does so before.
    keep_receipts_at: Option<Instant>,
    /// Something may have to be signed or sent.
    due: bool,
}

impl Task {
    pub(super) fn new(
        owner: Owner,
        config: PublisherConfig,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        watched: Watched,
    ) -> Self {
        let descriptor = owner.writer.descriptor().clone();
        Self {
            owner: Arc::new(Mutex::new(owner)),
            descriptor,
            shared,
            commands,
            watched,
            lines: Lines::new(config.brokers.iter().cloned()),
            archive: ArchiveWay::new(config.archive.clone()),
            comparing: Comparing::new(config.compare_wait),
            deferred: Vec::new(),
            moving: None,
            telling: false,
            untellable: false,
            config,
            tickets: Tickets::default(),
            asking: Vec::new(),
            snapshots: Snapshots::default(),
            pulses: Pulses::default(),
            keep_receipts_at: None,
            due: true,
        }
    }

    /// Runs until it is closed or the last handle is gone. Gives whom to tell, after everything is dropped.
    pub(super) async fn run(mut self) -> Option<oneshot::Sender<()>> {
        for at in 0..self.lines.ways().len() {
            self.dial(at);
        }
        loop {
            if let Err(error) = self.turn().await {
                self.local_failure(&error);
            }
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Close { done }) => return Some(self.end(done).await),
                    Some(command) => if let Some(done) = self.command(command).await { return Some(self.end(done).await) },
                    None => return None,
                },
                () = self.snapshots.late() => {}
                () = self.comparing.over() => self.due = true,
                () = moving::late(self.moving.as_ref()) => {}
                () = receipts_are_due(self.keep_receipts_at) => if let Err(error) = self.keep_receipts().await {
                    self.local_failure(&error);
                },
                (at, event) = self.lines.event() => if let Err(error) = self.line_event(at, event).await {
                    self.local_failure(&error);
                },
                event = self.archive.event() => if let Err(error) = self.archive_event(event).await {
                    self.local_failure(&error);
                },
            }
        }
    }

    /// What is due before anything else is waited for.
    async fn turn(&mut self) -> Result<(), StateError> {
        self.open_gate().await?;
        self.change_access().await;
        self.go_on_moving().await?;
        self.serve_snapshots().await;
        // Last of what signs: nothing wakes the task for what the others left to send.
        self.publish_due().await?;
        self.pulse();
        Ok(())
    }

    async fn end(&mut self, done: oneshot::Sender<()>) -> oneshot::Sender<()> {
        if let Err(error) = self.keep_receipts().await {
            tracing::warn!(%error, "publishes that have receipts are sent again at the next start");
        }
        let said = self.promise_nothing();
        let ends = self.lines.take_ups().into_iter().map(|(_, up)| async move {
            match said {
                // A broker that takes nothing any more must not keep the program from ending.
                true => drop(tokio::time::timeout(END_WAIT, up.session.stream.finish()).await),
                false => up.session.stream.connection().close(),
            }
        });
        let mut ending: tokio::task::JoinSet<()> = ends.collect();
        while ending.join_next().await.is_some() {}
        done
    }

    /// A step on the owner's rows, off the runtime's threads. What handles watch is as of after it.
    async fn step<T: Send + 'static>(&mut self, step: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Result<T, StateError> {
        let owner = self.owner.clone();
        let run = move || {
            let mut owner = owner.lock().unwrap_or_else(PoisonError::into_inner);
            let done = step(&mut owner);
            (done, owner.waiting(), owner.mark(), owner.has_to_tell())
        };
        let ended = tokio::task::spawn_blocking(run).await;
        let (done, waiting, mark, telling) = ended.map_err(|error| StateError::Io(std::io::Error::other(error)))?;
        self.telling = telling;
        if let Ok(waiting) = waiting {
            self.watched.waiting.send_if_modified(|known| std::mem::replace(known, waiting) != waiting);
        }
        self.watched.mark.send_if_modified(|known| std::mem::replace(known, mark) != mark);
        Ok(done)
    }

    async fn keep_receipts(&mut self) -> Result<(), StateError> {
        self.keep_receipts_at = None;
        self.step(|owner| owner.keep_receipts()).await?
    }

    /// Takes a command. Gives back the one to close with, if that was among those taken together.
    async fn command(&mut self, command: Command) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Write(write) => return self.writes(write).await,
            Command::Grant { .. } | Command::Revoke { .. } => self.deferred.push(command),
            Command::Snapshot { patience, done } => self.snapshots.wait(patience, done),
            Command::Readers { ask, done } => {
                self.asking.push(done);
                if ask == Ask::Broker {
                    self.lines.ups_mut().for_each(|up| up.session.ask_readers());
                }
                self.tell_readers(ask).await;
            }
            Command::TakeOver { done } => {
                let answer = self.take_over().await;
                let _ = done.send(answer);
            }
            // One that is being compared with has its turn already.
            Command::CompareArchive if self.archive.is_compared() => self.archive.begin_anew(true),
            Command::CompareArchive => {}
            Command::Move { brokers, locator, patience, done } => self.begin_moving(brokers, locator, patience, done).await,
            Command::Close { done } => return Some(done),
        }
        None
    }

    fn signed(&mut self, published: &[Published]) {
        published.iter().for_each(|published| self.tickets.signed(published.number, &published.paths));
    }

    /// Signs and sends as long as a broker takes more. What is sent was made durable before. [P-3]
    async fn publish_due(&mut self) -> Result<(), StateError> {
        if !std::mem::take(&mut self.due) {
            return Ok(());
        }
        if self.snapshots.alone && self.comparing.is_open() {
            return self.sign_alone().await;
        }
        let Some(limits) = self.lines.limits() else { return Ok(()) };
        let ups = self.lines.take_ups();
        let signing = self.comparing.is_open() && !self.snapshots.are_awaited() && !self.is_closing();
        let now = clock::now();
        let (ups, published, result) = self.step(move |owner| publish(owner, ups, signing.then_some(limits), now)).await?;
        self.lines.put_back(ups);
        self.list_states();
        self.signed(&published);
        self.settle(result)
    }

    /// Only a state that fails keeps the task from going on; other failures are shown.
    fn settle(&self, result: Result<(), SignError>) -> Result<(), StateError> {
        match result {
            Ok(()) => Ok(()),
            Err(SignError::State(error)) => Err(error),
            Err(error) => {
                self.shared.fail(&error);
                Ok(())
            }
        }
    }

    /// Within which limits may be signed beside the session `up`, which is taken out; `None` if something else is due first.
    fn limits_to_sign(&self, up: &Up) -> Option<Limits> {
        self.may_go_on().then(|| self.lines.limits_with(up.session.limits))
    }

    /// Nothing has to be done before what waits is signed.
    fn may_go_on(&self) -> bool {
        self.comparing.is_open() && !self.snapshots.are_awaited() && self.moving.is_none() && self.deferred.is_empty()
    }

    async fn line_event(&mut self, at: usize, event: LineEvent) -> Result<(), StateError> {
        match event {
            LineEvent::Retry => self.dial(at),
            LineEvent::Dialed(Err(error)) => self.failed(at, unfit(&error)),
            LineEvent::Dialed(Ok(opened)) => self.opened(at, opened).await?,
            LineEvent::Reply(reply) => self.replied(at, reply).await?,
            LineEvent::AskReaders => {
                let every = self.config.ask_readers_every;
                if let Some(Line::Up(up)) = self.lines.ways_mut().get_mut(at).map(|way| &mut way.line) {
                    up.session.ask_readers();
                    up.ask_at = Instant::now() + every;
                }
            }
            // Every turn of the loop looks for what is due.
            LineEvent::Pulse => {}
            LineEvent::Room => self.due = true,
        }
        Ok(())
    }

    fn dial(&mut self, at: usize) {
        let key = self.owner.lock().unwrap_or_else(PoisonError::into_inner).key.clone();
        let Some(way) = self.lines.ways_mut().get_mut(at) else { return };
        self.shared.broker(&way.address, BrokerState::Connecting, String::new());
        let attempt = open(self.config.dial.clone(), way.address.clone(), key, self.descriptor.clone());
        way.line = Line::Dialing(Box::pin(attempt));
    }

    /// A broker cannot be used: it is tried again later.
    fn failed(&mut self, at: usize, (state, detail): Unfit) {
        tracing::debug!(broker = at, state = state.words(), detail, "a broker is not used");
        let Some(way) = self.lines.ways_mut().get_mut(at) else { return };
        way.wait(state);
        self.shared.broker(&way.address, state, detail);
        self.due = true;
    }

    /// Somebody waits for a publish: tries at once instead of later, but only once in a row of failures.
    fn hurry(&mut self) {
        for at in 0..self.lines.ways().len() {
            let way = &mut self.lines.ways_mut()[at];
            if matches!(way.line, Line::Waiting(_)) && way.backoff.hurry() {
                self.dial(at);
            }
        }
    }

    /// How the brokers in use are, if that changed.
    fn list_states(&self) {
        for way in self.lines.ways() {
            if let Line::Up(up) = &way.line {
                self.shared.broker_is(&way.address, up.session.state());
            }
        }
    }

    /// The state fails. Nothing more is signed; what is durable is published when it is opened again.
    fn local_failure(&mut self, error: &StateError) {
        tracing::error!(%error, "the owner's state fails");
        self.shared.fail(error);
        self.lines.ways_mut().iter_mut().for_each(|way| {
            way.line = Line::Waiting(Instant::now() + way.backoff.failed(u64::MAX));
        });
    }
}

async fn receipts_are_due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

type Sent = (Vec<(usize, Box<Up>)>, Vec<Published>, Result<(), SignError>);

/// Sends what is signed to every broker, then signs (if it may, within these limits) and sends what waits, until no broker takes more.
fn publish(owner: &mut Owner, mut ups: Vec<(usize, Box<Up>)>, signing: Option<Limits>, now: Timestamp) -> Sent {
    let mut published = Vec::new();
    if signing.is_some() {
        // A crash may have come between the closed head and what goes on from it.
        match owner.sign_behind_closed(now) {
            Ok(reopened) => published.extend(reopened),
            Err(error) => return (ups, published, Err(error)),
        }
    }
    let result = loop {
        match send(owner, &mut ups) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
        let Some(limits) = &signing else { break Ok(()) };
        match owner.has_to_sign().map_err(SignError::from) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
        match owner.sign(limits, now) {
            Ok(Some(signed)) => published.push(signed),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (ups, published, result)
}

/// True if a broker would take another publish, or cannot be brought on before one is signed.
fn send(owner: &Owner, ups: &mut [(usize, Box<Up>)]) -> Result<bool, StateError> {
    let (mut takes, mut waits) = (false, false);
    for (_, up) in ups {
        takes |= up.session.send_signed(owner)? && up.session.has_room();
        waits |= up.session.waits_for_signing(owner)?;
    }
    Ok(waits || (takes && owner.waiting()?.unreceipted < UNRECEIPTED_MAX))
}
