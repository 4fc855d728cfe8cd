//! Objects of records that came from another home of this owner: known from the merge on, and not removed too early. [P-22]

use std::sync::Arc;
use std::time::Duration;

use tidings_client::{Archive, Nowhere, Publisher, PublisherConfig, State, Ticket};
use tidings_datastore::channel::{Channel, ChannelConfig, StorageArchive};
use tidings_datastore::storage::{Driver, MemoryStorage};
use tidings_datastore::{Collected, Datastore, Source};

use crate::{Broker, LONG, key, large, open, path, value};

/// One home of the owner, which compares with the storage and writes to it.
struct Home {
    folder: tempfile::TempDir,
    state: State,
    publisher: Publisher,
    channel: Option<Channel>,
    datastore: Datastore,
}

impl Home {
    async fn new(storage: &Arc<dyn Driver>, broker: Option<&Broker>, restoring: bool) -> Self {
        let mut home = Self::without_channel(storage, broker, restoring).await;
        let config = ChannelConfig { gap: LONG, behind_max: LONG, ..ChannelConfig::default() };
        home.channel = Some(Channel::start(home.state.clone(), home.publisher.clone(), storage.clone(), config));
        home
    }

    /// Nothing asks it to sign where there is no broker.
    async fn without_channel(storage: &Arc<dyn Driver>, broker: Option<&Broker>, restoring: bool) -> Self {
        let (folder, state) = (tempfile::tempdir().expect("a folder"), State::in_memory().expect("a state"));
        let archive: Arc<dyn Archive> = Arc::new(StorageArchive::new(storage.clone(), &key().default_queue()));
        let mut config = match broker {
            Some(broker) => PublisherConfig::new(Arc::new(broker.clone()), vec![Broker::address()]),
            None => PublisherConfig::new(Arc::new(Nowhere), Vec::new()),
        };
        config.archive = Some(archive);
        (config.restoring, config.compare_wait) = (restoring, LONG);
        let publisher = Publisher::open(state.clone(), key(), config).expect("opened");
        let datastore = open(&state, &publisher, storage.clone(), folder.path(), Duration::ZERO).await;
        Self { folder, state, publisher, channel: None, datastore }
    }

    /// A new home from the key and the storage.
    async fn rebuilt(storage: &Arc<dyn Driver>, broker: Option<&Broker>) -> Self {
        let home = Self::new(storage, broker, true).await;
        assert!(home.publisher.compared(LONG).await.is_whole());
        home
    }

    fn channel(&self) -> &Channel {
        self.channel.as_ref().expect("one with a channel")
    }

    async fn put(&self, at: &str, fill: u8) {
        self.datastore.put(path(at), Source::Bytes(large(fill)), String::new()).await.expect("put");
    }

    /// Until the storage shows everything; what is in the way goes away by itself.
    async fn flush(&self) {
        let flushed = async { while self.channel().flush(LONG).await.is_err() {} };
        tokio::time::timeout(LONG, flushed).await.expect("in time");
    }

    async fn collected(&self) -> Collected {
        self.datastore.collect().await.expect("collected")
    }

    /// A person says that this home goes on, as soon as it has noticed the other one.
    async fn take_over(&self) {
        self.channel().flush(LONG).await.expect_err("the other branch is there");
        let noticed = async {
            while self.publisher.status().expect("read").conflict.is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, noticed).await.expect("in time");
        self.publisher.take_over().await.expect("taken over");
        self.flush().await;
    }
}

/// [P-22] What a rebuilt state knows only from the queue goes like everything else when it is replaced.
#[tokio::test]
async fn objects_of_a_rebuilt_state_are_known_and_go_when_they_are_replaced() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let lost = Home::new(&storage, None, false).await;
    lost.put("/a", 1).await;
    lost.put("/b", 2).await;
    lost.flush().await;
    drop(lost);
    let broker = Broker::new();
    let home = Home::rebuilt(&storage, Some(&broker)).await;
    assert_eq!(home.collected().await, Collected { named: 2, ..Collected::default() });
    home.publisher.write(vec![tidings_client::Write::Delete { path: path("/b") }]).await.expect("written");
    home.publisher.flush(LONG).await.expect("published");
    assert_eq!(home.collected().await, Collected { named: 1, removed: 1, ..Collected::default() });
    assert_eq!(value(&home.datastore, "/a").await, Some(large(1)));
}

/// [P-22] Somebody may still read the branch that was left: for a grace after a merge nothing goes, not even what was never signed.
#[tokio::test]
async fn nothing_is_removed_in_the_first_grace_after_a_rebuild() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let lost = Home::new(&storage, None, false).await;
    lost.put("/a", 1).await;
    lost.flush().await;
    drop(lost);
    let home = Home::without_channel(&storage, None, true).await;
    assert!(home.publisher.compared(LONG).await.is_whole());
    // The first value never gets a signature.
    home.put("/b", 2).await;
    home.put("/b", 3).await;
    let hour = Duration::from_secs(3_600);
    let patient = open(&home.state, &home.publisher, storage.clone(), home.folder.path(), hour).await;
    let collected = patient.collect().await.expect("collected");
    assert_eq!((collected.removed, collected.named, collected.waiting), (0, 2, 1));
    assert_eq!(home.collected().await.removed, 1, "after the grace it goes at once");
}

/// [P-5] [P-22] A rescued value names its object until a person takes or drops it, and its record does after it was taken.
#[tokio::test]
async fn the_object_of_a_rescued_value_is_live_until_it_is_taken_and_after_that() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let first = Home::new(&storage, None, false).await;
    first.put("/a", 1).await;
    first.flush().await;
    let second = Home::rebuilt(&storage, None).await;
    first.put("/a", 2).await;
    second.put("/a", 3).await;
    second.flush().await;
    first.take_over().await;
    let rescued = first.publisher.rescued().expect("read");
    assert_eq!((rescued.len(), value(&first.datastore, "/a").await), (1, Some(large(3))));
    for _ in 0..2 {
        let collected = first.collected().await;
        assert_eq!((collected.removed, collected.named), (0, 2), "both values are live: {collected:?}");
    }
    let tickets: Vec<Ticket> = first.publisher.take_rescued(&rescued[0].id).await.expect("taken");
    assert_eq!(tickets.len(), 2);
    first.flush().await;
    let collected = first.collected().await;
    assert_eq!((collected.removed, collected.named), (0, 1), "{collected:?}");
    assert_eq!(value(&first.datastore, "/a").await, Some(large(2)));
}
