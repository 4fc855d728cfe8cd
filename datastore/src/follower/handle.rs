//! The application's side of a running follow.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_client::{CaughtUp, Rewound, State, Subscriber, SubscriberConfig, VerdictReport, View};
use tidings_core::reader::Verdict;
use tidings_core::{NodeKey, RecordPath};
use tidings_proto::{Offset, QueueId};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::desk::Desk;
use super::error::FollowerError;
use super::printers::{Unprinted, Wanted};
use super::shared::{Shared, now};
use super::task::Task;
use super::value;
use super::worker::Worker;
use crate::fetch::{Cache, Depot, FetchLimits, FetchStatus};
use crate::own::Value;
use crate::storage::Driver;

/// Where a follower fetches from and keeps what it fetched.
#[derive(Clone)]
pub struct FollowerConfig {
    /// The owner's storage, opened by the caller, who decides about addresses; `None` if none is known.
    pub storage: Option<Arc<dyn Driver>>,
    /// Folder of fetched values, sealed; created when needed. All follows of a node share it.
    pub cache: PathBuf,
    /// How much is fetched at once. All follows of a process share one.
    pub limits: Arc<FetchLimits>,
}

/// One follow while it is kept up: a task takes verified changes and acknowledges them once what they ask for, printing and
/// fetching, is durable here; another one fetches. Both end with this handle. Every method may be called by many at once.
pub struct Follower {
    shared: Arc<Shared>,
    /// Somebody has waited for a catch-up.
    asked: AtomicBool,
    closing: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Follower {
    /// Starts the tasks on the current runtime, and goes on with what an earlier process left. Blocks for what that takes: a pass
    /// over the values that are not here.
    ///
    /// # Errors
    /// `Follow`: there is no such follow, or it runs already. The state or the folder fails.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        state: State,
        key: Arc<NodeKey>,
        queue: QueueId,
        subscriber: SubscriberConfig,
        config: FollowerConfig,
    ) -> Result<Self, FollowerError> {
        let subscriber = Subscriber::start(state.clone(), key, queue, subscriber)?;
        // Only now nobody else of this process is at work on this follow.
        let cache = Cache::open(&config.cache, &queue)?;
        let desk = Desk::new(state.clone(), queue, config.storage.is_some());
        desk.resume(now())?;
        let shared = Arc::new(Shared {
            desk,
            depot: Arc::new(Depot { state, cache, storage: config.storage, limits: config.limits }),
            view: subscriber.view(),
            merged: watch::Sender::new(None),
            progress: watch::Sender::new(None),
            rewound: watch::Sender::new(None),
            wake: Notify::new(),
            littered: AtomicBool::new(true),
        });
        let (closing, closed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(Task::new(shared.clone(), subscriber, closed.clone()).run());
        tasks.spawn(Worker::new(shared.clone()).run(closed));
        Ok(Self { shared, asked: AtomicBool::new(false), closing, tasks: Mutex::new(tasks) })
    }

    /// What is known about the view: changes with every verdict and catch-up.
    pub fn view(&self) -> watch::Receiver<View> {
        self.shared.view.clone()
    }

    /// The last catch-up of this session all of whose changes can be printed.
    pub fn merged(&self) -> watch::Receiver<Option<CaughtUp>> {
        self.shared.merged.subscribe()
    }

    /// That the owner went on from an earlier head than the one held here, in this session or an earlier one, until
    /// [`Self::told_rewound`]; `None` if nothing is to be told. [P-14]
    pub fn rewound(&self) -> watch::Receiver<Option<Rewound>> {
        self.shared.rewound.subscribe()
    }

    /// A person knows of it: durable when this returns. Blocks for one sync.
    ///
    /// # Errors
    /// The state fails; it is told again in the next session.
    pub fn told_rewound(&self, rewound: &Rewound) -> Result<(), FollowerError> {
        Subscriber::confirm_rewound(&self.shared.desk.state, &self.shared.desk.queue, rewound)?;
        self.shared.rewound.send_if_modified(|waits| waits.take_if(|waits| waits.to == rewound.to).is_some());
        Ok(())
    }

    /// Of the last delta of this session: the offset it has come to, and the newest one announced; `None` before the first.
    pub fn progress(&self) -> watch::Receiver<Option<(Offset, Offset)>> {
        self.shared.progress.subscribe()
    }

    /// Waits until the view is verified up to a head not older than the one announced when the connection began, and all its
    /// changes can be printed, at most `patience`. Safe to cancel.
    ///
    /// # Errors
    /// The verdict that stood in the way since this was called, or since the start for who asks first; or the verdict as it
    /// stands when the patience ends.
    pub async fn caught_up(&self, patience: Duration) -> Result<CaughtUp, VerdictReport> {
        let asked_before = self.asked.swap(true, Ordering::AcqRel);
        let known = if asked_before { self.shared.view.borrow().blocks } else { 0 };
        let waited = tokio::time::timeout(patience, self.outcome(known)).await;
        waited.unwrap_or_else(|_| Err(self.shared.view.borrow().verdict.clone()))
    }

    async fn outcome(&self, known: u64) -> Result<CaughtUp, VerdictReport> {
        let (mut view, mut merged) = (self.shared.view.clone(), self.shared.merged.subscribe());
        loop {
            let now = view.borrow_and_update().clone();
            let at_desk = *merged.borrow_and_update();
            if let Some(caught_up) = at_desk.filter(|_| at_desk == now.caught_up && now.connected && !is_in_the_way(&now.verdict)) {
                return Ok(caught_up);
            }
            if now.blocks > known {
                return Err(now.verdict);
            }
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return Err(now.verdict) },
                // Its sender is in the hands of this follower.
                _ = merged.changed() => {}
            }
        }
    }

    /// Net changes that no printer has confirmed: at most `limit`, ascending by path; those that another printer has are left
    /// out. Each is marked durably before it is given out, because from then on a person may have seen it. Blocks for one sync.
    ///
    /// # Errors
    /// The state fails; nothing is given out.
    pub fn unprinted(&self, fetched: Wanted, limit: usize) -> Result<Vec<Unprinted>, FollowerError> {
        Ok(self.shared.desk.unprinted(fetched, limit)?)
    }

    /// These are printed: durable when this returns. Blocks for one sync.
    ///
    /// # Errors
    /// The state fails; they come again once they are dropped.
    pub fn printed(&self, changes: &[Unprinted]) -> Result<(), FollowerError> {
        Ok(self.shared.desk.printed(changes)?)
    }

    /// Counts what a printer or who waits for fetches may want to look at: a change, a verdict, a fetch.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.desk.printers().changed()
    }

    /// How many values are not here. Blocks for a pass over them.
    ///
    /// # Errors
    /// The state fails.
    pub fn fetches(&self) -> Result<FetchStatus, FollowerError> {
        Ok(self.shared.desk.fetches()?)
    }

    /// The value of a record in the last verified state, whole and verified; `None` if there is no such record. What is not in
    /// the cache is fetched now, as often as it takes, at most for `patience`. Safe to cancel.
    ///
    /// # Errors
    /// `Unfetched`: the record is there, its value did not come, and this was the last reason.
    pub async fn value(&self, path: &RecordPath, patience: Duration) -> Result<Option<Value>, FollowerError> {
        value::value(&self.shared, path, patience).await
    }

    /// Ends both tasks after the step they are at; when this returns, nothing takes changes or fetches on its own any more.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

/// Whether a view that has caught up is not to be used as such.
fn is_in_the_way(report: &VerdictReport) -> bool {
    !matches!(report.verdict, Verdict::UpToDate | Verdict::Stale | Verdict::TooNew)
}
