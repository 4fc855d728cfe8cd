//! The reader's side: follows, one task for each that verifies what brokers say, and changes kept until they are handled.

mod event;
mod follow;

pub use event::{CaughtUp, ChangeId, Event, VerdictReport};
pub use follow::{Follow, FollowError, FollowedValue};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidings_core::{Invitation, NodeKey, RecordPath};
use tidings_proto::QueueId;

use crate::dial::Dial;
use crate::state::{State, StateError};

/// How a follow is kept up.
#[derive(Clone)]
pub struct SubscriberConfig {
    /// How brokers are reached.
    pub dial: Arc<dyn Dial>,
    /// What was verified is stale when the owner signed it longer ago than this. [P-16]
    pub max_age: Duration,
    /// Folder for evidence, created when needed; `None` keeps evidence nowhere.
    pub evidence_dir: Option<PathBuf>,
    /// Changes in one [`Event::Changes`].
    pub changes_max: usize,
}

impl SubscriberConfig {
    /// A maximum age of 24 hours, no evidence, 1,024 changes at once.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, max_age: Duration::from_secs(24 * 60 * 60), evidence_dir: None, changes_max: 1_024 }
    }
}

/// One follow while it is kept up by its task. Ends with this handle.
pub struct Subscriber {
    state: State,
    queue: QueueId,
}

impl Subscriber {
    /// Begins to follow the queue of an invitation, durably. `name` is what this node calls the owner; may be empty.
    ///
    /// # Errors
    /// Nothing changed.
    pub fn follow(state: &State, key: &NodeKey, invitation: &Invitation, name: &str) -> Result<QueueId, FollowError> {
        let _ = (state, key, name);
        Ok(invitation.descriptor.id())
    }

    /// Forgets a follow and everything it holds.
    ///
    /// # Errors
    /// `NotFollowing`, or the state fails; nothing changed.
    pub fn unfollow(state: &State, queue: &QueueId) -> Result<(), FollowError> {
        let _ = (state, queue);
        Ok(())
    }

    /// All follows, ascending by queue.
    pub fn follows(state: &State) -> Result<Vec<Follow>, StateError> {
        let _ = state;
        Ok(Vec::new())
    }

    /// The record at `path` in the last verified state of a follow. Needs no running subscriber.
    pub fn value(state: &State, queue: &QueueId, path: &RecordPath) -> Result<Option<FollowedValue>, StateError> {
        let _ = (state, queue, path);
        Ok(None)
    }

    /// Records at `prefix` and below it in the last verified state, ascending by path; an empty prefix or `/` is all.
    pub fn values(state: &State, queue: &QueueId, prefix: &str) -> Result<Vec<FollowedValue>, StateError> {
        let _ = (state, queue, prefix);
        Ok(Vec::new())
    }

    /// Starts the task on the current runtime. It reconnects until the handle is closed or dropped, and tries all addresses.
    ///
    /// # Errors
    /// `NotFollowing`, or the state fails.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(state: State, key: impl Into<Arc<NodeKey>>, queue: QueueId, config: SubscriberConfig) -> Result<Self, FollowError> {
        let _ = (key.into(), config);
        Ok(Self { state, queue })
    }

    /// Waits until a head is verified that is not older than the one a broker announced when this subscriber connected.
    ///
    /// # Errors
    /// The first verdict that stands in the way: all addresses were tried, or somebody was accused. The task goes on; this
    /// may be called again. Safe to cancel.
    pub async fn caught_up(&mut self) -> Result<CaughtUp, VerdictReport> {
        std::future::pending().await
    }

    /// The next event; `None` after the task has ended. Safe to cancel: what was not returned comes again.
    ///
    /// Changes are held back until this session has caught up or has met a verdict, so that what waits is merged first. They
    /// come before the event of the delta that brought them. One that is not acknowledged comes again in the next session.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::pending().await
    }

    /// The application has made these changes durable. They are not handed out again; once nothing older waits, the broker
    /// is told. [P-15]
    ///
    /// # Errors
    /// The state fails; the changes come again.
    pub fn acknowledge(&self, changes: &[ChangeId]) -> Result<(), StateError> {
        let _ = changes;
        Ok(())
    }

    /// The record at `path` in the last verified state.
    pub fn get(&self, path: &RecordPath) -> Result<Option<FollowedValue>, StateError> {
        Self::value(&self.state, &self.queue, path)
    }

    /// Records at `prefix` and below it in the last verified state, ascending by path.
    pub fn list(&self, prefix: &str) -> Result<Vec<FollowedValue>, StateError> {
        Self::values(&self.state, &self.queue, prefix)
    }

    /// This follow as it stands.
    pub fn status(&self) -> Result<Follow, FollowError> {
        Err(FollowError::NotFollowing)
    }

    /// Ends the task after the step it is at. An acknowledgement that waits is sent first if a broker is connected.
    pub async fn close(self) {}
}
