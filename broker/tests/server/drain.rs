//! Stopping.

use std::sync::Arc;
use std::time::Duration;

use tidings_broker::store::Store;
use tidings_proto::{RefusalCode, Reply, Request};

use crate::Fixture;
use crate::client::{TestClient, within};
use crate::owner::TestOwner;

#[tokio::test]
async fn a_drain_answers_what_was_taken_closes_with_a_code_and_leaves_the_store() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut stream = client.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
    for _ in 0..20 {
        let publish = owner.publish(1, 10);
        stream.send(Request::Publish(publish)).await;
    }
    // The first answer shows that the requests arrive.
    assert!(matches!(stream.reply().await, Some(Reply::Receipt(_))));
    let drain = tokio::spawn(fixture.broker.drain());
    let mut answered = 1;
    while let Some(reply) = stream.reply().await {
        assert!(matches!(reply, Reply::Receipt(_)));
        answered += 1;
    }
    assert_eq!(client.close_code().await, RefusalCode::ShuttingDown);
    within(drain).await.expect("no panic");
    assert_eq!(Arc::strong_count(&fixture.store), 1, "nobody uses the store any more");
    let row = fixture.store.queue(&owner.writer.queue()).expect("memory").expect("published");
    let stands = tidings_core::SignedHead::parse(row.head).expect("a head").head().number.value();
    assert_eq!(answered, stands, "what is on disk was answered");
}

#[tokio::test]
async fn a_drain_ends_subscriptions_and_idle_connections() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let mut client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut stream = client.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
    let first = owner.publish(1, 10);
    let mut reader = owner.reader(&first);
    assert!(matches!(stream.ask(Request::Publish(first)).await, Some(Reply::Receipt(_))));
    let mut subscription = reader.subscribe(&mut client).await;
    reader.follow(&mut subscription, owner.writer.head().expect("signed").rank()).await;
    let idle = TestClient::greeted(&fixture.broker).await;
    within(fixture.broker.drain()).await;
    assert_eq!(client.close_code().await, RefusalCode::ShuttingDown);
    assert_eq!(idle.close_code().await, RefusalCode::ShuttingDown);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever_for_a_peer_that_reads_nothing() {
    let fixture = Fixture::with(|config| config.deadlines.drain = Duration::from_millis(200)).await;
    let mut owner = TestOwner::new(1);
    let mut client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut stream = client.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
    let first = owner.publish(1, 10);
    let mut reader = owner.reader(&first);
    assert!(matches!(stream.ask(Request::Publish(first)).await, Some(Reply::Receipt(_))));
    let publish = owner.publish(900, 4_000);
    assert!(matches!(stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
    let _unread = reader.subscribe(&mut client).await;
    within(fixture.broker.drain()).await;
}
