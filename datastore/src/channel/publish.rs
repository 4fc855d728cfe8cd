//! The owner's side: one task that keeps the queue in storage as it is receipted. [P-21]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidings_client::{OwnMark, Publisher, SnapshotError, State};
use tidings_core::Object;
use tidings_proto::{HeadRank, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::before::{Before, head_object};
use super::error::ChannelError;
use super::garbage::collect;
use super::rows::Rows;
use super::write::write;
use crate::storage::Driver;

/// How long one attempt waits for the receipt of what is signed; nothing is signed meanwhile.
const RECEIPT_WAIT: Duration = Duration::from_secs(5);
/// Delay after a first failure; doubles up to [`DELAY_MAX`].
const DELAY_MIN: Duration = Duration::from_secs(1);
/// Longest delay after failures in a row.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Longest time between two looks at what waits to be removed.
const CLEAN_EVERY: Duration = Duration::from_secs(60 * 60);
/// Flushes that wait for the task.
const COMMANDS_MAX: usize = 16;

/// How the storage channel works.
#[derive(Clone, Copy, Debug)]
pub struct ChannelConfig {
    /// Heads are written at least so far apart.
    pub gap: Duration,
    /// Without a pause of the publisher a head is written at least so often.
    pub behind_max: Duration,
    /// How long parts that no head object names any more stay for readers that still hold an older one.
    pub grace: Duration,
}

impl Default for ChannelConfig {
    /// At least 2 s apart, at most 60 s behind; parts stay for 24 hours.
    fn default() -> Self {
        Self { gap: Duration::from_secs(2), behind_max: Duration::from_secs(60), grace: Duration::from_secs(24 * 60 * 60) }
    }
}

/// What is in the storage, and what keeps the rest from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelStatus {
    /// The head that the storage shows.
    pub written: HeadRank,
    /// Heads written since the start.
    pub heads: u64,
    /// Bytes of all objects written since the start.
    pub bytes: u64,
    /// Parts removed since the start.
    pub removed: u64,
    /// Why the last attempt failed; empty if it did not.
    pub error: String,
}

/// Handle to the task. The task ends with it; what it wrote stays as it is and the next start goes on.
pub struct Channel {
    commands: mpsc::Sender<Flush>,
    status: watch::Receiver<ChannelStatus>,
    task: JoinHandle<()>,
}

type Flush = oneshot::Sender<Result<(), ChannelError>>;

impl Channel {
    /// Starts to write the queue of `publisher`, whose state `state` is, to `storage`, on the current runtime.
    ///
    /// Nothing but the storage and rows `channel/...` of the state is written, and a storage that fails disturbs nothing else.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(state: State, publisher: Publisher, storage: Arc<dyn Driver>, config: ChannelConfig) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (status_sender, status) = watch::channel(ChannelStatus::default());
        let rows = Rows::new(state, &storage.address());
        let mark = publisher.mark();
        let task = Task {
            publisher,
            mark,
            storage,
            rows,
            config,
            status: status_sender,
            dirty: None,
            last: None,
            attempted: None,
            retry: None,
            unreceipted: false,
            delay: DELAY_MIN,
            clean_at: None,
        };
        Self { commands, status, task: tokio::spawn(task.run(received)) }
    }

    /// What is in the storage; changes with every attempt.
    pub fn status(&self) -> watch::Receiver<ChannelStatus> {
        self.status.clone()
    }

    /// Writes what is signed and receipted now, without waiting for the usual gap. Returns when the storage shows it.
    ///
    /// # Errors
    /// `Deadline` after `patience`, or why it failed. It is tried again later either way. Safe to cancel.
    pub async fn flush(&self, patience: Duration) -> Result<(), ChannelError> {
        let (done, answer) = oneshot::channel();
        let flushed = async {
            self.commands.send(done).await.map_err(|_| ChannelError::Closed)?;
            answer.await.map_err(|_| ChannelError::Closed)?
        };
        tokio::time::timeout(patience, flushed).await.unwrap_or(Err(ChannelError::Deadline))
    }

    /// Ends the task. A write on its way is given up; it may have taken effect, and the next start goes on from there.
    pub async fn close(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    publisher: Publisher,
    mark: watch::Receiver<OwnMark>,
    storage: Arc<dyn Driver>,
    rows: Rows,
    config: ChannelConfig,
    status: watch::Sender<ChannelStatus>,
    /// Since when the storage shows less than is signed.
    dirty: Option<Instant>,
    /// The last attempt.
    last: Option<Instant>,
    /// A head object that the storage may show although it did not say so.
    attempted: Option<Bytes>,
    /// Not before this.
    retry: Option<Instant>,
    /// The last attempt met a head without a receipt: the receipt ends the delay.
    unreceipted: bool,
    delay: Duration,
    /// When parts are removed next; none before the first attempt that succeeds.
    clean_at: Option<Instant>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Flush>) {
        if let Err(error) = self.recall().await {
            self.failed(&error);
        }
        loop {
            self.look();
            let (due, clean_at) = (self.due(), self.clean_at);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(done) => {
                        let outcome = self.attempt().await;
                        // Whoever asked may have gone away meanwhile.
                        let _ = done.send(outcome);
                    }
                    None => return,
                },
                changed = self.mark.changed() => if changed.is_err() { return },
                () = reached(due) => drop(self.attempt().await),
                () = reached(clean_at) => self.clean().await,
            }
        }
    }

    /// What is in the storage by the rows, if the storage still shows it.
    async fn recall(&mut self) -> Result<(), ChannelError> {
        let Some(written) = self.rows.written()? else { return Ok(()) };
        let found = head_object(&self.storage, &written.head.head().queue).await?;
        if found.is_some_and(|found| *found == *written.encode()) {
            self.status.send_modify(|status| status.written = written.head.rank());
        }
        Ok(())
    }

    /// Notices that there is something to write. The first time there always is: where there is no broker, asking for a snapshot is
    /// what has the publisher sign.
    fn look(&mut self) {
        let mark = *self.mark.borrow_and_update();
        if self.unreceipted && mark.signed == mark.receipted {
            (self.retry, self.unreceipted) = (None, false);
        }
        if self.last.is_some() && mark.signed <= self.status.borrow().written {
            self.dirty = None;
        } else if self.dirty.is_none() {
            self.dirty = Some(Instant::now());
        }
    }

    /// When the next attempt is due: at a pause of the publisher, so that asking for a snapshot stops nothing, or when the storage
    /// is too far behind.
    fn due(&self) -> Option<Instant> {
        let dirty = self.dirty?;
        let mark = *self.mark.borrow();
        // Before the first receipt there may be no broker that could give one.
        let pause = mark.signed == mark.receipted || mark.receipted == HeadRank::default();
        let wanted = if pause { dirty } else { dirty + self.config.behind_max };
        let gap = self.last.map(|last| last + self.config.gap);
        [Some(wanted), gap, self.retry].into_iter().flatten().max()
    }

    /// Writes the newest receipted head, if the storage does not show it already.
    async fn attempt(&mut self) -> Result<(), ChannelError> {
        let outcome = self.write().await;
        self.last = Some(Instant::now());
        self.unreceipted = matches!(outcome, Err(ChannelError::NotReceipted));
        match &outcome {
            Ok(()) => {
                (self.retry, self.delay) = (None, DELAY_MIN);
                // Not earlier: until a head was written, the storage may show more than the rows say.
                self.clean_at = self.last;
                self.status.send_modify(|status| status.error.clear());
            }
            Err(error) => self.failed(error),
        }
        outcome
    }

    async fn write(&mut self) -> Result<(), ChannelError> {
        let Some(snapshot) = self.publisher.snapshot(RECEIPT_WAIT).await? else { return Ok(()) };
        if snapshot.head().rank() <= self.status.borrow().written {
            return Ok(());
        }
        let before = Before::look(&self.publisher, &self.rows, &self.storage, &snapshot, self.attempted.as_ref()).await?;
        let written = write(&self.rows, &self.storage, Arc::new(snapshot), before, &mut self.attempted, now()).await?;
        self.attempted = None;
        self.status.send_modify(|status| {
            status.written = written.head.head.rank();
            status.heads += 1;
            status.bytes += written.bytes;
        });
        Ok(())
    }

    /// Removes parts whose grace is over.
    async fn clean(&mut self) {
        self.clean_at = Some(Instant::now() + CLEAN_EVERY);
        match collect(&self.rows, &self.storage, self.config.grace, now()).await {
            Ok(0) => {}
            Ok(removed) => self.status.send_modify(|status| status.removed += removed as u64),
            Err(error) => tracing::debug!(%error, "parts of the storage's index cannot be removed yet"),
        }
    }

    fn failed(&mut self, error: &ChannelError) {
        tracing::debug!(%error, "the queue cannot be written to the storage");
        self.status.send_modify(|status| status.error = error.to_string());
        let chance = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        self.retry = Some(Instant::now() + self.delay.mul_f64(0.5 + 0.5 * chance));
        self.delay = (self.delay * 2).min(DELAY_MAX);
    }
}

impl From<SnapshotError> for ChannelError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Late => Self::NotReceipted,
            SnapshotError::Closed => Self::Closed,
            error => Self::Snapshot(error),
        }
    }
}

/// Waits for a moment, for ever if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
