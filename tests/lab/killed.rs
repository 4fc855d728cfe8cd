//! An owner is killed anywhere, over a real network: nothing that was done is lost, nothing is signed twice, nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_client::Subscriber;
use tidings_core::SignedHead;
use tidings_datastore::own::FailPoint;
use tidings_datastore::storage::FileStorage;
use tidings_datastore::{FetchLimits, Follower, FollowerConfig};
use tidings_proto::{HeadNumber, Offset};
use tokio::runtime::Runtime;

use super::nodes::{LONG, Reader, below, key, network, path, rounds};
use super::owner_life::{Kept, Node, SIGNED, begin, bytes, expected, log_of};
use super::search::files;
use super::{child, owner_life};
use crate::world::{Broker, World};

/// The time that a datastore keeps by itself what a slow reader may still need.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// More heads than any owner here signs.
const HEADS_MAX: usize = 10_000;

/// A broker, and owners that live one after the other.
struct Lab {
    world: World,
    broker: Broker,
    runtime: Runtime,
}

/// One owner: its folder and its key.
struct Owner<'l> {
    lab: &'l Lab,
    number: u64,
}

impl Lab {
    fn new() -> Self {
        let world = World::new();
        let broker = world.broker("127.0.0.1:0", &[]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        Self { world, broker, runtime }
    }

    fn owner(&self, number: u64) -> Owner<'_> {
        let owner = Owner { lab: self, number };
        owner_life::furnish(&owner.folder());
        owner
    }
}

impl Owner<'_> {
    fn folder(&self) -> std::path::PathBuf {
        self.lab.world.path(&format!("owner-{}", self.number))
    }

    /// Lives until it reaches a point for the `turn`th time; gives whether it did.
    fn dies_at(&self, point: &str, turn: u64) -> bool {
        let mut process = begin(&self.folder(), &self.lab.broker.address, self.number, point, turn, Duration::ZERO);
        let mut died = true;
        while let Some(said) = child::said(&mut process) {
            died &= said != "done";
        }
        died
    }

    /// Lives until it is killed after some time; gives how long it lived if it was done before.
    fn killed_after(&self, time: Duration) -> Option<Duration> {
        let mut process = begin(&self.folder(), &self.lab.broker.address, self.number, "none", 1, WEEK);
        assert_eq!(child::said(&mut process).as_deref(), Some("ready"));
        let began = Instant::now();
        if time == Duration::MAX {
            assert_eq!(child::said(&mut process).as_deref(), Some("done"));
            return Some(began.elapsed());
        }
        // A kill at any moment of what it does.
        std::thread::sleep(time);
        drop(process);
        None
    }

    /// Comes back, settles what was left, publishes what waits, and looks at everything.
    fn check(&self, story: &str) {
        self.lab.runtime.block_on(async {
            let log = log_of(&self.folder());
            let node = self.back(WEEK).await;
            // Before anything that only a slow reader still needs may go. [P-22]
            let there = objects(&self.folder());
            let gone: Vec<_> = log.objects().filter(|name| log.grace == WEEK && !there.contains(*name)).collect();
            assert!(gone.is_empty(), "{story}: {gone:?}");
            node.close().await;

            let node = self.back(Duration::ZERO).await;
            self.check_values(&node, &log, story).await;
            self.check_signed_once(&node, &log, story).await;
            self.check_reader(&node, story).await;
            let named = node.publisher.list("").expect("readable").into_iter().filter_map(|own| own.mutation.object);
            let named: BTreeSet<String> = named.map(|object| tidings_datastore::object_name(&object.id).to_string()).collect();
            assert_eq!(objects(&self.folder()), named, "{story}: objects");
            assert_eq!(files(&self.folder().join("spool")), Vec::<std::path::PathBuf>::new(), "{story}: spool");
            node.close().await;
        });
    }

    async fn back(&self, grace: Duration) -> Node {
        let node = Node::open(&self.folder(), &self.lab.broker.address, self.number, grace, None).await;
        node.publisher.flush(LONG).await.expect("published");
        while node.datastore.collect().await.expect("collected").removed > 0 {}
        node
    }

    /// Every write that returned is there; of the step that was cut off, each write or what it would have replaced.
    async fn check_values(&self, node: &Node, log: &Kept, story: &str) {
        let (done, next) = expected(log.steps);
        for at in done.keys().chain(next.keys()) {
            let found = node.value(at).await;
            let fits = [done.get(at), next.get(at)].into_iter().flatten().any(|expected| *expected == found);
            assert!(fits || (found.is_none() && !done.contains_key(at)), "{story}: {at} has {:?} bytes", found.map(|value| value.len()));
        }
    }

    /// [P-3] Each head that any life saw a receipt for is in the history of the newest one, at its number; and no two records, and
    /// no two versions of one, were seen at one offset.
    async fn check_signed_once(&self, node: &Node, log: &Kept, story: &str) {
        let snapshot = node.publisher.snapshot(LONG).await.expect("receipted").expect("a head");
        let head: &SignedHead = snapshot.head();
        let mut history = snapshot.history(HeadNumber::ZERO, HEADS_MAX).expect("readable");
        history.push(head.hash());
        assert_eq!(history.len() as u64, head.rank().number.value(), "{story}");
        for (term, number, hash) in &log.receipts {
            let at = usize::try_from(*number).expect("small") - 1;
            assert_eq!((*term, history[at].to_string()), (head.rank().term.value(), hash.clone()), "{story}: head {number}");
        }
        let mut at_offset = BTreeMap::new();
        for (offset, what) in &log.signed {
            assert_eq!(at_offset.entry(offset).or_insert(what), &what, "{story}: offset {offset}");
        }
        for own in node.publisher.list("").expect("readable") {
            let offset = own.offset.expect("signed").value();
            let now = owner_life::version(&own.mutation);
            assert!(at_offset.get(&offset).is_none_or(|then| **then == now), "{story}: offset {offset}");
        }
        let inspection = tidings_broker::inspect::inspect(&self.lab.world.path("broker")).expect("readable");
        let seen = inspection.queue(&head.head().queue).expect("readable").expect("there");
        assert_eq!((seen.rank, seen.offset, seen.live), (head.rank(), head.head().offset, head.head().live_count), "{story}");
        let own = snapshot.entries(Offset::ZERO, head.head().offset, 1 << 24).expect("readable");
        let own: Vec<Offset> = own.into_iter().map(|(offset, _)| offset).collect();
        let stored = inspection.entries(&head.head().queue, Offset::ZERO).expect("readable");
        assert_eq!(stored.iter().map(|entry| entry.offset).collect::<Vec<_>>(), own, "{story}");
    }

    /// What a reader from nothing sees is what the owner lists, value by value.
    async fn check_reader(&self, node: &Node, story: &str) {
        let invitation = fs::read_to_string(self.folder().join("invitation")).expect("it was granted first");
        let reader = Reader::join(key(owner_life::READER), &invitation);
        let cache = tempfile::tempdir().expect("a folder");
        let storage = Arc::new(FileStorage::new(self.folder().join("storage")));
        let config = FollowerConfig { storage: Some(storage), cache: cache.path().to_owned(), limits: Arc::new(FetchLimits::default()) };
        let subscriber = tidings_client::SubscriberConfig::new(network());
        let follower = Follower::start(reader.state.clone(), reader.key.clone(), reader.queue, subscriber, config).expect("started");
        follower.caught_up(LONG).await.expect("caught up");
        let seen = Subscriber::values(&reader.state, &reader.queue, "").expect("readable");
        let seen: Vec<_> = seen.into_iter().map(|value| value.mutation).collect();
        let own: Vec<_> = node.publisher.list("").expect("readable").into_iter().map(|own| own.mutation).collect();
        assert_eq!(seen, own, "{story}: records");
        for record in &own {
            let value = follower.value(&path(record.path.as_str()), LONG).await.expect("fetched").expect("there");
            assert_eq!(Some(bytes(value).await), node.value(record.path.as_str()).await, "{story}: {}", record.path);
        }
        follower.close().await;
    }
}

/// Names of what is in an owner's storage.
fn objects(folder: &Path) -> BTreeSet<String> {
    let storage = folder.join("storage");
    let name = |file: std::path::PathBuf| file.strip_prefix(&storage).expect("below").to_string_lossy().into_owned();
    files(&storage).into_iter().map(name).collect()
}

/// Points that only what a crash left leads to.
const AFTER_A_CRASH: [FailPoint; 2] = [FailPoint::SettleChecked, FailPoint::SettleReleased];

fn kill_at_all(turn: u64) {
    let lab = Lab::new();
    let points = FailPoint::ALL.iter().filter(|point| !AFTER_A_CRASH.contains(point)).map(|point| format!("{point:?}"));
    for (number, point) in points.chain([SIGNED.to_owned()]).enumerate() {
        let owner = lab.owner(number as u64);
        assert!(owner.dies_at(&point, turn), "{point} was not reached for the {turn}. time");
        owner.check(&format!("{point} for the {turn}. time"));
    }
}

#[test]
fn an_owner_killed_at_any_point_has_done_what_it_said_and_nothing_twice() {
    kill_at_all(1);
}

#[test]
fn an_owner_killed_when_it_comes_to_a_point_again_has_done_what_it_said_and_nothing_twice() {
    kill_at_all(3);
}

#[test]
fn an_owner_killed_while_it_settles_an_earlier_kill_has_done_what_it_said_and_nothing_twice() {
    let lab = Lab::new();
    for (number, (point, turn)) in AFTER_A_CRASH.iter().flat_map(|point| [(point, 1), (point, 3)]).enumerate() {
        let owner = lab.owner(number as u64);
        assert!(owner.dies_at("ImportStored", 1) && owner.dies_at(&format!("{point:?}"), turn), "{point:?} was not reached");
        owner.check(&format!("{point:?} for the {turn}. time"));
    }
}

#[test]
fn an_owner_killed_at_any_time_has_done_what_it_said_and_nothing_twice() {
    let lab = Lab::new();
    let whole = lab.owner(0).killed_after(Duration::MAX).expect("it was done");
    for number in 1..=rounds(30) {
        let owner = lab.owner(number);
        let time = Duration::from_micros(below(whole.as_micros() as u64));
        owner.killed_after(time);
        owner.check(&format!("killed after {time:?} of {whole:?}"));
    }
}
