//! How long a reader waits for a value after its owner knows that it is published.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_client::{Publisher, State, Subscriber, SubscriberConfig};
use tidings_core::ValueHasher;
use tidings_datastore::storage::FileStorage;
use tidings_datastore::{Datastore, DatastoreConfig, FetchLimits, FetchStatus, Follower, FollowerConfig, Source};

use super::nodes::{LONG, Reader, key, network, owner, path, rounds};
use crate::world::{Broker, World};

/// The goal, on a machine that does nothing else.
const GOAL_P50: Duration = Duration::from_millis(100);
const GOAL_P99: Duration = Duration::from_millis(500);
/// On a machine that does.
const BUSY: u32 = 4;
const VALUE_BYTES: usize = 20 * 1024;

/// An owner and a reader with files of their own, on one storage in a folder.
struct Pair {
    datastore: Datastore,
    follower: Follower,
    reader: Reader,
    _publisher: Publisher,
    _broker: Broker,
    _world: World,
    _folder: TempDir,
}

impl Pair {
    async fn meet() -> Self {
        let (world, folder) = (World::new(), tempfile::tempdir().expect("a folder"));
        let broker = world.broker("127.0.0.1:0", &[]);
        let at = |name: &str| folder.path().join(name);
        let storage = Arc::new(FileStorage::new(at("storage")));
        let state = State::open(&at("owner.redb")).expect("a state");
        let publisher = owner(&state, key(0), &broker.address);
        let config = DatastoreConfig::new(storage.clone(), at("spool"));
        let datastore = Datastore::open(state, publisher.clone(), config).await.expect("a datastore");
        let invitation = publisher.grant(key(1).card(), "reader".into()).await.expect("granted");
        let reader = Reader::join_with(State::open(&at("reader.redb")).expect("a state"), key(1), &invitation);
        let config = FollowerConfig { storage: Some(storage), cache: at("fetched"), limits: Arc::new(FetchLimits::default()) };
        let subscriber = SubscriberConfig::new(network());
        let follower = Follower::start(reader.state.clone(), reader.key.clone(), reader.queue, subscriber, config).expect("started");
        follower.caught_up(LONG).await.expect("caught up");
        Self { datastore, follower, reader, _publisher: publisher, _broker: broker, _world: world, _folder: folder }
    }

    /// From the receipt at the owner to the value at the reader.
    async fn round(&self, number: u64) -> Duration {
        let value: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(VALUE_BYTES).collect();
        let mut hasher = ValueHasher::new();
        hasher.update(&value);
        let hash = hasher.finish();
        let ticket = self.datastore.put(path("/a"), Source::Bytes(value.into()), String::new()).await.expect("put");
        let published = async {
            ticket.receipted().await.expect("published");
            Instant::now()
        };
        let (published, fetched) = tokio::join!(published, self.fetched(&hash));
        fetched.saturating_duration_since(published)
    }

    async fn fetched(&self, hash: &[u8; 32]) -> Instant {
        let mut changed = self.follower.changed();
        let fetched = async {
            loop {
                changed.borrow_and_update();
                let found = Subscriber::value(&self.reader.state, &self.reader.queue, &path("/a")).expect("readable");
                let is_new = found.and_then(|found| found.mutation.object).is_some_and(|object| object.plaintext_hash == *hash);
                if is_new && self.follower.fetches().expect("readable") == FetchStatus::default() {
                    return Instant::now();
                }
                changed.changed().await.expect("it runs");
            }
        };
        tokio::time::timeout(LONG, fetched).await.expect("in time")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_at_its_reader_soon_after_its_owner_knows_that_it_is_published() {
    let pair = Pair::meet().await;
    let mut times = Vec::new();
    for number in 0..rounds(200) {
        times.push(pair.round(number).await);
    }
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{} values of {VALUE_BYTES} bytes: p50 {p50:?}, p99 {p99:?}, longest {:?}", times.len(), times[times.len() - 1]);
    assert!(p50 < GOAL_P50 * BUSY && p99 < GOAL_P99 * BUSY, "p50 {p50:?}, p99 {p99:?}");
}
