//! Publisher and subscriber against a scripted broker in the same process.

mod peer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peer::{Peer, Peers};
use tidings_client::{
    BrokerState, ChangeId, Event, GrantFailure, Nowhere, Publisher, PublisherConfig, Stage, State, Subscriber, SubscriberConfig,
    TicketError, Write,
};
use tidings_core::reader::{Change, ChangeKind, Evidence, Verdict};
use tidings_core::{Acknowledgement, Invitation, NodeKey, Object, RecordPath, SignedHead};
use tidings_proto::{HeadNumber, RefusalCode};

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
    let text = publisher.grant(reader_key().card(), "reader".into()).await.expect("granted");
    let invitation = Invitation::parse(&text).expect("an invitation");
    Subscriber::follow(state, &reader_key(), &invitation, "owner").expect("followed")
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
    let found = async {
        loop {
            match subscriber.next().await.expect("running") {
                Event::Verdict(report) if report.verdict == wanted => return report,
                _ => continue,
            }
        }
    };
    tokio::time::timeout(LONG, found).await.expect("in time")
}

fn ids(changes: &[Change]) -> Vec<ChangeId> {
    changes.iter().map(ChangeId::from).collect()
}

fn kinds(changes: &[Change]) -> Vec<(&str, ChangeKind)> {
    changes.iter().map(|change| (change.path.as_str(), change.kind)).collect()
}

fn numbers(peer: &Peer) -> Vec<u64> {
    let number = |bytes: &Bytes| SignedHead::parse(bytes.clone()).expect("a head").rank().number.value();
    peer.look(|queue| queue.publishes.iter().map(|publish| number(&publish.head)).collect())
}

#[tokio::test]
async fn a_write_is_durable_without_a_broker_and_published_when_there_is_one() {
    let (state, peer) = (memory(), Peer::new());
    let offline =
        Publisher::open(state.clone(), owner_key(), PublisherConfig::new(Arc::new(Nowhere), vec![Peer::address(1)])).expect("opened");
    let tickets = offline.write(vec![put("/a", "1")]).await.expect("written");
    assert_eq!(offline.get(&path("/a")).expect("read").expect("there").stage, Stage::Waiting);
    offline.close().await;
    for ticket in tickets {
        assert_eq!(ticket.receipted().await, Err(TicketError::Closed));
    }
    let online = publisher(&state, &peer);
    online.flush(LONG).await.expect("published");
    assert_eq!(online.get(&path("/a")).expect("read").expect("there").stage, Stage::Receipted);
    assert_eq!(peer.look(|queue| queue.live.len()), 1);
}

#[tokio::test]
async fn a_ticket_is_answered_with_the_receipt_of_its_publish() {
    let (state, peer) = (memory(), Peer::new());
    let publisher = publisher(&state, &peer);
    let mut tickets = publisher.write(vec![put("/a", "1"), put("/b", "1"), put("/c", "1"), delete("/c")]).await.expect("written");
    let undone = tickets.split_off(2);
    for ticket in tickets {
        assert_eq!(ticket.receipted().await.expect("a receipt").rank.number, HeadNumber::new(1));
    }
    for ticket in undone {
        assert_eq!(ticket.receipted().await, Err(TicketError::NothingToPublish));
    }
}

/// [P-3]
#[tokio::test]
async fn a_publish_without_a_receipt_is_sent_again_byte_for_byte() {
    let (state, peer) = (memory(), Peer::new());
    peer.set(|queue| queue.swallow_receipts = true);
    let first = publisher(&state, &peer);
    first.write(vec![put("/a", "1")]).await.expect("written");
    peer.until(|queue| queue.publishes.len() >= 2).await;
    peer.set(|queue| queue.swallow_receipts = false);
    first.flush(LONG).await.expect("published");
    let publishes = peer.look(|queue| queue.publishes.clone());
    assert!(publishes.iter().all(|publish| *publish == publishes[0]));
}

#[tokio::test]
async fn nothing_is_sent_twice_that_was_receipted() {
    let (state, peer) = (memory(), Peer::new());
    let first = publisher(&state, &peer);
    published(&first, &[put("/a", "1")]).await;
    first.close().await;
    let second = publisher(&state, &peer);
    published(&second, &[put("/a", "2")]).await;
    assert_eq!(numbers(&peer), [1, 2]);
}

#[tokio::test]
async fn many_writers_at_once_share_publishes_and_all_are_receipted() {
    let (state, peer) = (memory(), Peer::new());
    let publisher = publisher(&state, &peer);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let publisher = publisher.clone();
        tasks.spawn(async move {
            for number in 0..25 {
                let tickets = publisher.write(vec![put(&format!("/{writer}/{number}"), "1")]).await.expect("written");
                assert_eq!(tickets.len(), 1);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer");
    }
    publisher.flush(LONG).await.expect("published");
    assert_eq!(peer.look(|queue| queue.live.len()), 200);
    assert_eq!(publisher.list("/3").expect("read").len(), 25);
}

/// [P-3]
#[tokio::test]
async fn a_receipt_by_another_key_is_not_taken() {
    let (state, peer) = (memory(), Peer::new());
    peer.set(|queue| queue.forge_receipts = true);
    let publisher = publisher(&state, &peer);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    broker_is(&publisher, 0, BrokerState::Broken).await;
    assert_eq!(publisher.status().expect("read").unreceipted, 1);
}

/// [P-5]
#[tokio::test]
async fn nothing_is_published_over_a_head_that_this_node_never_signed() {
    let (foreign, peer) = (memory(), Peer::new());
    let other = publisher(&foreign, &peer);
    published(&other, &[put("/a", "1")]).await;
    other.close().await;
    let lost = memory();
    let publisher = publisher(&lost, &peer);
    publisher.write(vec![put("/b", "1")]).await.expect("written");
    broker_is(&publisher, 0, BrokerState::UnknownHead).await;
    assert_eq!(peer.look(|queue| queue.publishes.len()), 1);
    assert_eq!(publisher.status().expect("read").unsigned, 1);
}

/// [P-5]
#[tokio::test]
async fn a_broker_below_its_own_receipt_is_named() {
    let (state, peer) = (memory(), Peer::new());
    let first = publisher(&state, &peer);
    published(&first, &[put("/a", "1")]).await;
    published(&first, &[put("/a", "2")]).await;
    first.close().await;
    peer.set(|queue| queue.claim = Some(queue.heads[0].bytes().clone()));
    let second = publisher(&state, &peer);
    broker_is(&second, 0, BrokerState::BehindReceipt).await;
}

#[tokio::test]
async fn the_next_broker_is_used_when_the_first_is_away() {
    let (state, away, there) = (memory(), Peer::new(), Peer::new());
    away.set(|queue| queue.away = true);
    let dial = Arc::new(Peers(vec![(1, away), (2, there.clone())]));
    let config = PublisherConfig::new(dial, vec![Peer::address(1), Peer::address(2)]);
    let publisher = Publisher::open(state, owner_key(), config).expect("opened");
    published(&publisher, &[put("/a", "1")]).await;
    let states: Vec<_> = publisher.status().expect("read").brokers.into_iter().map(|broker| broker.state).collect();
    assert_eq!(states, [BrokerState::Unreachable, BrokerState::Connected]);
}

#[tokio::test]
async fn a_refusal_is_shown_and_loses_nothing() {
    let (state, peer) = (memory(), Peer::new());
    peer.set(|queue| queue.refuse = Some(RefusalCode::Quota));
    let publisher = publisher(&state, &peer);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    broker_is(&publisher, 0, BrokerState::Refused).await;
    peer.set(|queue| queue.refuse = None);
    publisher.flush(LONG).await.expect("published");
}

#[tokio::test]
async fn a_grant_without_a_broker_is_saved_and_gives_the_invitation() {
    let mut config = PublisherConfig::new(Arc::new(Nowhere), vec![Peer::address(1)]);
    config.grant_wait = Duration::ZERO;
    let publisher = Publisher::open(memory(), owner_key(), config).expect("opened");
    let saved = publisher.grant(reader_key().card(), "reader".into()).await;
    assert!(matches!(saved, Err(GrantFailure::Saved { invitation }) if Invitation::parse(&invitation).is_ok()));
}

/// [P-15]
#[tokio::test]
async fn a_reader_gets_the_net_change_of_each_record() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1"), put("/b", "1")]).await;
    published(&publisher, &[put("/a", "2"), delete("/b")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    let caught_up = subscriber.caught_up().await.expect("caught up");
    assert_eq!(caught_up.cursor.rank.number, HeadNumber::new(3));
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/a", ChangeKind::Create)]);
    assert_eq!(subscriber.get(&path("/a")).expect("read").expect("there").mutation.inline.as_deref(), Some(&b"2"[..]));
    published(&publisher, &[put("/a", "3")]).await;
    published(&publisher, &[delete("/a")]).await;
    let mut last = Vec::new();
    while last != [("/a".to_owned(), ChangeKind::Delete)] {
        last = changes(&mut subscriber).await.into_iter().map(|change| (change.path.as_str().to_owned(), change.kind)).collect();
    }
    subscriber.close().await;
}

/// [P-15]
#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_what_is_does_not() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1"), put("/b", "1")]).await;
    let mut first = subscriber(&reader, queue, &peer);
    let handed = changes(&mut first).await;
    first.acknowledge(&ids(&handed[..1])).expect("kept");
    first.close().await;
    let mut second = subscriber(&reader, queue, &peer);
    assert_eq!(changes(&mut second).await, handed[1..]);
}

/// [P-15] A create that was handed out and not acknowledged does not cancel out with its delete.
#[tokio::test]
async fn a_delete_of_a_record_that_was_handed_out_is_handed_out() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/a", ChangeKind::Create)]);
    published(&publisher, &[delete("/a")]).await;
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/a", ChangeKind::Delete)]);
}

/// [P-15]
#[tokio::test]
async fn the_acknowledgement_follows_the_commit_of_the_application_and_reaches_the_owner() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    let handed = changes(&mut subscriber).await;
    assert!(peer.look(|queue| queue.acknowledged.is_empty()));
    subscriber.acknowledge(&ids(&handed)).expect("kept");
    peer.until(|queue| !queue.acknowledged.is_empty()).await;
    let sent = peer.look(|queue| Acknowledgement::verify(&queue.acknowledged[0]).expect("signed"));
    assert_eq!(sent.cursor, subscriber.status().expect("read").cursor);
    let readers = publisher.readers().await.expect("told");
    let listed = readers.iter().find(|reader| reader.name == "reader").expect("listed");
    assert_eq!((listed.acknowledged, listed.lag), (Some(sent.cursor), 0));
}

/// [P-6] [P-15]
#[tokio::test]
async fn a_tombstone_is_purged_once_its_readers_have_handled_it() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let mut config = PublisherConfig::new(Peers::one(&peer), vec![Peer::address(1)]);
    config.ask_readers_every = Duration::from_millis(1);
    let publisher = Publisher::open(owner, owner_key(), config).expect("opened");
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    let handed = changes(&mut subscriber).await;
    subscriber.acknowledge(&ids(&handed)).expect("kept");
    published(&publisher, &[delete("/a")]).await;
    let handed = changes(&mut subscriber).await;
    assert_eq!(peer.look(|queue| queue.live.len()), 1);
    subscriber.acknowledge(&ids(&handed)).expect("kept");
    peer.until(|queue| queue.live.is_empty()).await;
}

#[tokio::test]
async fn a_reader_without_a_broker_is_offline_and_still_reads_what_it_verified() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut online = subscriber(&reader, queue, &peer);
    let caught_up = online.caught_up().await.expect("caught up");
    online.close().await;
    peer.set(|queue| queue.away = true);
    let mut offline = subscriber(&reader, queue, &peer);
    let report = offline.caught_up().await.expect_err("nobody answers");
    assert_eq!((report.verdict, report.as_of), (Verdict::Offline, caught_up.as_of));
    assert_eq!(offline.list("/").expect("read").len(), 1);
    assert_eq!(kinds(&changes(&mut offline).await), [("/a", ChangeKind::Create)]);
    peer.set(|queue| queue.away = false);
    verdict(&mut offline, Verdict::UpToDate).await;
}

/// [P-14]
#[tokio::test]
async fn a_broker_that_withholds_is_named_with_evidence_in_a_file() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let folder = tempfile::tempdir().expect("a folder");
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1"), put("/b", "1")]).await;
    peer.set(|queue| queue.withhold = true);
    let mut config = SubscriberConfig::new(Peers::one(&peer));
    config.evidence_dir = Some(folder.path().join("evidence"));
    let mut subscriber = Subscriber::start(reader.clone(), reader_key(), queue, config).expect("started");
    let report = verdict(&mut subscriber, Verdict::Withheld).await;
    let file = std::fs::read(report.evidence.expect("evidence")).expect("a file");
    assert_eq!(Evidence::decode(&file).expect("evidence").verdict, Verdict::Withheld);
    assert!(subscriber.list("").expect("read").is_empty());
    let dials = peer.look(|queue| queue.dials);
    peer.until(|queue| queue.dials > dials + 2).await;
    assert_eq!(std::fs::read_dir(folder.path().join("evidence")).expect("a folder").count(), 1);
    peer.set(|queue| queue.withhold = false);
    verdict(&mut subscriber, Verdict::UpToDate).await;
}

/// [P-16]
#[tokio::test]
async fn what_the_owner_signed_too_long_ago_is_stale() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    let mut config = SubscriberConfig::new(Peers::one(&peer));
    config.max_age = Duration::ZERO;
    let mut subscriber = Subscriber::start(reader, reader_key(), queue, config).expect("started");
    let caught_up = subscriber.caught_up().await.expect("caught up");
    assert_eq!(verdict(&mut subscriber, Verdict::Stale).await.as_of, caught_up.as_of);
}

/// [P-13]
#[tokio::test]
async fn a_broker_that_lags_is_left_for_the_next_and_nobody_is_accused() {
    let (owner, reader, first, second) = (memory(), memory(), Peer::new(), Peer::new());
    let dial = Arc::new(Peers(vec![(1, first.clone()), (2, second.clone())]));
    let publisher =
        Publisher::open(owner, owner_key(), PublisherConfig::new(dial.clone(), vec![Peer::address(1), Peer::address(2)])).expect("opened");
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = Subscriber::start(reader.clone(), reader_key(), queue, SubscriberConfig::new(dial.clone())).expect("started");
    subscriber.caught_up().await.expect("caught up");
    subscriber.close().await;
    first.set(|queue| drop(queue.heads.pop()));
    let mut again = Subscriber::start(reader, reader_key(), queue, SubscriberConfig::new(dial)).expect("started");
    let report = again.caught_up().await.expect_err("it lags, the other is empty");
    assert_eq!(report.verdict, Verdict::Stale);
}

#[tokio::test]
async fn a_follow_is_begun_once_and_ends_without_a_trace() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    let text = publisher.grant(reader_key().card(), "reader".into()).await.expect("the same");
    let invitation = Invitation::parse(&text).expect("an invitation");
    assert!(Subscriber::follow(&reader, &reader_key(), &invitation, "").is_err());
    assert!(Subscriber::follow(&owner, &owner_key(), &invitation, "").is_err());
    let running = subscriber(&reader, queue, &peer);
    assert!(Subscriber::unfollow(&reader, &queue).is_err());
    running.close().await;
    Subscriber::unfollow(&reader, &queue).expect("ended");
    assert!(Subscriber::follows(&reader).expect("read").is_empty());
}
