//! The loop that fetches what the desk has ordered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_client::StateError;
use tidings_core::RecordPath;
use tidings_core::sealed_object::sealed_bytes;
use tidings_proto::Timestamp;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;

use super::orders::Finished;
use super::shared::{Shared, chance, now};
use crate::fetch::{Order, Shortfall, Ticket, remove_file};

/// Attempts of one follow at once; the limits of all follows are lower or equal.
const AT_WORK_MAX: usize = 8;
/// Orders read ahead.
const WINDOW: usize = 64;
/// Ended attempts that wait for their transaction; beyond that nothing is begun.
const UNSETTLED_MAX: usize = 256;
/// So many failures in a row are the storage's and not the objects': from then on one attempt at a time, with pauses.
const STREAK_MAX: u32 = 8;

/// Fetches for one follow: bounded in memory, however much is ordered.
pub(super) struct Worker {
    shared: Arc<Shared>,
    /// Orders that are due.
    window: VecDeque<(RecordPath, Order)>,
    /// The one that waits for its turn among all follows.
    entering: Option<Entering>,
    attempts: JoinSet<Finished>,
    at_work: HashMap<RecordPath, ([u8; 32], AbortHandle)>,
    paths: HashMap<Id, RecordPath>,
    finished: Vec<Finished>,
    /// The transaction that keeps how attempts ended, while more end.
    settling: Option<JoinHandle<Settled>>,
    /// Transactions that failed in a row, and when the next one may begin.
    failures: u32,
    rest_until: Option<Instant>,
    /// The orders may be others than when they were read last.
    changed: bool,
    next_due: Option<Timestamp>,
    /// Attempts in a row that the storage failed.
    streak: u32,
    paused_until: Option<Instant>,
    was_current: bool,
}

/// How attempts ended, and whether that is kept.
type Settled = (Vec<Finished>, Result<(), StateError>);

/// An order that waits for its turn.
struct Entering {
    path: RecordPath,
    order: Order,
    turn: Pin<Box<dyn Future<Output = Ticket> + Send>>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            window: VecDeque::new(),
            entering: None,
            attempts: JoinSet::new(),
            at_work: HashMap::new(),
            paths: HashMap::new(),
            finished: Vec::new(),
            settling: None,
            failures: 0,
            rest_until: None,
            changed: true,
            next_due: None,
            streak: 0,
            paused_until: None,
            was_current: false,
        }
    }

    /// Fetches until it is closed. What was on its way then is fetched by the next process.
    pub(super) async fn run(mut self, mut closed: watch::Receiver<bool>) {
        let mut view = self.shared.view.clone();
        loop {
            let stepped = self.step().await;
            self.rest(stepped);
            let deadline = self.deadline();
            tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return,
                () = self.shared.wake.notified() => self.changed = true,
                Ok(()) = view.changed() => {}
                Some(attempt) = self.attempts.join_next_with_id(), if !self.attempts.is_empty() => self.ended(attempt),
                ticket = turn(&mut self.entering), if self.entering.is_some() => self.begin(ticket),
                settled = settled(&mut self.settling), if self.settling.is_some() => self.settled(settled),
                () = reached(deadline) => self.changed = true,
            }
        }
    }

    /// What there is to do between two things that happen.
    async fn step(&mut self) -> Result<(), StateError> {
        while let Some(attempt) = self.attempts.try_join_next_with_id() {
            self.ended(attempt);
        }
        if self.rest_until.is_some_and(|until| until > Instant::now()) {
            return Ok(());
        }
        self.settle();
        self.look_at_view().await?;
        if self.shared.littered.swap(false, Ordering::AcqRel) {
            self.leave_superseded().await.inspect_err(|_| self.shared.litter())?;
            self.shared.at_desk(Shared::tidy).await.inspect_err(|_| self.shared.litter())?;
            self.shared.desk.printers().tell();
        }
        if self.changed && self.window.is_empty() && self.entering.is_none() {
            self.look_ahead().await?;
        }
        self.queue_up();
        Ok(())
    }

    /// After a failure of the state nothing is begun for a while.
    fn rest(&mut self, done: Result<(), StateError>) {
        if let Err(error) = done {
            self.failures = self.failures.saturating_add(1);
            let delay = self.shared.depot.limits.pace().delay(self.failures, chance());
            tracing::error!(%error, "the state fails; fetching waits");
            self.rest_until = Some(Instant::now() + delay);
        }
    }

    /// Begins to keep how attempts ended, as many as there are by now in one transaction; more end meanwhile.
    fn settle(&mut self) {
        if self.finished.is_empty() || self.settling.is_some() {
            return;
        }
        let (shared, current, finished) = (self.shared.clone(), self.shared.is_current(), std::mem::take(&mut self.finished));
        self.settling = Some(tokio::task::spawn_blocking(move || {
            let kept = shared.desk.settle(&finished, current, shared.depot.limits.pace(), now(), chance());
            (finished, kept)
        }));
    }

    fn settled(&mut self, settled: Option<Settled>) {
        self.settling = None;
        let Some((finished, kept)) = settled else { return };
        if kept.is_err() {
            self.finished.extend(finished);
            return self.rest(kept);
        }
        for finished in &finished {
            self.at_work.remove(&finished.path);
        }
        (self.failures, self.changed) = (0, true);
        self.shared.desk.printers().tell();
    }

    /// Once the view is as new as can be, what was missed is tried again at once: then it is missing or superseded. [P-22]
    async fn look_at_view(&mut self) -> Result<(), StateError> {
        let current = self.shared.is_current();
        if current && !self.was_current {
            self.shared.at_desk(|shared| shared.desk.hurry(now())).await?;
            self.changed = true;
        }
        self.was_current = current;
        Ok(())
    }

    /// A newer change of a record takes the place of the work at its older value.
    async fn leave_superseded(&mut self) -> Result<(), StateError> {
        let at_work: Vec<_> = self.at_work.iter().map(|(path, (id, _))| (path.clone(), *id)).collect();
        let left = self.shared.at_desk(move |shared| {
            let ordered = |(path, id): &(RecordPath, [u8; 32])| Ok(!shared.desk.is_ordered(path, id)?);
            at_work
                .into_iter()
                .filter_map(|work| ordered(&work).map(|left| left.then_some(work.0)).transpose())
                .collect::<Result<Vec<_>, _>>()
        });
        for path in left.await? {
            if let Some((_, attempt)) = self.at_work.get(&path) {
                attempt.abort();
            }
        }
        Ok(())
    }

    async fn look_ahead(&mut self) -> Result<(), StateError> {
        let at_work: HashSet<_> = self.at_work.keys().cloned().collect();
        let horizon = self.shared.depot.limits.pace().longest;
        let due = self.shared.at_desk(move |shared| shared.desk.due(now(), horizon, WINDOW, &at_work)).await?;
        self.changed = !due.orders.is_empty();
        (self.window, self.next_due) = (due.orders.into(), due.next);
        Ok(())
    }

    /// Lets the next order wait for its turn: one at a time, so that every follow has one place in the queue of a storage.
    fn queue_up(&mut self) {
        let room = if self.streak < STREAK_MAX { AT_WORK_MAX } else { 1 };
        let paused = self.paused_until.is_some_and(|until| until > Instant::now());
        let behind = self.finished.len() >= UNSETTLED_MAX;
        if self.entering.is_some() || self.attempts.len() >= room || paused || behind {
            return;
        }
        let Some(storage) = self.shared.depot.storage.as_ref().map(|storage| storage.address()) else { return };
        let Some((path, order)) = self.window.pop_front() else { return };
        let (limits, bytes) = (self.shared.depot.limits.clone(), sealed_bytes(order.object.size).unwrap_or(0));
        let turn = Box::pin(async move { limits.enter(&storage, bytes).await });
        self.entering = Some(Entering { path, order, turn });
    }

    fn begin(&mut self, ticket: Ticket) {
        let Some(Entering { path, order, .. }) = self.entering.take() else { return };
        let (id, of) = (order.object.id, path.clone());
        let attempt = self.attempts.spawn(attempt(self.shared.clone(), path.clone(), order, ticket));
        self.paths.insert(attempt.id(), of);
        self.at_work.insert(path, (id, attempt));
    }

    fn ended(&mut self, attempt: Result<(Id, Finished), JoinError>) {
        match attempt {
            Ok((id, finished)) => {
                self.paths.remove(&id);
                self.count(&finished.outcome);
                self.finished.push(finished);
            }
            // It was superseded, or is a defect: whatever is ordered now is tried when its time comes.
            Err(error) => {
                if let Some(path) = self.paths.remove(&error.id()) {
                    self.at_work.remove(&path);
                }
                self.changed = true;
            }
        }
    }

    fn count(&mut self, outcome: &Result<(), Shortfall>) {
        self.streak = if matches!(outcome, Err(Shortfall::Failed(_))) { self.streak.saturating_add(1) } else { 0 };
        let pause = self.streak.checked_sub(STREAK_MAX - 1).filter(|beyond| *beyond > 0);
        self.paused_until = pause.map(|beyond| Instant::now() + self.shared.depot.limits.pace().delay(beyond, chance()));
    }

    /// When to look again if nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let longest = self.shared.depot.limits.pace().longest;
        let due = self.next_due.filter(|_| self.window.is_empty() && self.entering.is_none()).map(|due| {
            let left = Duration::from_millis(due.value().saturating_sub(now().value()));
            Instant::now() + left.clamp(Duration::from_millis(1), longest)
        });
        let paused = [self.paused_until.filter(|_| !self.window.is_empty()), self.rest_until];
        let resumed = paused.into_iter().flatten().filter(|until| *until > Instant::now());
        due.into_iter().chain(resumed).min()
    }
}

/// One attempt. What it brought for a record that wants something else by now is removed.
async fn attempt(shared: Arc<Shared>, path: RecordPath, order: Order, _ticket: Ticket) -> Finished {
    let id = order.object.id;
    let outcome = match shared.depot.bring(&order.object).await {
        Ok(file) if file != shared.depot.cache.path(&id) => remove_file(&file).map_err(Shortfall::from),
        Ok(_) => Ok(()),
        Err(shortfall) => Err(shortfall),
    };
    Finished { path, id, outcome }
}

async fn turn(entering: &mut Option<Entering>) -> Ticket {
    match entering {
        Some(entering) => entering.turn.as_mut().await,
        None => std::future::pending().await,
    }
}

/// `None`: the transaction was cut off, and what it was about is ordered still.
async fn settled(settling: &mut Option<JoinHandle<Settled>>) -> Option<Settled> {
    match settling {
        Some(settling) => settling.await.ok(),
        None => std::future::pending().await,
    }
}

/// Waits for a moment, for ever if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
