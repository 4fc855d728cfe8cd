//! A broker in a process of its own, an owner and a reader here, and a relay between them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tidings_client::{Publisher, State, Subscriber, View};
use tokio::runtime::Runtime;

use super::relay::Relay;
use crate::nodes::{self, LONG, Reader, key, put};
use crate::world::{Broker, World};

const OWNER: u64 = 1;
const READER: u64 = 2;

/// How much longer than intended something may take on a machine that is busy with other things.
pub(crate) const SLACK: Duration = Duration::from_secs(10);

/// A broker and the path to it.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) broker: Broker,
    pub(crate) relay: Relay,
}

/// An owner and one of its readers, behind the path.
pub(crate) struct Nodes {
    pub(crate) owner: Publisher,
    pub(crate) reader: Reader,
    pub(crate) subscriber: Subscriber,
}

impl Lab {
    /// A path that does nothing to datagrams yet.
    pub(crate) fn start(seed: u64) -> Self {
        let world = World::new();
        let broker = world.broker("127.0.0.1:0", &[]);
        let relay = Relay::start(seed);
        relay.lead_to(broker.place().parse().expect("an address"));
        Self { world, broker, relay }
    }

    /// The broker's address as nodes behind the path know it.
    pub(crate) fn address(&self) -> String {
        self.broker.address.replace(self.broker.place(), &self.relay.place().to_string())
    }

    /// Ends the broker as a crash does.
    pub(crate) fn kill_broker(&mut self) {
        self.broker.process.end_with("KILL");
    }

    /// Begins the broker again where it was.
    pub(crate) fn revive_broker(&mut self) {
        let place: SocketAddr = self.broker.place().parse().expect("an address");
        self.broker = self.world.broker(&place.to_string(), &[]);
    }

    /// Resident memory of the broker, KiB; 0 where the system does not say.
    pub(crate) fn broker_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.broker.process.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().expect("a number"))
    }
}

impl Nodes {
    /// An owner with a record, and a reader that has it.
    pub(crate) async fn join(lab: &Lab) -> Self {
        let owner = owner(lab).await;
        let reader = reader(&owner, READER).await;
        let subscriber = reader.start(&nodes::network());
        let nodes = Self { owner, reader, subscriber };
        nodes.hears("/first", "1", LONG).await;
        nodes
    }

    /// Writes a record and waits until the reader has it; gives how long the receipt and the reader took. At most `longest` each.
    pub(crate) async fn hears(&self, at: &str, value: &str, longest: Duration) -> (Duration, Duration) {
        let began = Instant::now();
        self.owner.write(vec![put(at, value)]).await.expect("written");
        self.has_heard(began, at, value, longest).await
    }

    /// Waits until what was written is receipted and at the reader; gives when, counted from `began`.
    pub(crate) async fn has_heard(&self, began: Instant, at: &str, value: &str, longest: Duration) -> (Duration, Duration) {
        let receipt = async {
            self.owner.flush(longest).await.expect("receipted in time");
            began.elapsed()
        };
        let delivery = async {
            let heard = tokio::time::timeout(longest, self.holds(at, value)).await;
            heard.unwrap_or_else(|_| panic!("{at} is not there: {:?}", self.subscriber.view().borrow()));
            began.elapsed()
        };
        tokio::join!(receipt, delivery)
    }

    async fn holds(&self, at: &str, value: &str) {
        let mut view = self.subscriber.view();
        view.wait_for(|_| self.reader.value(at).as_deref() == Some(value)).await.expect("it runs");
    }

    /// The reader has what the owner has, once each, and nobody was ever accused of anything.
    pub(crate) async fn agree(&self, story: &str) {
        self.owner.flush(LONG).await.unwrap_or_else(|error| panic!("{story}: {error}"));
        let status = self.owner.status().expect("readable");
        let mut view = self.subscriber.view();
        let is_there = |view: &View| view.caught_up.is_some_and(|seen| seen.cursor.offset >= status.offset);
        let caught_up = tokio::time::timeout(LONG, view.wait_for(is_there)).await;
        caught_up.unwrap_or_else(|_| panic!("{story}: {:?}", self.subscriber.view().borrow())).expect("it runs");
        let own: Vec<_> = self.owner.list("").expect("readable").into_iter().map(|own| own.mutation).collect();
        let seen: Vec<_> = self.subscriber.list("").expect("readable").into_iter().map(|seen| seen.mutation).collect();
        assert_eq!(seen, own, "{story}");
        let accused = self.subscriber.view().borrow().accused.clone();
        assert_eq!(accused, None, "{story}");
        assert!(status.losses.is_empty(), "{story}: {:?}", status.losses);
        assert_eq!(Subscriber::verify(&self.reader.state, &self.reader.queue).expect("readable"), Some(true), "{story}");
    }

    pub(crate) async fn close(self) {
        self.subscriber.close().await;
        self.owner.close().await;
    }
}

/// An owner behind the path, with a record.
pub(crate) async fn owner(lab: &Lab) -> Publisher {
    let owner = nodes::owner(&State::in_memory().expect("a state"), key(OWNER), &lab.address());
    nodes::published(&owner, vec![put("/first", "1")]).await;
    owner
}

/// A reader that knows nothing yet.
pub(crate) async fn reader(owner: &Publisher, number: u64) -> Reader {
    let invitation = owner.grant(key(number).card(), format!("reader {number}")).await.expect("granted");
    Reader::join(key(number), &invitation)
}

/// Runs a test with the threads that it needs.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime: Runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(test)
}

/// The middle one of some times, and the longest, in seconds.
pub(crate) fn middle_and_longest(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let seconds = |time: &Duration| (time.as_secs_f64() * 1_000.0).round() / 1_000.0;
    (seconds(&times[times.len() / 2]), seconds(times.last().expect("some")))
}
