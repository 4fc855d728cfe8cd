//! Who is served, from which moment, and what the others are told. [P-17]

use tidings_core::{NodeKey, PseudonymKey, SignedHead};
use tidings_proto::frames::{Publish, Subscribe};
use tidings_proto::{HeadNumber, HeadRank, Offset, RefusalCode, Reply, Request};

use crate::Fixture;
use crate::client::{TestClient, TestStream};
use crate::owner::{TestOwner, TestReader};

/// An owner on its publish stream, and a reader that it granted the queue, up to date.
struct World {
    fixture: Fixture,
    owner: TestOwner,
    publishing: TestStream,
    reader: TestReader,
    subscription: TestStream,
    _clients: [TestClient; 2],
}

impl World {
    async fn start() -> Self {
        let (fixture, mut owner, key) = (Fixture::start().await, TestOwner::new(1), NodeKey::from_seed([7; 32]));
        let client = TestClient::proven(&fixture.broker, &owner.key).await;
        let mut publishing = client.stream().await;
        publishing.ask(owner.open()).await;
        let first = owner.publish(1, 10);
        let granting = owner.grant(&key);
        let mut reader = owner.reader_with(&granting, &key);
        let mut reading = TestClient::greeted(&fixture.broker).await;
        for publish in [first, granting] {
            assert!(matches!(publishing.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
        }
        let mut subscription = reader.subscribe(&mut reading).await;
        reader.follow(&mut subscription, owner.writer.head().expect("signed").rank()).await;
        Self { fixture, owner, publishing, reader, subscription, _clients: [client, reading] }
    }

    /// Publishes and waits until it is durable.
    async fn publish(&mut self, publish: Publish) -> HeadRank {
        assert!(matches!(self.publishing.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
        self.owner.writer.head().expect("signed").rank()
    }

    async fn revoke(&mut self) -> HeadRank {
        let publish = self.owner.revoke(self.reader.reader.pseudonym());
        self.publish(publish).await
    }

    /// What somebody with a key of its own is told.
    async fn refusal_for(&self, key: &PseudonymKey) -> tidings_proto::Refusal {
        let mut client = TestClient::greeted(&self.fixture.broker).await;
        client.prove_pseudonym(key).await;
        let mut stream = client.stream().await;
        let queue = self.owner.writer.queue();
        let (cursor, position) = (HeadNumber::ZERO, Offset::ZERO);
        stream.send(Request::Subscribe(Subscribe { queue, reader: key.pseudonym(), cursor, position, grant: bytes::Bytes::new() })).await;
        stream.refusal().await
    }
}

/// [P-17]
#[tokio::test]
async fn an_idle_reader_is_told_as_soon_as_its_access_ends_with_the_proof() {
    let mut world = World::start().await;
    let revoked = world.revoke().await;
    let refusal = world.subscription.refusal().await;
    let head = SignedHead::parse(refusal.head.clone()).expect("a head");
    assert_eq!((refusal.code, head.rank()), (RefusalCode::Denied, revoked));
    assert!(world.reader.reader.is_denied(&refusal));
    assert_eq!(world.subscription.reply().await, None);
}

/// What the transport had taken before may still arrive. The frame that waited behind it is cut off, although all of it was read while
/// the reader had access: it could wait for days. [P-17]
#[tokio::test]
async fn a_frame_that_a_reader_did_not_take_in_time_is_not_finished_after_its_revocation() {
    let mut world = World::start().await;
    for _ in 0..4 {
        let publish = world.owner.publish(700, 4_000);
        world.publish(publish).await;
    }
    let revoked = world.revoke().await;
    let publish = world.owner.publish(1, 10);
    world.publish(publish).await;
    let mut entries = 0;
    while let Some(reply) = world.subscription.reply().await {
        match reply {
            Reply::Announce(announce) => assert!(SignedHead::parse(announce.head).expect("a head").rank() < revoked),
            Reply::Chunk(chunk) => entries += chunk.entries.len(),
            other => panic!("neither of a delta nor a stream that was cut: {other:?}"),
        }
    }
    assert!(entries < 2_800, "{entries} entries of 2,800 left");
}

/// [P-17] Whoever knows a queue's id can make a key and prove it.
#[tokio::test]
async fn a_stranger_learns_nothing_of_the_access_list_and_a_former_reader_all_of_it() {
    let mut world = World::start().await;
    world.revoke().await;
    let stranger = world.refusal_for(&PseudonymKey::from_seed(&[9; 32])).await;
    assert_eq!((stranger.code, stranger.head.len(), stranger.rows.len()), (RefusalCode::Denied, 0, 0));
    let former = world.refusal_for(&world.reader.reader.pseudonym_key()).await;
    assert_eq!((former.code, former.rows.len()), (RefusalCode::Denied, 1));
}
