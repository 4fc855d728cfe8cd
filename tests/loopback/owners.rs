//! One queue with more than one past, at real brokers: states that are lost, copied and put back, brokers that lag, die and are emptied,
//! and what readers see of it. In the end every broker has to hold every value that was ever receipted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidings_client::connection::{ConnectOptions, Connection, Endpoint};
use tidings_client::{Event, Publisher, PublisherConfig, State, StateError, Subscriber, Write};
use tidings_core::reader::Verdict;
use tidings_core::{Mutation, NodeKey, Operation, QueueState, Recovered, Recovery};
use tidings_proto::{BrokerAddress, QueueId, Reply, Request};

use crate::refill::{LONG, Place, copy, end, join, network, publish, subscribe};

type Follower = (NodeKey, State, QueueId);
/// Values by path.
type Values = BTreeMap<String, String>;

/// A folder with an owner's state.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A copy of everything in it.
    fn copied(&self) -> Self {
        let other = Self::new();
        copy(self.0.path(), other.0.path());
        other
    }

    /// Waits until a publisher that was closed has let go of it.
    fn state(&self) -> State {
        loop {
            match State::open(&self.0.path().join("state.redb")) {
                Err(StateError::Locked) => std::thread::yield_now(),
                opened => return opened.expect("opened"),
            }
        }
    }
}

fn owner_key() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

/// An owner of whose publishes every broker has to hold all before they are done.
fn config(brokers: &[&BrokerAddress]) -> PublisherConfig {
    let mut config = PublisherConfig::new(network(), brokers.iter().map(|address| (*address).clone()).collect());
    (config.receipts, config.compare_wait) = (brokers.len(), LONG);
    config
}

fn open(state: State, config: PublisherConfig) -> Publisher {
    Publisher::open(state, owner_key(), config).expect("opened")
}

fn put(path: &str, value: &str) -> Write {
    Write::Put { path: path.parse().expect("a path"), value: Bytes::from(value.to_owned()), content_type: String::new() }
}

fn delete(path: &str) -> Write {
    Write::Delete { path: path.parse().expect("a path") }
}

fn many(value: &str) -> Vec<Write> {
    (0..200).map(|number| put(&format!("/many/{number}"), &format!("{value} {number}"))).collect()
}

fn row(mutation: &Mutation) -> (String, String) {
    let value = mutation.inline.clone().unwrap_or_default();
    (mutation.path.to_string(), String::from_utf8(value.to_vec()).expect("text"))
}

/// What the owner has, rescued values too.
fn own(publisher: &Publisher) -> Values {
    let listed = publisher.list("/").expect("read").into_iter().map(|value| row(&value.mutation));
    listed.chain(publisher.rescued().expect("read").into_iter().map(|value| row(&value.mutation))).collect()
}

/// Everything that a broker gives back to the owner, if it is what a head signs.
async fn recovered(publisher: &Publisher, address: &BrokerAddress) -> Recovered {
    let descriptor = publisher.snapshot(LONG).await.expect("in time").expect("a head").descriptor().clone();
    let endpoint = Endpoint::bind().expect("a socket");
    let connection = Connection::connect(&endpoint, address, &ConnectOptions::default()).await.expect("connected");
    connection.prove(&owner_key()).await.expect("proven");
    let mut stream = connection.open_publish(tidings_core::Object::encode(&descriptor).into()).await.expect("opened");
    stream.requests.send(Request::Recover).await.expect("sent");
    let mut recovery = Recovery::new(descriptor);
    loop {
        let Ok(Reply::Part(part)) = stream.replies.receive().await else { panic!("a part") };
        if let Some(recovered) = recovery.take(part).expect("as the head signs") {
            return recovered;
        }
    }
}

/// Every broker holds what the owner has, at its newest head, and that is at least `receipted`: by its path, or rescued.
async fn everything_is_held(publisher: &Publisher, brokers: &[&BrokerAddress], receipted: &[(&str, &str)]) {
    publisher.flush(LONG).await.expect("published");
    let (wanted, head) = (own(publisher), publisher.status().expect("read").head);
    for address in brokers {
        let recovered = recovered(publisher, address).await;
        assert_eq!(recovered.head().rank(), head);
        let opened = recovered.open(&owner_key()).expect("opened");
        let live = opened.records.iter().filter(|record| record.mutation.operation != Operation::Delete);
        assert_eq!(live.map(|record| row(&record.mutation)).collect::<Values>(), wanted);
    }
    for (path, value) in receipted {
        let rescued = || wanted.iter().any(|(place, kept)| place.starts_with("/.tidings/rescued/") && kept == value);
        assert!(wanted.get(*path).is_some_and(|now| now == value) || rescued(), "{path} {value} was receipted and is gone: {wanted:?}");
    }
}

/// Reads until it shows what the owner has. Gives what it was told is gone on the way; nobody may be accused of anything but a rewind.
async fn sees_all(subscriber: &mut Subscriber, publisher: &Publisher) -> Vec<String> {
    let wanted: Values = own(publisher).into_iter().filter(|(path, _)| !path.starts_with("/.tidings")).collect();
    let reading = async {
        let mut told = Vec::new();
        while subscriber.list("/").expect("read").iter().map(|value| row(&value.mutation)).collect::<Values>() != wanted {
            told.extend(gone(subscriber.next().await.expect("running")));
        }
        while subscriber.view().borrow().verdict.verdict != Verdict::UpToDate {
            told.extend(gone(subscriber.next().await.expect("running")));
        }
        told
    };
    let told = tokio::time::timeout(LONG, reading).await;
    told.unwrap_or_else(|_| panic!("{:?}", subscriber.view().borrow().verdict))
}

/// What it is told is gone, the next time that it is told so.
async fn told(subscriber: &mut Subscriber) -> Vec<String> {
    let reading = async {
        loop {
            let told = gone(subscriber.next().await.expect("running"));
            if !told.is_empty() {
                return told;
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("in time")
}

fn gone(event: Event) -> Vec<String> {
    match event {
        Event::Verdict(report) => {
            assert!(!matches!(report.verdict, Verdict::Withheld | Verdict::Forked | Verdict::LocalDamage), "{report:?}");
            Vec::new()
        }
        Event::Rewound(rewound) => rewound.gone.iter().map(ToString::to_string).chain(["told".to_owned()]).collect(),
        _ => Vec::new(),
    }
}

/// Waits for the last thing that the owner says of being caught by another writer, and goes on.
async fn take_over(publisher: &Publisher) {
    publisher.compared(LONG).await.conflict.expect("a conflict");
    publisher.take_over().await.expect("taken over");
    assert_eq!(publisher.status().expect("read").conflict, None);
    assert!(publisher.compared(LONG).await.is_whole());
    publisher.flush(LONG).await.expect("published");
}

/// [P-4, P-5] The owner's machine burned down: a broker gives everything back, and a reader that is there all the time notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_state_comes_back_from_the_broker_under_a_live_reader() {
    let mut place = Place::new();
    let broker = place.start().await;
    let first = open(State::in_memory().expect("a state"), config(&[broker.address()]));
    let follower = join(&first, 2).await;
    let mut reader = subscribe(&follower);
    publish(&first, many("first")).await;
    publish(&first, vec![put("/a", "1"), delete("/many/7")]).await;
    sees_all(&mut reader, &first).await;
    first.close().await;

    let restored = open(State::in_memory().expect("a state"), PublisherConfig { restoring: true, ..config(&[broker.address()]) });
    assert!(restored.compared(LONG).await.is_whole());
    publish(&restored, vec![put("/b", "1")]).await;
    assert!(sees_all(&mut reader, &restored).await.is_empty());
    everything_is_held(&restored, &[broker.address()], &[("/a", "1"), ("/many/8", "first 8"), ("/b", "1")]).await;
    assert_eq!(own(&restored).len(), 201);
    end([broker]).await;
}

/// [P-5] [P-10] The state is lost, of two brokers one was put back to an older copy, and the other one has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_state_is_rebuilt_on_the_newest_of_two_brokers() {
    let (mut one, mut two) = (Place::new(), Place::new());
    let (behind, ahead) = (one.start().await, two.start().await);
    let first = open(State::in_memory().expect("a state"), config(&[behind.address(), ahead.address()]));
    publish(&first, many("first")).await;
    behind.drain().await;
    let older = tempfile::tempdir().expect("a folder");
    copy(&one.store(), older.path());
    let behind = one.start().await;
    publish(&first, vec![put("/a", "2"), delete("/many/1")]).await;
    first.close().await;
    behind.drain().await;
    put_back(older.path(), &one.store());
    let behind = one.start().await;

    let brokers = [behind.address(), ahead.address()];
    let restored = open(State::in_memory().expect("a state"), PublisherConfig { restoring: true, ..config(&brokers) });
    assert!(restored.compared(LONG).await.is_whole());
    publish(&restored, vec![put("/b", "1")]).await;
    everything_is_held(&restored, &brokers, &[("/a", "2"), ("/b", "1"), ("/many/2", "first 2")]).await;
    assert!(!own(&restored).contains_key("/many/1"));
    end([behind, ahead]).await;
}

fn put_back(from: &Path, to: &Path) {
    std::fs::remove_dir_all(to).expect("the folder can go");
    copy(from, to);
}

/// Two copies of a state, each at a broker of its own that had everything before, and a reader that begins at the first one.
struct Forked {
    one: Home,
    other: Home,
    reader: Follower,
}

async fn forked(brokers: &[&BrokerAddress]) -> Forked {
    let one = Home::new();
    let first = open(one.state(), config(brokers));
    let reader = join(&first, 2).await;
    publish(&first, ["/a", "/b", "/c", "/d"].map(|path| put(path, "common")).to_vec()).await;
    first.close().await;
    let other = one.copied();
    Forked { one, other, reader }
}

/// [P-4, P-5] [P-10] [P-14] A copied home: the first one stops until a person says that it goes on. Then its broker is refilled from zero
/// under a live reader, which is told once what is gone, and nothing of either branch is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_copies_of_a_home_become_one_queue_again_under_a_live_reader() {
    let (mut one, mut two) = (Place::new(), Place::new());
    let (tail, base) = (one.start().await, two.start().await);
    let home = forked(&[tail.address(), base.address()]).await;
    let original = open(home.one.state(), config(&[tail.address()]));
    publish(&original, vec![put("/a", "original"), put("/c", "original"), put("/original", "1")]).await;
    let mut reader = subscribe(&home.reader);
    sees_all(&mut reader, &original).await;
    original.close().await;
    let clone = open(home.other.state(), config(&[base.address()]));
    publish(&clone, vec![put("/a", "clone"), delete("/c"), put("/clone", "1")]).await;
    clone.close().await;

    let both = open(home.one.state(), config(&[tail.address(), base.address()]));
    take_over(&both).await;
    assert_eq!(told(&mut reader).await, ["/c", "told"]);
    assert!(sees_all(&mut reader, &both).await.is_empty());
    let receipted = [("/a", "original"), ("/c", "original"), ("/original", "1"), ("/a", "clone"), ("/clone", "1"), ("/d", "common")];
    everything_is_held(&both, &[tail.address(), base.address()], &receipted).await;
    assert_eq!(both.status().expect("read").rescued, 2);
    for value in both.rescued().expect("read") {
        both.take_rescued(&value.id).await.expect("taken");
    }
    publish(&both, vec![put("/after", "1")]).await;
    assert!(sees_all(&mut reader, &both).await.is_empty());
    everything_is_held(&both, &[tail.address(), base.address()], &receipted[..3]).await;
    end([tail, base]).await;
}

/// [P-5] [P-17] Who was removed on the branch that is left gets nothing more, at no broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_was_removed_on_one_of_two_branches_is_removed_everywhere() {
    let (mut one, mut two) = (Place::new(), Place::new());
    let (tail, base) = (one.start().await, two.start().await);
    let home = forked(&[tail.address(), base.address()]).await;
    let original = open(home.one.state(), config(&[tail.address()]));
    let readers = original.readers().await.expect("open");
    original.revoke(&readers.iter().find(|reader| !reader.owner).expect("a reader").pseudonym).await.expect("revoked");
    original.close().await;
    let clone = open(home.other.state(), config(&[base.address()]));
    publish(&clone, vec![put("/a", "clone")]).await;
    clone.close().await;

    let both = open(home.one.state(), config(&[tail.address(), base.address()]));
    take_over(&both).await;
    publish(&both, vec![put("/secret", "1")]).await;
    everything_is_held(&both, &[tail.address(), base.address()], &[("/a", "clone"), ("/secret", "1")]).await;
    let reader = subscribe(&home.reader);
    let mut view = reader.view();
    let denied = view.wait_for(|view| view.verdict.verdict == Verdict::Denied);
    tokio::time::timeout(LONG, denied).await.expect("in time").expect("running");
    assert!(reader.list("/secret").expect("read").is_empty());
    end([tail, base]).await;
}

/// [P-5] One of two brokers dies, the other is emptied: what waits is signed in a new term, and both hold everything in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_brokers_one_may_be_dead_and_the_other_emptied() {
    let (mut one, mut two) = (Place::new(), Place::new());
    let (dead, emptied) = (one.start().await, two.start().await);
    let (addresses, home) = ([dead.address().clone(), emptied.address().clone()], Home::new());
    let brokers = [&addresses[0], &addresses[1]];
    let first = open(home.state(), config(&brokers));
    publish(&first, many("first")).await;
    first.close().await;
    dead.drain().await;
    emptied.drain().await;
    std::fs::remove_dir_all(two.store()).expect("the folder can go");
    let emptied = two.start().await;

    let alone = PublisherConfig { receipts: 1, compare_wait: Duration::ZERO, ..config(&brokers) };
    let second = open(home.state(), alone);
    publish(&second, vec![put("/a", "2")]).await;
    assert!(second.status().expect("read").term.value() > 1);
    second.close().await;
    let dead = one.start().await;
    let third = open(home.state(), config(&brokers));
    publish(&third, vec![put("/b", "3")]).await;
    everything_is_held(&third, &brokers, &[("/many/9", "first 9"), ("/a", "2"), ("/b", "3")]).await;
    assert!(third.status().expect("read").merged.is_empty());
    end([dead, emptied]).await;
}

/// [P-13] The owner moves: the broker that it leaves has the closed head, and a reader that knew only that one follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_reader_follows_a_move_to_a_broker_that_it_did_not_know() {
    let (mut one, mut two) = (Place::new(), Place::new());
    let (left, new) = (one.start().await, two.start().await);
    let publisher = open(State::in_memory().expect("a state"), config(&[left.address()]));
    let mut reader = subscribe(&join(&publisher, 2).await);
    publish(&publisher, many("first")).await;
    sees_all(&mut reader, &publisher).await;
    let moved = publisher.set_brokers(vec![new.address().clone()], new.address().to_string(), LONG).await.expect("moved");
    assert_eq!(moved.informed, [left.address().clone()]);
    publish(&publisher, vec![put("/a", "moved")]).await;
    assert!(sees_all(&mut reader, &publisher).await.is_empty());
    everything_is_held(&publisher, &[new.address()], &[("/a", "moved"), ("/many/3", "first 3")]).await;
    let closed = recovered(&publisher, left.address()).await;
    assert_eq!(closed.head().head().state, QueueState::Closed);
    end([left, new]).await;
}
