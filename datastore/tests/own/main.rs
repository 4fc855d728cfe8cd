//! The own datastore through a real publisher, real storage and a broker that only receipts.

mod broker;
mod collecting;
mod crashes;
mod dropped;
mod importing;
mod merges;
mod records;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::Broker;
use bytes::Bytes;
use tempfile::TempDir;
use tidings_client::{Nowhere, Publisher, PublisherConfig, State};
use tidings_core::{NodeKey, RecordPath};
use tidings_datastore::storage::faulty::Faults;
use tidings_datastore::storage::{Driver, Faulty, MemoryStorage, Name};
use tidings_datastore::{Datastore, DatastoreConfig, Source, Value};

/// Longer than anything here takes; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(30);

fn path(text: &str) -> RecordPath {
    text.parse().expect("a path")
}

/// A value that is too long for the queue.
fn large(fill: u8) -> Bytes {
    vec![fill; 10_000].into()
}

fn key() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

/// A datastore over storage in memory that fails when it is told to.
struct World {
    folder: TempDir,
    state: State,
    publisher: Publisher,
    storage: Arc<Faulty>,
    datastore: Datastore,
}

impl World {
    /// Without a broker: nothing is ever signed.
    async fn offline() -> Self {
        Self::with(PublisherConfig::new(Arc::new(Nowhere), Vec::new())).await
    }

    async fn online(broker: &Broker) -> Self {
        Self::with(PublisherConfig::new(Arc::new(broker.clone()), vec![Broker::address()])).await
    }

    async fn with(config: PublisherConfig) -> Self {
        let (folder, state) = (tempfile::tempdir().expect("a folder"), State::in_memory().expect("a state"));
        let publisher = Publisher::open(state.clone(), key(), config).expect("opened");
        let storage = Arc::new(Faulty::new(Arc::new(MemoryStorage::new()), [1; 32], Faults::NONE));
        let datastore = open(&state, &publisher, storage.clone(), folder.path(), Duration::ZERO).await;
        Self { folder, state, publisher, storage, datastore }
    }

    /// Another handle over the same state, as the next process opens it.
    async fn reopened(&self) -> Datastore {
        self.with_grace(Duration::ZERO).await
    }

    async fn with_grace(&self, grace: Duration) -> Datastore {
        open(&self.state, &self.publisher, self.storage.clone(), self.folder.path(), grace).await
    }

    async fn put(&self, at: &str, value: Bytes) {
        self.datastore.put(path(at), Source::Bytes(value), String::new()).await.expect("put");
    }

    async fn published(&self) {
        self.publisher.flush(LONG).await.expect("published");
    }

    async fn value(&self, at: &str) -> Option<Bytes> {
        value(&self.datastore, at).await
    }

    /// Objects in storage.
    async fn stored(&self) -> usize {
        self.storage.list(&Name::new("objects").expect("a name")).await.expect("listed").len()
    }
}

async fn open(state: &State, publisher: &Publisher, storage: Arc<dyn Driver>, folder: &Path, grace: Duration) -> Datastore {
    let config = DatastoreConfig { grace, ..DatastoreConfig::new(storage, folder.join("spool")) };
    Datastore::open(state.clone(), publisher.clone(), config).await.expect("opened")
}

async fn value(datastore: &Datastore, at: &str) -> Option<Bytes> {
    match datastore.get(&path(at)).await.expect("a value that is there")? {
        Value::Inline(bytes) => Some(bytes),
        Value::File(file) => Some(file.bytes().await.expect("read")),
    }
}

/// Waits until nothing is staged.
async fn settled(datastore: &Datastore) {
    let deadline = Instant::now() + LONG;
    while datastore.staged_count().expect("read") > 0 {
        assert!(Instant::now() < deadline, "it stays staged");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
