//! One follow while it is kept up, and who uses it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tidings_datastore::Follower;
use tokio::sync::watch;

/// Longest wait for those who use a follow that ends.
const GRACE: Duration = Duration::from_secs(1);

/// A running follower. Ends with this, or at once with [`Self::close`].
pub(super) struct KeptUp {
    follower: Arc<Follower>,
    ending: watch::Sender<bool>,
}

/// The right to use it until it ends. Whoever has one looks at [`Self::ended`] while waiting.
pub(super) struct Lease {
    follower: Arc<Follower>,
    ending: watch::Receiver<bool>,
}

impl KeptUp {
    pub(super) fn new(follower: Follower) -> Self {
        Self { follower: Arc::new(follower), ending: watch::Sender::new(false) }
    }

    pub(super) fn lease(&self) -> Lease {
        Lease { follower: Arc::clone(&self.follower), ending: self.ending.subscribe() }
    }

    /// Ends it; returns when nobody is at work on this follow any more. Who cannot be told, since nobody reads what it prints, is
    /// not waited for.
    pub(super) async fn close(self) {
        self.ending.send_replace(true);
        self.follower.close().await;
        let _ = tokio::time::timeout(GRACE, self.ending.closed()).await;
    }
}

impl Lease {
    /// Whether the follow has ended: nothing more is to be kept about it.
    pub(super) fn has_ended(&self) -> bool {
        *self.ending.borrow()
    }

    /// Returns when the follow ends. Safe to cancel.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ending = self.ending.clone();
        async move { drop(ending.wait_for(|ending| *ending).await) }
    }
}

impl Deref for Lease {
    type Target = Follower;

    fn deref(&self) -> &Follower {
        &self.follower
    }
}
