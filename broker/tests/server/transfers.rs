//! A transfer on the wire: parts without answers, one receipt, and readers that read on. [P-10]

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::SignedHead;
use tidings_proto::frames::{Publish, Transfer};
use tidings_proto::{Offset, RefusalCode, Reply, Request};

use crate::Fixture;
use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;

/// A broker that took the first of an owner's publishes, which all bring new records, and the owner's stream.
struct Lagging {
    fixture: Fixture,
    owner: TestOwner,
    publishes: Vec<Publish>,
    _client: TestClient,
    stream: TestStream,
}

impl Lagging {
    async fn new(publishes: usize) -> Self {
        let (fixture, mut owner) = (Fixture::start().await, TestOwner::new(1));
        let publishes: Vec<Publish> = (0..publishes).map(|_| owner.publish(5, 100)).collect();
        let client = TestClient::proven(&fixture.broker, &owner.key).await;
        let mut stream = client.stream().await;
        stream.ask(owner.open()).await.expect("the standing head");
        assert!(matches!(stream.ask(Request::Publish(publishes[0].clone())).await, Some(Reply::Receipt(_))));
        Self { fixture, owner, publishes, _client: client, stream }
    }

    fn head(&self, number: usize) -> SignedHead {
        SignedHead::parse(self.publishes[number - 1].head.clone()).expect("an own head")
    }

    /// The way to the newest head, an entry in each part.
    fn parts(&self) -> Vec<Transfer> {
        let newest = self.publishes.len();
        let through = self.head(1).head().offset;
        let mut live = Vec::new();
        let all: RoaringTreemap = (1..=through.value()).collect();
        all.serialize_into(&mut live).expect("memory");
        let history = (2..newest).map(|number| *self.head(number).hash().bytes()).collect();
        let mut parts = vec![Transfer { history, after: Offset::ZERO, through, live: live.into(), ..Transfer::default() }];
        let entries = self.publishes[1..].iter().flat_map(|publish| &publish.entries);
        parts.extend(entries.map(|entry| Transfer { entries: vec![entry.clone()], ..Transfer::default() }));
        let (head, rows) = (self.publishes[newest - 1].head.clone(), self.publishes[0].access_put.clone());
        parts.push(Transfer { head, rows, ..Transfer::default() });
        parts
    }

    async fn send(&mut self, parts: Vec<Transfer>) {
        for part in parts {
            self.stream.send(Request::Transfer(part)).await;
        }
    }
}

/// [P-9]
#[tokio::test]
async fn a_transfer_is_receipted_once_and_live_subscriptions_read_on() {
    let mut lagging = Lagging::new(40).await;
    let mut client = TestClient::greeted(&lagging.fixture.broker).await;
    let mut reader = lagging.owner.reader(&lagging.publishes[0]);
    let mut subscription = reader.subscribe(&mut client).await;
    reader.follow(&mut subscription, lagging.head(1).rank()).await;
    lagging.send(lagging.parts()).await;
    lagging.stream.send(Request::AskReaders).await;
    assert!(matches!(lagging.stream.reply().await, Some(Reply::Receipt(_))));
    assert!(matches!(lagging.stream.reply().await, Some(Reply::Readers(_))));
    reader.follow(&mut subscription, lagging.head(40).rank()).await;
}

/// What is wrong is told where it is seen; the rest of the transfer is dropped, and the stream goes on.
#[tokio::test]
async fn a_refused_transfer_is_answered_once_and_the_stream_goes_on() {
    let mut lagging = Lagging::new(4).await;
    let mut parts = lagging.parts();
    parts[1].entries[0] = Bytes::from_static(b"no entry");
    lagging.send(parts).await;
    assert!(matches!(lagging.stream.refusal().await.code, RefusalCode::Malformed | RefusalCode::TooNew));
    lagging.send(lagging.parts()).await;
    assert!(matches!(lagging.stream.reply().await, Some(Reply::Receipt(_))));
}

#[tokio::test]
async fn between_the_parts_of_a_transfer_nothing_else_is_taken() {
    for request in [Request::AskReaders, Request::Publish(TestOwner::new(2).publish(1, 1))] {
        let mut lagging = Lagging::new(4).await;
        let first = lagging.parts().remove(0);
        lagging.send(vec![first]).await;
        lagging.stream.send(request).await;
        assert_eq!(lagging.stream.refusal().await.code, RefusalCode::Malformed);
        assert_eq!(lagging.stream.reply().await, None);
    }
}

/// The owner went away in the middle: the place is free, and the next transfer begins from the start.
#[tokio::test]
async fn an_abandoned_transfer_makes_room_for_the_next() {
    let mut lagging = Lagging::new(4).await;
    let mut parts = lagging.parts();
    parts.truncate(3);
    lagging.send(parts).await;
    lagging.stream.send.finish().expect("open");
    assert_eq!(lagging.stream.reply().await, None);
    let client = TestClient::proven(&lagging.fixture.broker, &lagging.owner.key).await;
    lagging.stream = client.stream().await;
    lagging.stream.ask(lagging.owner.open()).await.expect("the standing head");
    lagging.send(lagging.parts()).await;
    assert!(matches!(lagging.stream.reply().await, Some(Reply::Receipt(_))));
}
