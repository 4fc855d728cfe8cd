//! An owner, a broker, a storage, and a reader whose process can be killed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidings_client::{Publisher, PublisherConfig, State, Subscriber, SubscriberConfig, Write};
use tidings_core::reader::ChangeKind;
use tidings_core::{Entropy, Invitation, NodeKey, ObjectReference, ObjectSealer, RecordPath};
use tidings_datastore::storage::{Content, Driver, Name};
use tidings_datastore::{FetchLimits, FetchStatus, Follower, FollowerConfig, Pace, Unprinted, Value, Wanted, object_name};
use tidings_proto::QueueId;
use tokio::runtime::Runtime;

use crate::peer::{Peer, Peers};
use crate::shelf::{Mood, Shelf};

/// Longer than anything here takes, shorter than an attempt at an object that hangs; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(50);

/// Everything but the reader's process.
pub(crate) struct World {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) peer: Peer,
    publisher: Publisher,
    queue: QueueId,
    folder: TempDir,
    /// The owner and the broker live here. Dropped last.
    runtime: Runtime,
}

/// One life of the reader's process.
pub(crate) struct Life {
    pub(crate) follower: Follower,
    pub(crate) runtime: Runtime,
}

pub(crate) fn path(text: &str) -> RecordPath {
    text.parse().expect("a path")
}

fn reader_key() -> NodeKey {
    NodeKey::from_seed([2; 32])
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Short delays, so that nobody waits.
pub(crate) fn limits() -> Arc<FetchLimits> {
    Arc::new(FetchLimits::new(Pace { shortest: Duration::from_millis(1), longest: Duration::from_millis(20) }))
}

/// A value that does not fit into the queue.
pub(crate) fn large(byte: u8) -> Vec<u8> {
    vec![byte; 5_000]
}

/// Seals a value.
pub(crate) fn seal(value: &[u8], seed: u64) -> (ObjectReference, Vec<u8>) {
    let (mut sealer, mut sealed) = (ObjectSealer::new(&mut entropy(seed)), Vec::new());
    sealer.update(value, &mut sealed).expect("not too large");
    let reference = sealer.finish(&mut sealed, String::new()).expect("sealed");
    (reference, sealed)
}

fn entropy(seed: u64) -> Entropy {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Entropy::new(bytes)
}

impl World {
    pub(crate) fn new() -> Self {
        let (runtime, peer, folder) = (runtime(), Peer::new(), tempfile::tempdir().expect("a folder"));
        let guard = runtime.enter();
        let config = PublisherConfig::new(Peers::one(&peer), vec![Peer::address(1)]);
        let publisher = Publisher::open(State::in_memory().expect("a state"), NodeKey::from_seed([1; 32]), config).expect("opened");
        let text = runtime.block_on(publisher.grant(reader_key().card(), "reader".into())).expect("granted");
        let invitation = Invitation::parse(&text).expect("an invitation");
        let state = State::open(&folder.path().join("state.redb")).expect("a state");
        let queue = Subscriber::follow(&state, &reader_key(), &invitation, "owner").expect("followed");
        drop(guard);
        Self { shelf: Shelf::new(), peer, publisher, queue, folder, runtime }
    }

    pub(crate) fn queue(&self) -> QueueId {
        self.queue
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("fetched")
    }

    pub(crate) fn state(&self) -> State {
        State::open(&self.folder.path().join("state.redb")).expect("a state")
    }

    /// Files in the cache that have their final name.
    pub(crate) fn cached(&self) -> usize {
        let Ok(folders) = std::fs::read_dir(self.cache().join("objects")) else { return 0 };
        folders.map(|folder| std::fs::read_dir(folder.expect("a folder").path()).expect("a folder").count()).sum()
    }

    pub(crate) fn file(&self, name: &Name) -> PathBuf {
        self.cache().join(name.as_str())
    }

    /// Publishes all of this at once.
    pub(crate) fn publish(&self, writes: Vec<Write>) {
        self.runtime.block_on(async {
            self.publisher.write(writes).await.expect("written");
            self.publisher.flush(LONG).await.expect("published");
        });
    }

    pub(crate) fn put(&self, at: &str, value: &str) {
        self.publish(vec![inline(at, value)]);
    }

    pub(crate) fn delete(&self, at: &str) {
        self.publish(vec![Write::Delete { path: path(at) }]);
    }

    /// Stores a sealed value; gives its reference and its name.
    pub(crate) fn store(&self, value: &[u8], seed: u64) -> (ObjectReference, Name) {
        let (reference, sealed) = seal(value, seed);
        let name = object_name(&reference.id);
        self.runtime.block_on(self.shelf.create(&name, Content::Bytes(sealed.into()))).expect("stored");
        (reference, name)
    }

    /// Stores and publishes a large value; gives the object's name.
    pub(crate) fn put_large(&self, at: &str, value: &[u8], mood: Option<Mood>) -> Name {
        let (reference, name) = self.store(value, u64::from(value[0]) + 256 * at.len() as u64);
        self.shelf.set(&name, mood);
        self.publish(vec![stored(at, reference)]);
        name
    }

    /// Starts the reader's process.
    pub(crate) fn life(&self) -> Life {
        self.life_with(Some(self.shelf.clone()), limits())
    }

    pub(crate) fn life_with(&self, storage: Option<Arc<dyn Driver>>, limits: Arc<FetchLimits>) -> Life {
        let (runtime, state) = (runtime(), self.state());
        let config = FollowerConfig { storage, cache: self.cache(), limits };
        let guard = runtime.enter();
        let subscriber = SubscriberConfig::new(Peers::one(&self.peer));
        let follower = Follower::start(state, Arc::new(reader_key()), self.queue, subscriber, config).expect("started");
        drop(guard);
        Life { follower, runtime }
    }
}

pub(crate) fn inline(at: &str, value: &str) -> Write {
    Write::Put { path: path(at), value: Bytes::copy_from_slice(value.as_bytes()), content_type: String::new() }
}

pub(crate) fn stored(at: &str, reference: ObjectReference) -> Write {
    Write::PutObject { path: path(at), object: reference }
}

impl Life {
    /// Waits until everything published is at the desk.
    pub(crate) fn merged(&self, world: &World) {
        let newest = world.peer.look(|queue| queue.heads.last().expect("a head").rank());
        let mut changed = self.follower.changed();
        let merged = async {
            loop {
                changed.borrow_and_update();
                if self.follower.caught_up(LONG).await.is_ok_and(|caught_up| caught_up.cursor.rank >= newest) {
                    return;
                }
                changed.changed().await.expect("running");
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(LONG, merged).await }).expect("in time");
    }

    /// Waits until an object was read so often.
    pub(crate) fn until_read(&self, world: &World, name: &Name, count: usize) {
        let read = async { tokio::time::timeout(LONG, world.shelf.until_read(name, count)).await };
        self.runtime.block_on(read).expect("in time");
    }

    /// Waits until it is as asked.
    pub(crate) fn until<T>(&self, mut look: impl FnMut(&Follower) -> Option<T>) -> T {
        let mut changed = self.follower.changed();
        let found = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = look(&self.follower) {
                    return found;
                }
                changed.changed().await.expect("running");
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(LONG, found).await }).expect("in time")
    }

    /// Waits until there is something to print, whether its value is here or not.
    pub(crate) fn heard(&self) {
        self.until(|follower| (!follower.unprinted(Wanted::NotNeeded, 1).expect("read").is_empty()).then_some(()));
    }

    /// Waits until every value is here, of what was heard.
    pub(crate) fn fetched_all(&self) {
        self.runtime.block_on(self.follower.caught_up(LONG)).expect("caught up");
        self.until(|follower| (follower.fetches().expect("read") == FetchStatus::default()).then_some(()));
    }

    /// Waits for so many changes, and confirms them.
    pub(crate) fn print(&self, count: usize) -> Vec<(String, ChangeKind, bool)> {
        let printed = self.take(count);
        self.follower.printed(&printed).expect("kept");
        told(&printed)
    }

    /// Waits for so many changes, and does not confirm them.
    pub(crate) fn take(&self, count: usize) -> Vec<Unprinted> {
        let mut taken = Vec::new();
        self.until(|follower| {
            taken.extend(follower.unprinted(Wanted::Fetched, count - taken.len()).expect("read"));
            (taken.len() >= count).then_some(())
        });
        taken
    }

    pub(crate) fn value(&self, at: &str) -> Result<Option<Vec<u8>>, tidings_datastore::FollowerError> {
        self.value_within(at, LONG)
    }

    pub(crate) fn value_within(&self, at: &str, patience: Duration) -> Result<Option<Vec<u8>>, tidings_datastore::FollowerError> {
        self.runtime.block_on(async {
            match self.follower.value(&path(at), patience).await? {
                None => Ok(None),
                Some(value) => Ok(Some(content(value).await)),
            }
        })
    }

    /// Ends it in order.
    pub(crate) fn close(self) {
        self.runtime.block_on(self.follower.close());
    }

    /// Ends it as a kill does: nothing is told that it ends.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

pub(crate) async fn content(value: Value) -> Vec<u8> {
    match value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::File(file) => file.bytes().await.expect("read").to_vec(),
    }
}

pub(crate) fn told(changes: &[Unprinted]) -> Vec<(String, ChangeKind, bool)> {
    changes.iter().map(|change| (change.path.as_str().to_owned(), change.kind, change.fetched)).collect()
}
