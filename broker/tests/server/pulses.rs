//! What owners say between heads. [P-16]

use tidings_core::NodeKey;
use tidings_proto::{RefusalCode, Reply, Request};

use crate::Fixture;
use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;

/// An owner that published once.
async fn published() -> (Fixture, TestOwner, TestClient, TestStream, tidings_proto::frames::Publish) {
    let (fixture, mut owner) = (Fixture::start().await, TestOwner::new(1));
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut publishing = client.stream().await;
    publishing.ask(owner.open()).await;
    let first = owner.publish(1, 10);
    assert!(matches!(publishing.ask(Request::Publish(first.clone())).await, Some(Reply::Receipt(_))));
    (fixture, owner, client, publishing, first)
}

/// The next pulse, whatever comes before it.
async fn pulse(stream: &mut TestStream) -> bytes::Bytes {
    loop {
        match stream.reply().await {
            Some(Reply::Pulse(pulse)) => return pulse,
            Some(_) => {}
            None => panic!("the stream ended without a pulse"),
        }
    }
}

/// [P-16]
#[tokio::test]
async fn a_pulse_reaches_live_readers_and_those_that_come_after_it() {
    let (_fixture, owner, mut client, mut publishing, first) = published().await;
    let mut live = owner.reader(&first);
    let mut subscription = live.subscribe(&mut client).await;
    live.follow(&mut subscription, owner.writer.head().expect("signed").rank()).await;
    publishing.send(Request::Pulse(owner.pulse(5))).await;
    assert_eq!(pulse(&mut subscription).await, owner.pulse(5));
    let mut later = owner.reader(&first).subscribe(&mut client).await;
    assert_eq!(pulse(&mut later).await, owner.pulse(5));
}

/// A pulse has no answer, so the one after it belongs to the request after it. [P-16]
#[tokio::test]
async fn a_pulse_is_not_answered_and_one_too_soon_is_dropped() {
    let (_fixture, owner, mut client, mut publishing, first) = published().await;
    let mut subscription = owner.reader(&first).subscribe(&mut client).await;
    publishing.send(Request::Pulse(owner.pulse(5))).await;
    assert_eq!(pulse(&mut subscription).await, owner.pulse(5));
    publishing.send(Request::Pulse(owner.pulse(6))).await;
    assert!(matches!(publishing.ask(Request::AskReaders).await, Some(Reply::Readers(_))));
    let mut later = owner.reader(&first).subscribe(&mut client).await;
    assert_eq!(pulse(&mut later).await, owner.pulse(5));
}

/// [P-16]
#[tokio::test]
async fn a_pulse_that_the_owner_did_not_sign_ends_the_stream() {
    let (_fixture, mut owner, _client, mut publishing, _) = published().await;
    owner.key = NodeKey::from_seed([2; 32]);
    publishing.send(Request::Pulse(owner.pulse(5))).await;
    assert_eq!(publishing.refusal().await.code, RefusalCode::BadSignature);
    assert_eq!(publishing.reply().await, None);
}
