//! What the tasks of one follow and its handle share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tidings_client::{CaughtUp, Rewound, StateError, View};
use tidings_core::reader::Verdict;
use tidings_proto::{Offset, Timestamp};
use tokio::sync::{Notify, watch};

use super::desk::Desk;
use crate::fetch::Depot;

/// One follow.
pub(super) struct Shared {
    pub(super) desk: Desk,
    pub(super) depot: Arc<Depot>,
    /// What the subscriber knows.
    pub(super) view: watch::Receiver<View>,
    /// The last catch-up whose changes are all at the desk.
    pub(super) merged: watch::Sender<Option<CaughtUp>>,
    /// Of the last delta: the offset it has come to, and the newest one announced.
    pub(super) progress: watch::Sender<Option<(Offset, Offset)>>,
    /// That the owner went on from an earlier head than the one held, until somebody was told.
    pub(super) rewound: watch::Sender<Option<Rewound>>,
    /// There may be something to fetch.
    pub(super) wake: Notify,
    /// Files may be superseded.
    pub(super) littered: AtomicBool,
}

impl Shared {
    /// Whether the view is verified up to what the broker announced last, and all of it is at the desk.
    pub(super) fn is_current(&self) -> bool {
        let view = self.view.borrow();
        let caught_up = view.caught_up.is_some() && view.caught_up == *self.merged.borrow();
        view.connected && caught_up && view.verdict.verdict == Verdict::UpToDate
    }

    /// Does what blocks on a thread that may.
    pub(super) async fn at_desk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let shared = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|_| Err(StateError::Io(std::io::Error::other("a step was cut off"))))
    }

    /// Wakes the one who fetches and those who print.
    pub(super) fn tell(&self) {
        self.wake.notify_one();
        self.desk.printers().tell();
    }

    /// Removes files that were superseded.
    pub(super) fn tidy(&self) -> Result<(), StateError> {
        while self.desk.collect(|ids| self.depot.sweep(ids))? {}
        Ok(())
    }

    /// Files may be superseded from now on.
    pub(super) fn litter(&self) {
        self.littered.store(true, Ordering::Release);
    }
}

/// This node's clock.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A random number for a delay. Without randomness the longest delay is as good as any.
pub(super) fn chance() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}
