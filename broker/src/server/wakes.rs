//! Who is told of a commit: the live subscriptions of its queue, and nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use tidings_proto::QueueId;
use tokio::sync::broadcast;

use crate::engine::Committed;

/// Commits that a subscription may be behind before it is told only that it missed some.
const COMMITS_MAX: usize = 16;

/// A commit with its frames, encoded once for all subscribers that are live.
#[derive(Debug)]
pub(super) struct Wake {
    pub(super) committed: Arc<Committed>,
    frames: OnceLock<Bytes>,
}

impl Wake {
    /// The frames of this commit, one behind the other; empty if it has none to share.
    pub(super) fn frames(&self) -> Bytes {
        self.frames.get_or_init(|| encode(&self.committed)).clone()
    }
}

fn encode(committed: &Committed) -> Bytes {
    let mut frames = BytesMut::new();
    for reply in committed.frames().unwrap_or_default() {
        frames.extend_from_slice(&reply.encode_prefixed());
    }
    frames.freeze()
}

/// Channels to live subscriptions. A queue without any has none.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    channels: Mutex<HashMap<QueueId, broadcast::Sender<Arc<Wake>>>>,
}

impl Wakes {
    /// Tells whoever listens. Never blocks on a listener.
    pub(super) fn publish(&self, committed: &Arc<Committed>) {
        let channel = self.lock().get(&committed.queue).cloned();
        if let Some(channel) = channel {
            // The last listener may have gone this moment.
            let _ = channel.send(Arc::new(Wake { committed: committed.clone(), frames: OnceLock::new() }));
        }
    }

    /// Listens to the commits of a queue from now on.
    pub(super) fn listen(self: &Arc<Self>, queue: QueueId) -> Listener {
        let mut channels = self.lock();
        let channel = channels.entry(queue).or_insert_with(|| broadcast::Sender::new(COMMITS_MAX));
        Listener { wakes: self.clone(), queue, receiver: Some(channel.subscribe()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<QueueId, broadcast::Sender<Arc<Wake>>>> {
        // The map is whole after every step, also one that panicked.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscription's ear.
#[derive(Debug)]
pub(super) struct Listener {
    wakes: Arc<Wakes>,
    queue: QueueId,
    /// Always there until dropped.
    receiver: Option<broadcast::Receiver<Arc<Wake>>>,
}

impl Listener {
    /// The next commit. One that was missed is not given; those after it are. Safe to cancel.
    pub(super) async fn next(&mut self) -> Arc<Wake> {
        loop {
            match &mut self.receiver {
                Some(receiver) => match receiver.recv().await {
                    Ok(wake) => return wake,
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => self.receiver = None,
                },
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut channels = self.wakes.lock();
        self.receiver = None;
        if channels.get(&self.queue).is_some_and(|channel| channel.receiver_count() == 0) {
            channels.remove(&self.queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_listeners_costs_nothing() {
        let wakes = Arc::new(Wakes::default());
        let queue = QueueId::new([1; 32]);
        let (one, two) = (wakes.listen(queue), wakes.listen(queue));
        drop(one);
        assert_eq!(wakes.lock().len(), 1);
        drop(two);
        assert_eq!(wakes.lock().len(), 0);
    }
}
