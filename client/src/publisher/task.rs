//! The one task of a publisher: receives one thing at a time and takes one step for it.

mod pulses; // that this is still the newest head
mod snapshots; // who waits for one
mod writes; // what is put into the outbox

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_core::{Card, QueueDescriptor};
use tidings_proto::{Pseudonym, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::error::{GrantFailure, RevokeFailure, SnapshotError};
use super::line::{Line, LineEvent, Up};
use super::owner::{Owner, Published, SignError};
use super::session::{Answer, Opened, Session, Unfit, open, unfit};
use super::snapshot::OwnSnapshot;
use super::status::{BrokerState, OwnMark, ReaderStatus};
use super::tickets::Tickets;
use super::write::Ticket;
use super::{PublisherConfig, Shared};
use crate::backoff::{Backoff, chance};
use crate::clock;
use crate::state::{StateError, Waiting};
use pulses::Pulses;
use snapshots::Snapshots;

pub(super) use writes::{WriteCommand, Written};

/// How long a broker may take the last pulse at the end.
const END_WAIT: Duration = Duration::from_secs(2);

/// What a handle asks of the task.
pub(super) enum Command {
    Write(WriteCommand),
    Grant { card: Box<Card>, name: String, done: oneshot::Sender<Result<(String, Option<Ticket>), GrantFailure>> },
    Revoke { reader: Pseudonym, done: oneshot::Sender<Result<Ticket, RevokeFailure>> },
    Snapshot { patience: Duration, done: oneshot::Sender<Result<Option<OwnSnapshot>, SnapshotError>> },
    Readers { ask: Ask, done: oneshot::Sender<Vec<ReaderStatus>> },
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
}

pub(super) struct Task {
    owner: Arc<Mutex<Owner>>,
    descriptor: QueueDescriptor,
    config: PublisherConfig,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    watched: Watched,
    line: Line,
    backoff: Backoff,
    tickets: Tickets,
    asking: Vec<oneshot::Sender<Vec<ReaderStatus>>>,
    snapshots: Snapshots,
    pulses: Pulses,
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
            config,
            shared,
            commands,
            watched,
            line: Line::Down,
            backoff: Backoff::default(),
            tickets: Tickets::default(),
            asking: Vec::new(),
            snapshots: Snapshots::default(),
            pulses: Pulses::default(),
            due: true,
        }
    }

    /// Runs until it is closed or the last handle is gone. Gives whom to tell, after everything is dropped.
    pub(super) async fn run(mut self) -> Option<oneshot::Sender<()>> {
        self.dial(0);
        loop {
            self.serve_snapshots().await;
            if let Err(error) = self.publish_due().await {
                self.local_failure(&error);
            }
            self.pulse();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Close { done }) => return Some(self.end(done).await),
                    Some(command) => if let Some(done) = self.command(command).await { return Some(self.end(done).await) },
                    None => return None,
                },
                () = self.snapshots.late() => {}
                event = self.line.event() => if let Err(error) = self.line_event(event).await {
                    self.local_failure(&error);
                },
            }
        }
    }

    async fn end(&mut self, done: oneshot::Sender<()>) -> oneshot::Sender<()> {
        let said = self.promise_nothing();
        if let Line::Up(up) = std::mem::replace(&mut self.line, Line::Down) {
            match said {
                // A broker that takes nothing any more must not keep the program from ending.
                true => drop(tokio::time::timeout(END_WAIT, up.session.stream.finish()).await),
                false => up.session.stream.connection().close(),
            }
        }
        done
    }

    /// A step on the owner's rows, off the runtime's threads.
    async fn step<T: Send + 'static>(&mut self, step: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Result<T, StateError> {
        let owner = self.owner.clone();
        let run = move || step(&mut owner.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(run).await.map_err(|error| StateError::Io(std::io::Error::other(error)))
    }

    /// Takes a command. Gives back the one to close with, if that was among those taken together.
    async fn command(&mut self, command: Command) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Write(write) => return self.writes(write).await,
            Command::Grant { card, name, done } => {
                let answer = self.grant(*card, name).await;
                let _ = done.send(answer);
            }
            Command::Revoke { reader, done } => {
                let answer = self.revoke(reader).await;
                let _ = done.send(answer);
            }
            Command::Snapshot { patience, done } => self.snapshots.wait(patience, done),
            Command::Readers { ask, done } => {
                self.asking.push(done);
                match &mut self.line {
                    Line::Up(up) if ask == Ask::Broker => up.session.ask_readers(),
                    _ => self.tell_readers().await,
                }
            }
            Command::Close { done } => return Some(done),
        }
        None
    }

    async fn grant(&mut self, card: Card, name: String) -> Result<(String, Option<Ticket>), GrantFailure> {
        let addresses = self.config.brokers.iter().map(ToString::to_string).collect();
        let now = clock::now();
        let (text, number) = self.step(move |owner| owner.grant(card, name, addresses, now)).await??;
        self.due = true;
        self.refresh().await;
        self.hurry();
        let unreceipted = self.watched.waiting.borrow().unreceipted > 0;
        Ok((text, unreceipted.then(|| self.tickets.waits_for(number))))
    }

    async fn revoke(&mut self, reader: Pseudonym) -> Result<Ticket, RevokeFailure> {
        let now = clock::now();
        let published = self.step(move |owner| owner.revoke(&reader, now)).await??;
        let change = published.last().map(|published| published.number).unwrap_or_default();
        self.signed(&published);
        self.due = true;
        self.refresh().await;
        self.hurry();
        Ok(self.tickets.waits_for(change))
    }

    fn signed(&mut self, published: &[Published]) {
        published.iter().for_each(|published| self.tickets.signed(published.number, &published.paths));
    }

    /// Signs and sends as long as the broker takes more. What is sent was made durable before. [P-3]
    async fn publish_due(&mut self) -> Result<(), StateError> {
        if !std::mem::take(&mut self.due) {
            return Ok(());
        }
        if self.snapshots.alone {
            return self.sign_alone().await;
        }
        if !matches!(self.line, Line::Up(_)) {
            return Ok(());
        }
        let Line::Up(up) = std::mem::replace(&mut self.line, Line::Down) else { return Ok(()) };
        let (now, signing) = (clock::now(), !self.snapshots.are_awaited());
        let (up, published, result) = self.step(move |owner| publish(owner, up, signing, now)).await?;
        self.line = Line::Up(up);
        self.signed(&published);
        self.refresh().await;
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

    async fn line_event(&mut self, event: LineEvent) -> Result<(), StateError> {
        match event {
            LineEvent::Retry => self.dial(0),
            LineEvent::Dialed(at, Err(error)) => self.failed(at, unfit(&error)),
            LineEvent::Dialed(_, Ok(opened)) => self.opened(opened).await?,
            LineEvent::Reply(reply) => self.replied(reply).await?,
            LineEvent::AskReaders => {
                if let Line::Up(up) = &mut self.line {
                    up.session.ask_readers();
                    up.ask_at = Instant::now() + self.config.ask_readers_every;
                }
            }
            // Every turn of the loop looks for what is due.
            LineEvent::Pulse => {}
            LineEvent::Room => self.due = true,
        }
        Ok(())
    }

    async fn opened(&mut self, opened: Opened) -> Result<(), StateError> {
        self.backoff.answered();
        let (at, now) = (opened.at, clock::now());
        // Before it is compared: a broker may need everything that lives.
        match self.step(move |owner| owner.make_whole(now)).await? {
            Ok(published) => self.signed(&published),
            Err(error) => self.settle(Err(error))?,
        }
        match self.step(move |owner| Session::begin(opened, owner)).await?? {
            Ok(mut session) => {
                self.shared.broker(at, session.state(), String::new());
                session.ask_readers();
                let now = Instant::now();
                let pulse_at = self.config.pulse_every.map(|_| now);
                self.line = Line::Up(Box::new(Up { session, ask_at: now + self.config.ask_readers_every, pulse_at }));
                self.due = true;
            }
            Err(unfit) => self.failed(at, unfit),
        }
        Ok(())
    }

    /// Takes a reply and all that are there already; the last receipt is for all of them.
    async fn replied(&mut self, first: Result<tidings_proto::Reply, crate::ConnectionError>) -> Result<(), StateError> {
        let Line::Up(up) = std::mem::replace(&mut self.line, Line::Down) else { return Ok(()) };
        let before = up.session.state();
        let (up, receipt, readers, unfit) = self.step(move |owner| take_replies(owner, up, first)).await??;
        let at = up.session.at;
        if up.session.state() != before {
            self.shared.broker(at, up.session.state(), String::new());
        }
        self.line = Line::Up(up);
        if let Some(receipt) = receipt {
            self.tickets.receipted(&receipt);
            self.backoff.succeeded();
            self.refresh().await;
        }
        if readers {
            self.tell_readers().await;
        }
        self.due = true;
        if let Some(unfit) = unfit {
            self.failed(at, unfit);
            self.tell_readers().await;
        }
        Ok(())
    }

    /// Answers everybody who asked for the readers with what is known.
    async fn tell_readers(&mut self) {
        if self.asking.is_empty() {
            return;
        }
        if let Ok(readers) = self.step(|owner| super::status::readers(owner)).await {
            self.asking.drain(..).for_each(|asking| drop(asking.send(readers.clone())));
        }
    }

    fn dial(&mut self, at: usize) {
        let Some(address) = self.config.brokers.get(at).cloned() else {
            self.line = Line::Down;
            return;
        };
        self.shared.broker(at, BrokerState::Connecting, String::new());
        let key = self.owner.lock().unwrap_or_else(PoisonError::into_inner).key.clone();
        let attempt = open(self.config.dial.clone(), at, address, key, self.descriptor.clone());
        self.line = Line::Dialing(at, Box::pin(attempt));
    }

    /// A broker cannot be used: the next one is tried, or after the last one all of them again, later.
    fn failed(&mut self, at: usize, (state, detail): Unfit) {
        tracing::debug!(broker = at, state = state.words(), detail, "a broker is not used");
        self.shared.broker(at, state, detail);
        if at + 1 < self.config.brokers.len() {
            self.dial(at + 1);
        } else {
            let now = Instant::now();
            let delay = match self.line {
                Line::Dialing(..) if state == BrokerState::Unreachable => self.backoff.unanswered(now, chance()),
                _ => self.backoff.failed(chance()),
            };
            self.line = Line::Waiting(now + delay);
        }
    }

    /// Somebody waits for a publish: tries at once instead of later, but only once in a row of failures.
    fn hurry(&mut self) {
        if matches!(self.line, Line::Waiting(_)) && self.backoff.hurry() {
            self.dial(0);
        }
    }

    /// The state fails. Nothing more is signed; what is durable is published when it is opened again.
    fn local_failure(&mut self, error: &StateError) {
        tracing::error!(%error, "the owner's state fails");
        self.shared.fail(error);
        if !self.config.brokers.is_empty() {
            self.line = Line::Waiting(Instant::now() + self.backoff.failed(u64::MAX));
        }
    }

    async fn refresh(&mut self) {
        if let Ok((Ok(waiting), mark)) = self.step(|owner| (owner.waiting(), owner.mark())).await {
            self.watched.waiting.send_replace(waiting);
            self.watched.mark.send_if_modified(|known| std::mem::replace(known, mark) != mark);
        }
    }
}

/// Sends what is signed, then signs (if it may) and sends what waits, until the broker takes no more.
fn publish(owner: &mut Owner, mut up: Box<Up>, signing: bool, now: Timestamp) -> (Box<Up>, Vec<Published>, Result<(), SignError>) {
    let mut published = Vec::new();
    let result = loop {
        match up.session.send_signed(owner) {
            Ok(true) if signing && up.session.has_room() => {}
            Ok(_) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
        match owner.sign(&up.session.limits, now) {
            Ok(Some(signed)) => published.push(signed),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (up, published, result)
}

type Replies = (Box<Up>, Option<tidings_core::Receipt>, bool, Option<Unfit>);

fn take_replies(
    owner: &mut Owner,
    mut up: Box<Up>,
    first: Result<tidings_proto::Reply, crate::ConnectionError>,
) -> Result<Replies, StateError> {
    let (mut newest, mut readers, mut unfit) = (None, false, None);
    let mut reply = Some(first);
    while let Some(next) = reply {
        match up.session.answer(next, owner)? {
            Ok(Answer::Receipt(receipt, bytes)) => newest = Some((receipt, bytes)),
            Ok(Answer::Readers(answer)) => {
                owner.take_readers(&answer)?;
                readers = true;
            }
            Err(why) => {
                unfit = Some(why);
                break;
            }
        }
        reply = up.session.stream.received();
    }
    if let Some((receipt, bytes)) = &newest {
        owner.receipted(&up.session.receipt_key, bytes, receipt)?;
    }
    Ok((up, newest.map(|(receipt, _)| receipt), readers, unfit))
}
