//! The follows that are kept up: one follower for each, shared by all commands.

mod feed;
mod kept_up;
mod owner;
mod verdicts;

pub(crate) use feed::{Feed, News};
pub(crate) use owner::{OwnerStorage, told, untold};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_client::{Dial, Follow, State, Subscriber, SubscriberConfig, VerdictReport, View};
use tidings_core::reader::Verdict;
use tidings_core::{Mutation, NodeKey, RecordPath};
use tidings_datastore::channel::{StorageDial, StorageDialConfig, StorageWitness};
use tidings_datastore::follower::{forget, is_here, value_at};
use tidings_datastore::{FetchLimits, Follower, FollowerConfig, FollowerError, Unfetched, Value, Wanted};
use tidings_proto::QueueId;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::home::Home;
use crate::node::failures::follower_failure;
use crate::node::{follow_failure, state_failure};
use kept_up::{KeptUp, Lease};

/// All of them. A follow is begun when somebody asks for it, and ends with the node or when it is forgotten.
pub(crate) struct Follows {
    state: State,
    key: Arc<NodeKey>,
    /// `None`: the network is not used, nor the storage of anybody.
    dial: Option<Arc<dyn Dial>>,
    evidence: PathBuf,
    cache: PathBuf,
    limits: Arc<FetchLimits>,
    /// Where tasks run: commands have runtimes of their own, which end with them.
    runtime: Handle,
    running: Mutex<BTreeMap<QueueId, KeptUp>>,
    begun: watch::Sender<u64>,
}

impl Follows {
    /// None yet. Their tasks run on the current runtime. Without `dial` there is only what is here.
    pub(crate) fn new(state: State, home: &Home, dial: Option<Arc<dyn Dial>>) -> Self {
        let (key, evidence, cache) = (Arc::clone(&home.key), home.evidence(), home.fetched());
        let (runtime, running, begun) = (Handle::current(), Mutex::default(), watch::Sender::new(0));
        Self { state, key, dial, evidence, cache, limits: Arc::default(), runtime, running, begun }
    }

    /// Keeps up a follow from now on.
    ///
    /// # Errors
    /// There is no such follow, or the state fails.
    pub(crate) fn begin(&self, queue: QueueId) -> Result<(), Failure> {
        self.lease(queue).map(drop)
    }

    /// Waits up to `patience` until a follow has caught up; what stands in the way otherwise.
    ///
    /// # Errors
    /// The outer one: there is no such follow, or the state fails.
    pub(crate) async fn catch_up(&self, queue: QueueId, patience: Duration) -> Result<Result<(), VerdictReport>, Failure> {
        let ran_before = self.runs(&queue);
        let mut view = self.lease(queue)?.view();
        // What stood in the way before somebody asked may be gone.
        let blocks = if ran_before { view.borrow().blocks } else { 0 };
        let settled = view.wait_for(|view| is_caught_up(view) || is_final(view) || view.blocks > blocks);
        let outcome = match tokio::time::timeout(patience, settled).await {
            Ok(Ok(view)) if is_caught_up(&view) => Some(Ok(())),
            Ok(Ok(view)) => Some(Err(view.verdict.clone())),
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(outcome.unwrap_or_else(|| Err(late(&view.borrow().verdict))))
    }

    /// The value of a record in the last verified state, whole and verified; `None` if there is no such record. What is not here is
    /// fetched now, for at most `patience`; in a node that is offline it is not.
    ///
    /// # Errors
    /// The value did not come: what keeps it away. Or the state fails.
    pub(crate) async fn value(&self, queue: QueueId, path: &RecordPath, patience: Duration) -> Result<Option<Value>, Failure> {
        if self.dial.is_none() {
            return self.value_here(queue, path).await;
        }
        let (lease, path) = (self.lease(queue)?, path.clone());
        let mut work = JoinSet::new();
        // On the threads of the node: a connection that is made outlives the command. Dropped, it gives up.
        let ended = || FollowerError::Unfetched(Unfetched::Failed("the follow has ended".into()));
        let fetching = async move {
            tokio::select! {
                value = lease.value(&path, patience) => value,
                () = lease.ended() => Err(ended()),
            }
        };
        work.spawn_on(fetching, &self.runtime);
        let value = work.join_next().await.and_then(Result::ok).unwrap_or_else(|| Err(ended()));
        value.map_err(follower_failure)
    }

    /// The same out of what is here already.
    ///
    /// # Errors
    /// It was not fetched yet, or the state fails.
    pub(crate) async fn value_here(&self, queue: QueueId, path: &RecordPath) -> Result<Option<Value>, Failure> {
        value_at(&self.state, &queue, &self.cache, path).await.map_err(follower_failure)
    }

    /// Whether the value of a followed record is here.
    pub(crate) fn is_fetched(&self, mutation: &Mutation) -> bool {
        let object = mutation.object.as_ref().filter(|_| mutation.inline.is_none());
        object.is_none_or(|object| is_here(&self.cache, object))
    }

    /// What a watch prints of a follow.
    pub(crate) fn feed(&self, queue: QueueId, wanted: Wanted) -> Result<Feed, Failure> {
        Ok(Feed::new(self.lease(queue)?, wanted))
    }

    /// Changes when a follow is begun.
    pub(crate) fn begun(&self) -> watch::Receiver<u64> {
        self.begun.subscribe()
    }

    /// Ends one follow, if it runs, and forgets it and everything that was read and fetched of it.
    ///
    /// # Errors
    /// There is no such follow, or the state or the folder fails; a repetition goes on.
    pub(crate) async fn forget(&self, queue: &QueueId) -> Result<(), Failure> {
        self.end(queue).await;
        forget(&self.state, queue, &self.cache).map_err(follower_failure)?;
        Subscriber::unfollow(&self.state, queue).map_err(follow_failure)?;
        self.state.put_rows(&[untold(queue)]).map_err(state_failure)
    }

    /// Ends one follow, if it runs. It can be begun again.
    pub(crate) async fn end(&self, queue: &QueueId) {
        let kept_up = self.lock().remove(queue);
        if let Some(kept_up) = kept_up {
            kept_up.close().await;
        }
    }

    /// Whether it runs.
    pub(crate) fn runs(&self, queue: &QueueId) -> bool {
        self.lock().contains_key(queue)
    }

    /// Ends all.
    pub(crate) async fn close(&self) {
        let running = std::mem::take(&mut *self.lock());
        for kept_up in running.into_values() {
            kept_up.close().await;
        }
    }

    /// The running one, which is begun if it is not.
    fn lease(&self, queue: QueueId) -> Result<Lease, Failure> {
        let mut running = self.lock();
        if let Some(kept_up) = running.get(&queue) {
            return Ok(kept_up.lease());
        }
        let kept_up = KeptUp::new(self.start(queue)?);
        let lease = kept_up.lease();
        running.insert(queue, kept_up);
        self.begun.send_modify(|begun| *begun += 1);
        Ok(lease)
    }

    fn start(&self, queue: QueueId) -> Result<Follower, Failure> {
        let follows = Subscriber::follows(&self.state).map_err(state_failure)?;
        let follow = follows.into_iter().find(|follow| follow.queue == queue);
        let follow = follow.ok_or_else(|| follow_failure(tidings_client::FollowError::NotFollowing))?;
        let dial: Arc<dyn Dial> = self.dial.clone().unwrap_or_else(|| Arc::new(tidings_client::Nowhere));
        let mut subscriber = SubscriberConfig::new(dial);
        subscriber.evidence_dir = Some(self.evidence.clone());
        let storage = if self.dial.is_some() { OwnerStorage::of(&self.state, &follow)?.driver } else { None };
        if let Some(storage) = &storage {
            let Follow { did, .. } = follow;
            subscriber.storage = Some(Arc::new(StorageDial::new(Arc::clone(storage), queue, did.0, StorageDialConfig::default())));
            subscriber.witness = Some(Arc::new(StorageWitness::new(Arc::clone(storage), queue, did.0)));
        }
        let config = FollowerConfig { storage, cache: self.cache.clone(), limits: Arc::clone(&self.limits) };
        let _entered = self.runtime.enter();
        Follower::start(self.state.clone(), Arc::clone(&self.key), queue, subscriber, config).map_err(follower_failure)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<QueueId, KeptUp>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the view is the newest that was announced, as far as can be known. A stale one is too.
fn is_caught_up(view: &View) -> bool {
    view.connected && view.caught_up.is_some() && matches!(view.verdict.verdict, Verdict::UpToDate | Verdict::Stale)
}

/// Trying again brings nothing soon: the owner or the broker must do something first.
fn is_final(view: &View) -> bool {
    view.blocks > 0 && matches!(view.verdict.verdict, Verdict::Denied | Verdict::Withheld | Verdict::Forked | Verdict::TooNew)
}

/// A catch-up that is not over in time. A verdict of before says nothing about now.
fn late(known: &VerdictReport) -> VerdictReport {
    VerdictReport { verdict: Verdict::Offline, detail: "not caught up in time".into(), evidence: None, ..known.clone() }
}
