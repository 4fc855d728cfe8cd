//! Readers that take changes as an application does, and tell how long each was on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_client::{ChangeId, Event, Subscriber};
use tidings_core::reader::Change;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::ground::{Ground, task_failure};
use super::tally::{Tally, Total};
use crate::failure::{Exit, Failure};
use crate::node::state_failure;

/// How often a reader acknowledges what it took: an acknowledgement is a sync of its own.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);
/// How often it is looked whether changes still come.
const LOOK: Duration = Duration::from_millis(100);
/// How long changes are waited for after somebody ended the run.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// When a reader has taken enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// It is not known yet.
    Open,
    /// So many measured changes.
    Changes(u64),
    /// Now.
    Now,
}

/// Readers that listen, each in a task of its own.
pub(super) struct Listeners {
    ground: Arc<Ground>,
    tally: Arc<Tally>,
    goal: watch::Sender<Goal>,
    tasks: JoinSet<Result<Listener, Failure>>,
}

/// What came of listening.
pub(super) struct Heard {
    /// Changes that were heard, and their latencies.
    pub(super) total: Total,
    /// Changes that some reader did not get.
    pub(super) unheard: u64,
    /// Somebody ended it.
    pub(super) interrupted: bool,
}

struct Listener {
    subscriber: Subscriber,
    ground: Arc<Ground>,
    tally: Arc<Tally>,
    goal: watch::Receiver<Goal>,
    heard: u64,
    unacknowledged: Vec<ChangeId>,
    acknowledge_at: Instant,
}

impl Listeners {
    /// Begins to listen.
    pub(super) fn begin(ground: &Arc<Ground>, subscribers: Vec<Subscriber>) -> Self {
        let (goal, watched) = watch::channel(Goal::Open);
        let tally = Arc::new(Tally::default());
        let mut tasks = JoinSet::new();
        for subscriber in subscribers {
            let (ground, tally, goal) = (Arc::clone(ground), Arc::clone(&tally), watched.clone());
            let listener =
                Listener { subscriber, ground, tally, goal, heard: 0, unacknowledged: Vec::new(), acknowledge_at: Instant::now() };
            tasks.spawn(listener.listen());
        }
        Self { ground: Arc::clone(ground), tally, goal, tasks }
    }

    /// Waits until each reader has heard `changes`, or nothing comes any more for as long as the ground has patience, or somebody ends
    /// the run. Then all readers end.
    ///
    /// # Errors
    /// A reader's state fails.
    pub(super) async fn hear(self, changes: u64) -> Result<Heard, Failure> {
        let Self { ground, tally, goal, mut tasks } = self;
        let readers = tasks.len() as u64;
        goal.send_replace(Goal::Changes(changes));
        let (mut look, mut seen, mut interrupted) = (interval(LOOK), (0, Instant::now()), None);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done = Vec::with_capacity(tasks.len());
        while !tasks.is_empty() {
            tokio::select! {
                Some(task) = tasks.join_next() => done.push(task.map_err(task_failure)??),
                () = ground.stop.wait(), if interrupted.is_none() => interrupted = Some(Instant::now()),
                _ = look.tick() => {
                    if seen.0 != tally.progress() {
                        seen = (tally.progress(), Instant::now());
                    }
                    let ends = interrupted.map_or(seen.1 + ground.patience, |since| since + LAST_WAIT);
                    if Instant::now() >= ends {
                        goal.send_replace(Goal::Now);
                    }
                }
            }
        }
        close(done).await;
        let total = tally.total();
        Ok(Heard { total, unheard: (readers * changes).saturating_sub(total.messages), interrupted: interrupted.is_some() })
    }
}

impl Heard {
    /// Fails if a reader did not get everything although nobody ended the run.
    pub(super) fn whole(&self, ground: &Ground) -> Result<(), Failure> {
        if self.unheard == 0 || self.interrupted {
            return Ok(());
        }
        let error = format!("{} changes did not come within {} s after the last one", self.unheard, ground.patience.as_secs());
        Err(Failure::new(error, "see what the broker's log says; give a longer --timeout, or less to do").exit(Exit::Unreachable))
    }
}

/// Ends readers beside each other.
async fn close(listeners: Vec<Listener>) {
    let closing: JoinSet<()> = listeners.into_iter().map(|listener| listener.subscriber.close()).collect();
    closing.join_all().await;
}

impl Listener {
    async fn listen(mut self) -> Result<Self, Failure> {
        loop {
            match *self.goal.borrow_and_update() {
                Goal::Now => break,
                Goal::Changes(changes) if self.heard >= changes => break,
                _ => {}
            }
            tokio::select! {
                event = self.subscriber.next() => match event {
                    Some(Event::Changes(changes)) => self.take(&changes),
                    Some(_) => {}
                    None => break,
                },
                _ = self.goal.changed() => {}
                () = sleep_until(self.acknowledge_at.into()), if !self.unacknowledged.is_empty() => self.acknowledge()?,
            }
        }
        self.acknowledge()?;
        Ok(self)
    }

    fn take(&mut self, changes: &[Change]) {
        if self.unacknowledged.is_empty() {
            self.acknowledge_at = Instant::now() + ACKNOWLEDGE;
        }
        for change in changes {
            let due = self.ground.stamps.due(change);
            self.tally.answered(due);
            self.heard += u64::from(due.is_some());
        }
        self.unacknowledged.extend(changes.iter().map(ChangeId::from));
    }

    fn acknowledge(&mut self) -> Result<(), Failure> {
        let done = std::mem::take(&mut self.unacknowledged);
        if done.is_empty() {
            return Ok(());
        }
        tokio::task::block_in_place(|| self.subscriber.acknowledge(&done)).map_err(state_failure)
    }
}
