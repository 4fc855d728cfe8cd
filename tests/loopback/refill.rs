//! A broker that lost what it had is brought to the newest head in one step, and readers read on. [P-10]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidings_broker::server::{Admission, Broker, BrokerConfig};
use tidings_broker::store::{RocksStore, Settings};
use tidings_client::connection::{ConnectOptions, Connection, ConnectionError, Endpoint};
use tidings_client::{BrokerState, Event, Network, OwnSnapshot, Publisher, PublisherConfig, State, Subscriber, SubscriberConfig, Write};
use tidings_core::reader::Verdict;
use tidings_core::{Invitation, NodeKey, Object};
use tidings_proto::frames::Transfer;
use tidings_proto::{BrokerAddress, HeadNumber, Offset, QueueId, Refusal, RefusalCode, Reply, Request};

use crate::port;

/// Longer than anything here takes; only a failing test waits for it.
pub(super) const LONG: Duration = Duration::from_secs(120);
const RECORDS: usize = 3_000;

/// A broker whose keys and address stay while its store is exchanged.
pub(super) struct Place {
    folder: TempDir,
    listen: SocketAddr,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), listen: ([127, 0, 0, 1], port::steady()).into() }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(super) async fn start(&mut self) -> Broker {
        let store = Arc::new(RocksStore::open(&self.store(), &Settings::default()).expect("the store opens"));
        let mut config = BrokerConfig::new(self.folder.path());
        config.listen = self.listen;
        config.admission = Admission::Open;
        let broker = Broker::start(config, store).await.expect("the broker starts");
        self.listen = broker.local_addr();
        broker
    }
}

/// Ends brokers as a test does with its last ones: a process that ends while a store is in use is ended by an abort.
pub(super) async fn end<const N: usize>(brokers: [Broker; N]) {
    for broker in brokers {
        broker.drain().await;
    }
}

pub(super) fn network() -> Arc<Network> {
    Arc::new(Network::new(Endpoint::bind().expect("a socket"), ConnectOptions::default()))
}

fn owner(brokers: &[&BrokerAddress]) -> (Publisher, State) {
    let state = State::in_memory().expect("a state");
    let config = PublisherConfig::new(network(), brokers.iter().map(|address| (*address).clone()).collect());
    (Publisher::open(state.clone(), NodeKey::from_seed([1; 32]), config).expect("opened"), state)
}

fn puts(records: std::ops::Range<usize>, value: &str) -> Vec<Write> {
    let put = |record| Write::Put {
        path: format!("/record/{record}").parse().expect("a path"),
        value: Bytes::from(format!("{value} {record}")),
        content_type: String::new(),
    };
    records.map(put).collect()
}

pub(super) async fn publish(publisher: &Publisher, writes: Vec<Write>) {
    publisher.write(writes).await.expect("written");
    publisher.flush(LONG).await.expect("published");
}

/// A new reader of the owner; gives its state and the queue.
pub(super) async fn join(publisher: &Publisher, seed: u8) -> (NodeKey, State, QueueId) {
    let key = NodeKey::from_seed([seed; 32]);
    let text = publisher.grant(key.card(), format!("reader {seed}")).await.expect("granted");
    let state = State::in_memory().expect("a state");
    let queue = Subscriber::follow(&state, &key, &Invitation::parse(&text).expect("an invitation"), "owner").expect("followed");
    (key, state, queue)
}

pub(super) fn subscribe((key, state, queue): &(NodeKey, State, QueueId)) -> Subscriber {
    Subscriber::start(state.clone(), key.clone(), *queue, SubscriberConfig::new(network())).expect("started")
}

/// Reads until the reader stands at the owner's newest offset; nobody may be accused on the way.
async fn reads_all(subscriber: &mut Subscriber, publisher: &Publisher) {
    let newest = publisher.status().expect("read").offset;
    let reading = async {
        while subscriber.status().expect("read").cursor.offset < newest {
            if let Event::Verdict(report) = subscriber.next().await.expect("running") {
                assert!(
                    matches!(report.verdict, Verdict::UpToDate | Verdict::CatchingUp | Verdict::Stale | Verdict::Offline),
                    "{report:?}"
                );
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("in time");
    assert_eq!(subscriber.list("/").expect("read").len() as u64, publisher.status().expect("read").live_count);
}

async fn broker_is(publisher: &Publisher, at: usize, wanted: BrokerState) {
    let listed = async {
        while publisher.status().expect("read").brokers[at].state != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, listed).await.expect("in time");
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("the folder is there") {
        let path = file.expect("a file").path();
        std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
}

/// Cuts the last record of the newest log: what a disk that lies about its sync leaves after a power cut.
fn cut_log(store: &Path) {
    let logs = std::fs::read_dir(store).expect("the folder is there").map(|file| file.expect("a file").path());
    let full = |path: &PathBuf| path.extension().is_some_and(|found| found == "log") && path.metadata().is_ok_and(|data| data.len() > 0);
    let newest = logs.filter(full).max().expect("a log");
    let bytes = std::fs::read(&newest).expect("the log is there");
    std::fs::write(&newest, &bytes[..bytes.len() - 10]).expect("the log can be written");
}

/// A broker that has taken everything, then stands as `lose` leaves its folder: the owner brings it back, a reader that was ahead goes
/// on, and a new one gets all.
async fn a_loss_is_made_good(lose: impl FnOnce(&Path, &Path)) {
    let (mut place, older) = (Place::new(), tempfile::tempdir().expect("a folder"));
    let broker = place.start().await;
    let (publisher, _state) = owner(&[broker.address()]);
    let reader = join(&publisher, 2).await;
    publish(&publisher, puts(0..RECORDS, "first")).await;
    broker.drain().await;
    copy(&place.store(), older.path());
    let broker = place.start().await;
    publish(&publisher, puts(0..RECORDS / 3, "second")).await;
    publish(&publisher, puts(0..9, "third")).await;
    let mut ahead = subscribe(&reader);
    reads_all(&mut ahead, &publisher).await;
    broker.drain().await;

    lose(&place.store(), older.path());
    let broker = place.start().await;
    publish(&publisher, puts(RECORDS..RECORDS + 1, "after the loss")).await;
    reads_all(&mut ahead, &publisher).await;
    let mut new = subscribe(&join(&publisher, 3).await);
    reads_all(&mut new, &publisher).await;
    assert_eq!(publisher.status().expect("read").losses.len(), 1);
    end([broker]).await;
}

/// [P-5] [P-10]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_broker_is_filled_up_again() {
    a_loss_is_made_good(|store, _| std::fs::remove_dir_all(store).expect("the folder can go")).await;
}

/// [P-5] [P-10]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_restored_from_an_older_copy_is_brought_up_to_date() {
    let restore = |store: &Path, older: &Path| {
        std::fs::remove_dir_all(store).expect("the folder can go");
        copy(older, store);
    };
    a_loss_is_made_good(restore).await;
}

/// [P-5] [P-10]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_lost_the_end_of_its_log_is_brought_up_to_date() {
    a_loss_is_made_good(|store, _| cut_log(store)).await;
}

/// [P-10] The owner moves to a broker that never saw it, and its readers find it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_broker_takes_over_from_a_dead_one() {
    let (mut one, mut two) = (Place::new(), Place::new());
    let (dying, second) = (one.start().await, two.start().await);
    let (publisher, _state) = owner(&[dying.address(), second.address()]);
    let reader = join(&publisher, 2).await;
    publish(&publisher, puts(0..RECORDS, "first")).await;
    let mut subscriber = subscribe(&reader);
    reads_all(&mut subscriber, &publisher).await;
    dying.drain().await;
    publish(&publisher, puts(0..9, "second")).await;
    broker_is(&publisher, 1, BrokerState::Connected).await;
    reads_all(&mut subscriber, &publisher).await;
    end([second]).await;
}

/// [P-10] Half of a transfer came, then something that has no place in it, and then the broker stopped: the next one sees nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_was_cut_short_is_repeated() {
    let mut place = Place::new();
    let broker = place.start().await;
    let (publisher, _state) = owner(&[broker.address()]);
    let reader = join(&publisher, 2).await;
    publish(&publisher, puts(0..RECORDS, "first")).await;
    let snapshot = publisher.snapshot(LONG).await.expect("in time").expect("a head");
    broker.drain().await;
    std::fs::remove_dir_all(place.store()).expect("the folder can go");

    // Nobody else may fill the empty broker first.
    let port = std::mem::replace(&mut place.listen, ([127, 0, 0, 1], 0).into());
    let broker = place.start().await;
    let refusal = half_a_transfer(broker.address(), &snapshot).await;
    assert_eq!(refusal.code, RefusalCode::Malformed);
    broker.drain().await;

    place.listen = port;
    let broker = place.start().await;
    publish(&publisher, puts(RECORDS..RECORDS + 1, "after the loss")).await;
    let mut subscriber = subscribe(&reader);
    reads_all(&mut subscriber, &publisher).await;
    end([broker]).await;
}

/// Sends parts that are right and not all, then a question; gives the answer to that.
async fn half_a_transfer(address: &BrokerAddress, snapshot: &OwnSnapshot) -> Refusal {
    let endpoint = Endpoint::bind().expect("a socket");
    let connection = Connection::connect(&endpoint, address, &ConnectOptions::default()).await.expect("connected");
    connection.prove(&NodeKey::from_seed([1; 32])).await.expect("proven");
    let mut stream = connection.open_publish(snapshot.descriptor().encode().into()).await.expect("opened");
    assert!(stream.standing.is_empty());
    let history = snapshot.history(HeadNumber::ZERO, 9).expect("read").iter().map(|hash| *hash.bytes()).collect();
    let entries = snapshot.entries(Offset::ZERO, Offset::new(RECORDS as u64 / 2), 500_000).expect("read");
    let entries = entries.into_iter().map(|(_, bytes)| bytes).collect();
    stream.requests.send(Request::Transfer(Transfer { history, entries, ..Transfer::default() })).await.expect("sent");
    stream.requests.send(Request::AskReaders).await.expect("sent");
    match stream.replies.receive().await {
        Ok(Reply::Refused(refusal)) | Err(ConnectionError::Refused(refusal)) => refusal,
        other => panic!("no refusal: {other:?}"),
    }
}
