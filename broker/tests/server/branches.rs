//! A higher term replaces the branch that stands, under the eyes of its readers. [P-10]

use std::collections::BTreeMap;

use tidings_core::grant::attachment_hash;
use tidings_core::{AccessRow, Object, Receipt, SignedHead};
use tidings_proto::frames::{Publish, Transfer};
use tidings_proto::{RefusalCode, Reply, Request};

use crate::Fixture;
use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;

/// A broker that took one branch, and an owner with another one of a higher term; all publishes bring new records.
struct World {
    fixture: Fixture,
    /// The first publish of both.
    first: Publish,
    left: TestOwner,
    owner: TestOwner,
    /// All publishes of the owner's branch.
    base: Vec<Publish>,
    client: TestClient,
    stream: TestStream,
}

impl World {
    async fn start() -> Self {
        let (fixture, mut left) = (Fixture::start().await, TestOwner::new(1));
        let first = left.publish(5, 100);
        let mut owner = left.fork();
        let base = vec![first.clone(), owner.publish(3, 100), owner.publish(2, 50)];
        let client = TestClient::proven(&fixture.broker, &left.key).await;
        let mut stream = client.stream().await;
        stream.ask(left.open()).await.expect("the standing head");
        let tail = [first.clone(), left.publish(9, 200)];
        let mut world = Self { fixture, first, left, owner, base, client, stream };
        for publish in tail {
            world.publish(publish).await;
        }
        world
    }

    async fn publish(&mut self, publish: Publish) {
        assert!(matches!(self.stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
    }

    /// Sends the branch from zero, an entry in each part, and gives the receipt.
    async fn replace(&mut self) -> Receipt {
        for part in parts(&self.base) {
            self.stream.send(Request::Transfer(part)).await;
        }
        match self.stream.reply().await {
            Some(Reply::Receipt(bytes)) => Receipt::verify(&bytes, &self.fixture.broker.address().receipt.expect("named")).expect("signed"),
            other => panic!("no receipt: {other:?}"),
        }
    }
}

/// The way from zero to the last of these publishes, which replace nothing of each other.
fn parts(publishes: &[Publish]) -> Vec<Transfer> {
    let (last, before) = publishes.split_last().expect("a publish");
    let hash = |publish: &Publish| *SignedHead::parse(publish.head.clone()).expect("an own head").hash().bytes();
    let (mut rows, mut attachments) = (BTreeMap::new(), BTreeMap::new());
    for publish in publishes {
        let decoded = publish.access_put.iter().map(|bytes| (AccessRow::decode(bytes).expect("an own row"), bytes.clone()));
        rows.extend(decoded.map(|(row, bytes)| (row.pseudonym, (row, bytes))));
        attachments.extend(publish.attachments.iter().map(|bytes| (attachment_hash(bytes), bytes.clone())));
    }
    let mut parts = vec![Transfer { history: before.iter().map(hash).collect(), ..Transfer::default() }];
    let entries = publishes.iter().flat_map(|publish| &publish.entries);
    parts.extend(entries.map(|entry| Transfer { entries: vec![entry.clone()], ..Transfer::default() }));
    let attachments = rows.values().flat_map(|(row, _)| [row.grant, row.owner_copy]).map(|hash| attachments[&hash].clone()).collect();
    let rows = rows.into_values().map(|(_, bytes)| bytes).collect();
    parts.push(Transfer { attachments, head: last.head.clone(), rows, ..Transfer::default() });
    parts
}

/// [P-7] [P-10] The receipt is for the new term, and publishes go on in it.
#[tokio::test]
async fn a_branch_is_replaced_and_its_term_goes_on() {
    let mut world = World::start().await;
    let receipt = world.replace().await;
    let newest = world.owner.writer.head().expect("signed");
    assert_eq!((receipt.rank, receipt.head), (newest.rank(), newest.hash()));
    let refused = world.left.publish(1, 10);
    world.stream.send(Request::Publish(refused)).await;
    let refusal = world.stream.refusal().await;
    assert_eq!((refusal.code, refusal.head), (RefusalCode::Conflict, newest.bytes().clone()));
    let next = world.owner.publish(1, 10);
    world.publish(next).await;
}

/// [P-10] Whoever was told of the branch that was left is told that it is gone, and whoever comes then gets the new one.
#[tokio::test]
async fn live_subscriptions_end_and_the_next_ones_read_the_new_branch() {
    let mut world = World::start().await;
    let mut reader = world.left.reader(&world.first);
    let mut subscription = reader.subscribe(&mut world.client).await;
    reader.follow(&mut subscription, world.left.writer.head().expect("signed").rank()).await;
    let rank = world.replace().await.rank;
    assert_eq!(subscription.refusal().await.code, RefusalCode::Conflict);
    assert_eq!(subscription.reply().await, None);
    let mut fresh = world.left.reader(&world.first);
    let mut subscription = fresh.subscribe(&mut world.client).await;
    fresh.follow(&mut subscription, rank).await;
}

/// [P-17] It was granted the queue in the branch that was left only.
#[tokio::test]
async fn a_reader_of_the_left_branch_alone_is_denied_with_the_proof() {
    let mut world = World::start().await;
    let key = tidings_core::NodeKey::from_seed([7; 32]);
    let granting = world.left.grant(&key);
    let mut reader = world.left.reader_with(&granting, &key);
    world.publish(granting).await;
    let mut client = TestClient::greeted(&world.fixture.broker).await;
    let mut subscription = reader.subscribe(&mut client).await;
    reader.follow(&mut subscription, world.left.writer.head().expect("signed").rank()).await;
    let rank = world.replace().await.rank;
    let refusal = subscription.refusal().await;
    let head = SignedHead::parse(refusal.head.clone()).expect("a head");
    assert_eq!((refusal.code, head.rank(), refusal.rows.len()), (RefusalCode::Denied, rank, 1));
    assert!(reader.reader.is_denied(&refusal));
}

/// [P-10] What the transport had taken before may still arrive; the frame that waited behind it is cut off.
#[tokio::test]
async fn a_frame_that_a_reader_did_not_take_in_time_is_not_finished_after_its_branch_was_replaced() {
    let mut world = World::start().await;
    let mut reader = world.left.reader(&world.first);
    let mut client = TestClient::greeted(&world.fixture.broker).await;
    let mut subscription = reader.subscribe(&mut client).await;
    reader.follow(&mut subscription, world.left.writer.head().expect("signed").rank()).await;
    for _ in 0..4 {
        let publish = world.left.publish(700, 4_000);
        world.publish(publish).await;
    }
    let replaced = world.replace().await.rank;
    let mut entries = 0;
    while let Some(reply) = subscription.reply().await {
        match reply {
            Reply::Announce(announce) => assert!(SignedHead::parse(announce.head).expect("a head").rank() < replaced),
            Reply::Chunk(chunk) => entries += chunk.entries.len(),
            Reply::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::Conflict),
            other => panic!("neither of a delta nor a stream that was cut: {other:?}"),
        }
    }
    assert!(entries < 2_800, "{entries} entries of 2,800 left");
}

/// [P-16] What was said of the branch that was left, and comes late, is not passed on.
#[tokio::test]
async fn a_pulse_of_a_term_that_was_left_is_ignored() {
    let mut world = World::start().await;
    world.replace().await;
    world.stream.send(Request::Pulse(world.left.pulse(90))).await;
    world.stream.send(Request::Pulse(world.owner.pulse(50))).await;
    assert!(matches!(world.stream.ask(Request::AskReaders).await, Some(Reply::Readers(_))));
    let reader = &mut world.left.reader(&world.first);
    let mut subscription = reader.subscribe(&mut world.client).await;
    let pulse = loop {
        match subscription.reply().await.expect("the stream goes on") {
            Reply::Pulse(pulse) => break pulse,
            _ => continue,
        }
    };
    assert_eq!(pulse, world.owner.pulse(50));
}

/// Another home of the same key published since the stream was opened: a transfer of an owner that had not seen it replaced what was
/// receipted to that one, and it was in no merge. [P-10]
#[tokio::test]
async fn a_branch_that_went_on_since_the_stream_was_told_is_not_replaced() {
    let mut world = World::start().await;
    let other = TestClient::proven(&world.fixture.broker, &world.left.key).await;
    let mut stream = other.stream().await;
    stream.ask(world.left.open()).await.expect("the standing head");
    let more = world.left.publish(2, 50);
    assert!(matches!(stream.ask(Request::Publish(more)).await, Some(Reply::Receipt(_))));
    for part in parts(&world.base) {
        world.stream.send(Request::Transfer(part)).await;
    }
    let Some(Reply::Refused(refusal)) = world.stream.reply().await else { panic!("the branch was replaced unseen") };
    assert_eq!(refusal.code, RefusalCode::Conflict);
}
