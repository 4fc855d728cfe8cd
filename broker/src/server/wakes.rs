//! Who is told of a commit or a pulse: the live subscriptions of its queue, and nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use tidings_proto::{HeadRank, QueueId};
use tokio::sync::{broadcast, watch};

use crate::engine::{Committed, Pulsed};

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
    channels: Mutex<HashMap<QueueId, Channel>>,
}

#[derive(Clone, Debug)]
struct Channel {
    commits: broadcast::Sender<Arc<Wake>>,
    /// Beside the commits, since a listener takes them one by one: what it takes may be from before the list changed.
    changes: watch::Sender<Changes>,
    pulse: watch::Sender<Option<Pulsed>>,
}

/// Durable heads after which what was read before may not leave, the newest of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The access list changed with it. [P-17]
    pub(super) access: HeadRank,
    /// It replaced the branch that stood. [P-10]
    pub(super) replaced: HeadRank,
}

impl Channel {
    fn new() -> Self {
        let (changes, pulse) = (watch::Sender::new(Changes::default()), watch::Sender::new(None));
        Self { commits: broadcast::Sender::new(COMMITS_MAX), changes, pulse }
    }

    fn tell(&self, committed: &Committed) {
        let rank = committed.head.rank();
        self.changes.send_if_modified(|changes| {
            let before = *changes;
            changes.access = if committed.access_changed { rank.max(before.access) } else { before.access };
            changes.replaced = if committed.replaced { rank.max(before.replaced) } else { before.replaced };
            *changes != before
        });
    }

    fn listeners(&self) -> usize {
        self.commits.receiver_count()
    }
}

impl Wakes {
    /// Tells whoever listens of commits that became durable together, before any of their owners hears of it. Never blocks on a
    /// listener.
    ///
    /// All changes of access or branch are told before the first commit: one that was durable as soon as the revocation behind it must not
    /// be sent on. [P-10] [P-17]
    pub(super) fn publish(&self, group: &[Arc<Committed>]) {
        let channels: Vec<Option<Channel>> = {
            let all = self.lock();
            group.iter().map(|committed| all.get(&committed.queue).cloned()).collect()
        };
        let heard = || group.iter().zip(&channels).filter_map(|(committed, channel)| Some((committed, channel.as_ref()?)));
        heard().for_each(|(committed, channel)| channel.tell(committed));
        for (committed, channel) in heard() {
            // The last listener may have gone this moment.
            let _ = channel.commits.send(Arc::new(Wake { committed: committed.clone(), frames: OnceLock::new() }));
        }
    }

    /// Tells whoever listens of a pulse.
    pub(super) fn pulse(&self, queue: &QueueId, pulse: &Pulsed) {
        if let Some(channel) = self.lock().get(queue) {
            channel.pulse.send_replace(Some(pulse.clone()));
        }
    }

    /// Listens to the commits of a queue from now on, and to its pulses.
    pub(super) fn listen(self: &Arc<Self>, queue: QueueId) -> Listener {
        let mut channels = self.lock();
        let channel = channels.entry(queue).or_insert_with(Channel::new);
        let ears = Ears { commits: channel.commits.subscribe(), changes: channel.changes.subscribe(), pulse: channel.pulse.subscribe() };
        Listener { wakes: self.clone(), queue, ears: Some(ears) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<QueueId, Channel>> {
        // The map is whole after every step, also one that panicked.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a live subscription hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// A durable head.
    Commit(Arc<Wake>),
    /// A pulse; of several only the newest.
    Pulse(Pulsed),
    /// What was read before may not leave, see [`Listener::changes`].
    Changes,
}

/// One subscription's ear.
#[derive(Debug)]
pub(super) struct Listener {
    wakes: Arc<Wakes>,
    queue: QueueId,
    /// Always there until dropped.
    ears: Option<Ears>,
}

#[derive(Debug)]
struct Ears {
    commits: broadcast::Receiver<Arc<Wake>>,
    changes: watch::Receiver<Changes>,
    pulse: watch::Receiver<Option<Pulsed>>,
}

impl Listener {
    /// What comes next. A commit that was missed is not given; those after it are. Safe to cancel.
    pub(super) async fn next(&mut self) -> Heard {
        match &mut self.ears {
            Some(ears) => ears.next().await,
            None => std::future::pending().await,
        }
    }

    /// The newest durable heads that changed the access list or the branch since this began to listen, also if their commits were not given
    /// yet. [P-10] [P-17]
    pub(super) fn changes(&self) -> Changes {
        self.ears.as_ref().map_or_else(Changes::default, |ears| *ears.changes.borrow())
    }
}

impl Ears {
    async fn next(&mut self) -> Heard {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.changes.changed() => return Heard::Changes,
                commit = self.commits.recv() => match commit {
                    Ok(wake) => return Heard::Commit(wake),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    // The channel lives as long as this listener.
                    Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
                },
                Ok(()) = self.pulse.changed() => {
                    let pulse = self.pulse.borrow_and_update().clone();
                    if let Some(pulse) = pulse {
                        return Heard::Pulse(pulse);
                    }
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut channels = self.wakes.lock();
        self.ears = None;
        if channels.get(&self.queue).is_some_and(|channel| channel.listeners() == 0) {
            channels.remove(&self.queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::{CommitQueue, CommitSettings};
    use crate::engine::test_owner::{Request, TestOwner, puts};
    use crate::store::MemoryStore;
    use tidings_proto::{HeadNumber, Term, Timestamp};

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

    /// Three publishes that became durable together; the last one revokes.
    fn group(owner: &mut TestOwner) -> Vec<Arc<Committed>> {
        let (store, mut commits) = (MemoryStore::new(), CommitQueue::new(CommitSettings::default()));
        let first = owner.checked(Request { add: vec![7], ..puts(&[1]) });
        let remove = owner.readers();
        let group = vec![first, owner.checked(puts(&[2])), owner.checked(Request { remove, ..puts(&[3]) })];
        let results = commits.commit_group(&store, Timestamp::ZERO, group);
        results.into_iter().map(|result| result.expect("valid").committed).collect()
    }

    /// However many listen, the frames of a commit are made once: all are given the same memory.
    #[tokio::test]
    async fn the_frames_of_a_commit_are_encoded_once_for_all() {
        let (wakes, mut owner, store) = (Arc::new(Wakes::default()), TestOwner::new(1), MemoryStore::new());
        let mut commits = CommitQueue::new(CommitSettings::default());
        let group = vec![owner.checked(puts(&[1])), owner.checked(puts(&[2]))];
        let second = commits.commit_group(&store, Timestamp::ZERO, group).remove(1).expect("valid").committed;
        let mut listeners: Vec<_> = (0..3).map(|_| wakes.listen(owner.queue())).collect();
        wakes.publish(&[second]);
        let mut places = Vec::new();
        for listener in &mut listeners {
            let Heard::Commit(wake) = listener.next().await else { panic!("a commit") };
            places.push((wake.frames().as_ptr(), wake.frames().is_empty()));
        }
        assert_eq!(places, [(places[0].0, false); 3]);
    }

    /// [P-17] Whatever of a group a listener takes first, it knows of the revocation in it.
    #[tokio::test]
    async fn a_revocation_is_known_before_any_commit_of_its_group() {
        let (wakes, mut owner) = (Arc::new(Wakes::default()), TestOwner::new(1));
        let mut listener = wakes.listen(owner.queue());
        let group = group(&mut owner);
        wakes.publish(&group);
        let rank = HeadRank { term: Term::new(1), number: HeadNumber::new(3) };
        assert_eq!(listener.changes().access, rank);
        assert!(matches!(listener.next().await, Heard::Changes));
        for number in 1..=3 {
            let Heard::Commit(wake) = listener.next().await else { panic!("a commit") };
            assert_eq!((wake.committed.head.rank().number.value(), listener.changes().access), (number, rank));
        }
    }
}
