//! Releasing: one task gives writes to the publisher, so that what it sees named is what it replaces.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_client::{Named, Publisher, Row, State, StateError, Ticket, Write, WriteError};
use tidings_core::{Mutation, RecordPath};
use tidings_proto::HeadNumber;
use tokio::sync::{mpsc, oneshot};

use super::ledger::{LedgerEntry, Staged, Standing};
use super::stage::Turn;

/// Releases that wait for the task.
const WAITING_MAX: usize = 256;

/// The way to the task, which ends with the last of these.
#[derive(Clone)]
pub(super) struct Releases(mpsc::Sender<Asked>);

/// A write, and the staged row that ends with it. Nobody else works at that row before this is over.
#[derive(Clone)]
pub(super) struct Intent {
    pub(super) write: Write,
    pub(super) staged: Option<Arc<Turn>>,
}

/// What is asked of the task.
enum Asked {
    Release(Release),
    Close(oneshot::Sender<()>),
}

struct Release {
    intents: Vec<Intent>,
    done: oneshot::Sender<Result<Vec<Ticket>, WriteError>>,
}

impl Releases {
    pub(super) fn start(publisher: Publisher, state: State) -> Self {
        let (sender, received) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(Task { publisher, state }, received));
        Self(sender)
    }

    /// Puts writes into the outbox, all or none, with the ends of their staged rows and what the ledger must know.
    pub(super) async fn release(&self, intents: Vec<Intent>) -> Result<Vec<Ticket>, WriteError> {
        let (done, answer) = oneshot::channel();
        self.0.send(Asked::Release(Release { intents, done })).await.map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// Ends the task after what was asked before; returns when it has let go of everything.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Asked::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

#[derive(Clone)]
struct Task {
    publisher: Publisher,
    state: State,
}

async fn run(task: Task, mut received: mpsc::Receiver<Asked>) {
    let (mut asked, mut close) = (Vec::with_capacity(WAITING_MAX), None);
    while close.is_none() && received.recv_many(&mut asked, WAITING_MAX).await > 0 {
        let mut together = Vec::with_capacity(asked.len());
        for asked in asked.drain(..) {
            match asked {
                Asked::Release(release) if close.is_none() => together.push(release),
                // Dropped unanswered: its asker hears that it is closed.
                Asked::Release(_) => {}
                Asked::Close(done) => close = close.or(Some(done)),
            }
        }
        task.release(together).await;
    }
    drop((task, received));
    if let Some(close) = close {
        let _ = close.send(());
    }
}

fn answer(together: impl Iterator<Item = Release>, tickets: Vec<Ticket>) {
    let mut tickets = tickets.into_iter();
    for release in together {
        let own = tickets.by_ref().take(release.intents.len()).collect();
        let _ = release.done.send(Ok(own));
    }
}

impl Task {
    /// All in one transaction; if one of them is refused, each by itself, so that the others are not.
    async fn release(&self, together: Vec<Release>) {
        let all: Vec<Intent> = together.iter().flat_map(|release| release.intents.iter().cloned()).collect();
        if all.is_empty() {
            return;
        }
        match self.write(all).await {
            Ok(tickets) => answer(together.into_iter(), tickets),
            Err(_) if together.len() > 1 => {
                for release in together {
                    let _ = release.done.send(self.write(release.intents).await);
                }
            }
            Err(error) => together.into_iter().for_each(|release| drop(release.done.send(Err(error.clone())))),
        }
    }

    async fn write(&self, intents: Vec<Intent>) -> Result<Vec<Ticket>, WriteError> {
        let task = self.clone();
        let (intents, plan) = blocking(move || Plan::of(&task.publisher, &intents).map(|plan| (intents, plan))).await?;
        let (writes, turns): (_, Vec<_>) = intents.into_iter().map(|intent| (intent.write, intent.staged)).unzip();
        let tickets = self.publisher.write_with(writes, plan.rows).await?;
        turns.iter().flatten().for_each(|turn| turn.end());
        let task = self.clone();
        // Not needed for anything but speed: what is not marked here is collected later.
        if let Err(error) = blocking(move || task.mark_unused(&plan.conflated)).await {
            tracing::warn!(%error, "objects that no entry names are kept for a while");
        }
        Ok(tickets)
    }

    /// Objects of writes that were replaced before they were signed. If a head was signed meanwhile, it may name one of them.
    fn mark_unused(&self, conflated: &[Conflated]) -> Result<(), StateError> {
        let mut rows = Vec::new();
        for Conflated { path, object, head } in conflated {
            if self.publisher.named(path)?.head == *head {
                rows.push(LedgerEntry::row(path, object, Standing::Unused));
            }
        }
        self.state.put_rows(&rows)
    }
}

/// What changes in the ledger with some writes.
#[derive(Default)]
struct Plan {
    rows: Vec<Row>,
    conflated: Vec<Conflated>,
}

/// An object that a waiting write named until now, and the newest head then.
struct Conflated {
    path: RecordPath,
    object: [u8; 32],
    head: HeadNumber,
}

impl Plan {
    fn of(publisher: &Publisher, intents: &[Intent]) -> Result<Self, StateError> {
        let mut plan = Self::default();
        // What earlier writes of this transaction name.
        let mut earlier: HashMap<&RecordPath, Option<[u8; 32]>> = HashMap::new();
        for intent in intents {
            let path = intent.write.path();
            match earlier.get(path) {
                Some(object) => plan.never_signed(path, *object),
                None => plan.replaces(path, &publisher.named(path)?),
            }
            let object = match &intent.write {
                Write::PutObject { object, .. } => Some(object.id),
                _ => None,
            };
            plan.rows.extend(object.map(|object| LedgerEntry::row(path, &object, Standing::Named)));
            plan.rows.extend(intent.staged.as_ref().map(|turn| Staged::remove(turn.sequence)));
            earlier.insert(path, object);
        }
        Ok(plan)
    }

    /// Two writes of one record in one transaction: nobody ever sees the first.
    fn never_signed(&mut self, path: &RecordPath, object: Option<[u8; 32]>) {
        self.rows.extend(object.map(|object| LedgerEntry::row(path, &object, Standing::Unused)));
    }

    fn replaces(&mut self, path: &RecordPath, named: &Named) {
        let signed = named.signed.as_ref().and_then(|(mutation, _)| object_of(mutation));
        let waiting = named.waiting.as_ref().and_then(object_of).filter(|object| Some(*object) != signed);
        for object in signed.into_iter().chain(waiting) {
            self.rows.push(LedgerEntry::row(path, &object, Standing::Replaced));
        }
        let conflated = waiting.map(|object| Conflated { path: path.clone(), object, head: named.head });
        self.conflated.extend(conflated);
    }
}

/// The object that a mutation names.
pub(super) fn object_of(mutation: &Mutation) -> Option<[u8; 32]> {
    mutation.object.as_ref().map(|object| object.id)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StateError> + Send + 'static) -> Result<T, StateError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StateError::Io(std::io::Error::other(error)))?
}
