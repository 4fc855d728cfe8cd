//! Publisher and subscriber against a scripted broker in the same process.

mod branches;
mod follow;
mod lagging;
mod moves;
mod owner;
mod owners;
mod peer;
mod publish;
mod pulses;
mod reaching;
mod storage;
mod vault;

use std::time::Duration;

use bytes::Bytes;
use peer::{Peer, Peers};
use tidings_client::{BrokerState, ChangeId, Event, Publisher, PublisherConfig, State, Subscriber, SubscriberConfig, View, Write};
use tidings_core::reader::{Change, ChangeKind, Verdict};
use tidings_core::{Invitation, NodeKey, RecordPath};

/// Longer than anything here takes; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(30);

fn path(text: &str) -> RecordPath {
    text.parse().expect("a path")
}

fn put(text: &str, value: &str) -> Write {
    Write::Put { path: path(text), value: Bytes::copy_from_slice(value.as_bytes()), content_type: String::new() }
}

fn delete(text: &str) -> Write {
    Write::Delete { path: path(text) }
}

fn owner_key() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

fn reader_key() -> NodeKey {
    NodeKey::from_seed([2; 32])
}

fn memory() -> State {
    State::in_memory().expect("a state")
}

fn publisher(state: &State, peer: &Peer) -> Publisher {
    let config = PublisherConfig::new(Peers::one(peer), vec![Peer::address(1)]);
    Publisher::open(state.clone(), owner_key(), config).expect("opened")
}

async fn published(publisher: &Publisher, writes: &[Write]) {
    publisher.write(writes.to_vec()).await.expect("written");
    publisher.flush(LONG).await.expect("published");
}

/// Waits until the broker at `at` is listed as `wanted`.
async fn broker_is(publisher: &Publisher, at: usize, wanted: BrokerState) {
    let listed = async {
        while publisher.status().expect("read").brokers[at].state != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, listed).await.expect("in time");
}

async fn follow(publisher: &Publisher, state: &State) -> tidings_proto::QueueId {
    follow_at(publisher, state, &[1]).await
}

/// The same, with brokers at these ports.
async fn follow_at(publisher: &Publisher, state: &State, ports: &[u16]) -> tidings_proto::QueueId {
    let text = publisher.grant(reader_key().card(), "reader".into()).await.expect("granted");
    let mut invitation = Invitation::parse(&text).expect("an invitation");
    invitation.addresses = ports.iter().map(|port| Peer::address(*port).to_string()).collect();
    Subscriber::follow(state, &reader_key(), &invitation, "owner").expect("followed")
}

/// Waits until what is known of a follow is as asked.
async fn view_is(subscriber: &Subscriber, wanted: impl FnMut(&View) -> bool) -> View {
    let mut view = subscriber.view();
    let found = tokio::time::timeout(LONG, view.wait_for(wanted)).await.expect("in time");
    found.expect("running").clone()
}

fn subscriber(state: &State, queue: tidings_proto::QueueId, peer: &Peer) -> Subscriber {
    let config = SubscriberConfig::new(Peers::one(peer));
    Subscriber::start(state.clone(), reader_key(), queue, config).expect("started")
}

async fn changes(subscriber: &mut Subscriber) -> Vec<Change> {
    let found = async {
        loop {
            match subscriber.next().await.expect("running") {
                Event::Changes(changes) => return changes,
                _ => continue,
            }
        }
    };
    tokio::time::timeout(LONG, found).await.expect("in time")
}

async fn verdict(subscriber: &mut Subscriber, wanted: Verdict) -> tidings_client::VerdictReport {
    verdict_within(subscriber, wanted, LONG).await
}

async fn verdict_within(subscriber: &mut Subscriber, wanted: Verdict, patience: Duration) -> tidings_client::VerdictReport {
    let found = async {
        loop {
            match subscriber.next().await.expect("running") {
                Event::Verdict(report) if report.verdict == wanted => return report,
                _ => continue,
            }
        }
    };
    tokio::time::timeout(patience, found).await.expect("in time")
}

fn ids(changes: &[Change]) -> Vec<ChangeId> {
    changes.iter().map(ChangeId::from).collect()
}

fn kinds(changes: &[Change]) -> Vec<(&str, ChangeKind)> {
    changes.iter().map(|change| (change.path.as_str(), change.kind)).collect()
}
