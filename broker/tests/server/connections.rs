//! Who gets in, and what is made of nonsense.

use std::time::Duration;

use rustls::crypto::aws_lc_rs::kx_group;
use tidings_core::NodeKey;
use tidings_proto::caps::{FRAME_BYTES_MAX_UNPROVEN, PROOFS_PER_CONNECTION_MAX, STREAMS_PER_CONNECTION_MAX};
use tidings_proto::frames::{Hello, Prove};
use tidings_proto::{RefusalCode, Reply, Request};

use crate::client::{TestClient, handshake, within};
use crate::owner::TestOwner;
use crate::{Fixture, start};

/// Bytes that are no frame, each in its own way.
fn nonsense() -> Vec<Vec<u8>> {
    let mut random = blob(0x9e37_79b9, 4_000);
    random[..4].copy_from_slice(&[0, 0, 0, 200]);
    vec![
        vec![0, 0, 0, 0],
        vec![0, 0, 0, 2, 0xff, 0xff],
        vec![0, 0, 0, 1, 0x0a],
        vec![0xff; 64],
        random,
        blob(7, 4_000),
        Request::AskBitmap.encode_prefixed().repeat(3),
    ]
}

/// Bytes of a small generator; the same at every run.
fn blob(mut state: u32, length: usize) -> Vec<u8> {
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn serves(fixture: &Fixture) {
    TestClient::proven(&fixture.broker, &NodeKey::from_seed([99; 32])).await;
}

#[tokio::test]
async fn the_greeting_tells_limits_and_the_receipt_key_of_the_address() {
    let fixture = Fixture::start().await;
    let mut client = TestClient::connect(&fixture.broker).await;
    let reply = client.control.ask(Request::Hello(Hello { software: "test".into() })).await;
    let Some(Reply::Welcome(welcome)) = reply else { panic!("a welcome") };
    assert_eq!(Some(welcome.receipt_key), fixture.broker.address().receipt);
    assert_eq!(welcome.limits.publish_entries_max, 4_096);
}

#[tokio::test]
async fn a_client_without_post_quantum_key_exchange_is_served_too() {
    let fixture = Fixture::start().await;
    assert!(handshake(&fixture.broker, vec![kx_group::X25519]).await.is_ok());
    assert!(handshake(&fixture.broker, vec![kx_group::SECP256R1]).await.is_err());
}

/// [P-18]
#[tokio::test]
async fn a_proof_made_for_another_connection_is_refused() {
    let fixture = Fixture::start().await;
    let key = NodeKey::from_seed([1; 32]);
    let mut one = TestClient::greeted(&fixture.broker).await;
    let mut two = TestClient::greeted(&fixture.broker).await;
    let proof = key.prove(&one.exporter());
    let Some(Reply::Refused(refusal)) = two.offer(key.verifying_key(), proof).await else { panic!("a refusal") };
    assert_eq!(refusal.code, RefusalCode::BadSignature);
    assert_eq!(one.offer(key.verifying_key(), proof).await, Some(Reply::Proven(key.verifying_key())));
}

/// [P-18]
#[tokio::test]
async fn a_publish_stream_needs_the_owners_key_and_a_subscription_the_readers() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let client = TestClient::proven(&fixture.broker, &NodeKey::from_seed([2; 32])).await;
    let mut stream = client.stream().await;
    stream.send(owner.open()).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::NotProven);
    let first = owner.publish(1, 10);
    let mut reader = owner.reader(&first);
    let subscribe = reader.reader.begin("broker", &mut tidings_core::reader::MemoryReaderStore::default()).expect("memory");
    let mut stream = client.stream().await;
    stream.send(Request::Subscribe(subscribe)).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::NotProven);
}

/// [P-19]
#[tokio::test]
async fn a_connection_that_proves_nothing_is_closed_and_opens_no_second_stream() {
    let fixture = Fixture::with(|config| config.deadlines.authentication = Duration::from_millis(300)).await;
    let client = TestClient::greeted(&fixture.broker).await;
    let second = within(client.quic.open_bi()).await;
    assert!(matches!(second, Err(quinn::ConnectionError::ApplicationClosed(_))));
    assert_eq!(client.close_code().await, RefusalCode::NotProven);
}

/// [P-19] Streams are allowed as they are used, because each costs memory; a known peer gets as many as there may be.
#[tokio::test]
async fn a_known_peer_gets_as_many_streams_as_one_connection_may_have_and_no_more() {
    let fixture = Fixture::start().await;
    let owner = TestOwner::new(1);
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut streams = Vec::new();
    // The first one is for greetings and proofs.
    while streams.len() + 1 < STREAMS_PER_CONNECTION_MAX {
        let mut stream = within(client.stream()).await;
        assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
        streams.push(stream);
    }
    let last = streams.last_mut().expect("many");
    tokio::select! {
        biased;
        _ = client.quic.open_bi() => panic!("one more than there may be"),
        // What the broker allows comes before this answer.
        reply = last.ask(Request::AskReaders) => assert!(matches!(reply, Some(Reply::Readers(_)))),
    }
}

/// Anybody can make a key and prove it; places are for those who are granted something. [P-19]
#[tokio::test]
async fn a_connection_that_is_granted_nothing_is_closed_and_one_that_is_stays() {
    let fixture = Fixture::with(|config| config.deadlines.acquaintance = Duration::from_millis(500)).await;
    let owner = TestOwner::new(1);
    let known = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut stream = known.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
    let stranger = TestClient::proven(&fixture.broker, &NodeKey::from_seed([2; 32])).await;
    assert_eq!(stranger.close_code().await, RefusalCode::Busy);
    assert!(matches!(stream.ask(Request::AskReaders).await, Some(Reply::Readers(_))));
}

/// [P-19]
#[tokio::test]
async fn beyond_a_quarter_of_the_budget_a_client_gets_in_after_a_retry() {
    let fixture = Fixture::with(|config| config.unproven_max = 4).await;
    let _unproven = TestClient::greeted(&fixture.broker).await;
    TestClient::greeted(&fixture.broker).await;
}

/// [P-19]
#[tokio::test]
async fn frames_that_are_begun_and_not_ended_hold_no_more_than_a_connections_share() {
    let fixture = Fixture::start().await;
    let owner = TestOwner::new(1);
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let begun = vec![0; 7 * 1024 * 1024];
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = client.stream().await;
        assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
        stream.raw(&(8 * 1024 * 1024_u32).to_be_bytes()).await;
        stream.raw(&begun).await;
        streams.push(stream);
    }
    let last = streams.last_mut().expect("five");
    assert_eq!(last.refusal().await.code, RefusalCode::Busy);
    serves(&fixture).await;
}

/// [P-19]
#[tokio::test]
async fn a_stream_without_a_first_frame_is_ended() {
    let fixture = Fixture::with(|config| config.deadlines.authentication = Duration::from_millis(300)).await;
    let client = TestClient::proven(&fixture.broker, &NodeKey::from_seed([1; 32])).await;
    let mut stream = client.stream().await;
    stream.raw(&[0, 0]).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::Malformed);
}

/// [P-19]
#[tokio::test]
async fn a_frame_above_its_cap_is_refused_before_it_arrives() {
    let fixture = Fixture::start().await;
    let client = TestClient::proven(&fixture.broker, &NodeKey::from_seed([1; 32])).await;
    let mut stream = client.stream().await;
    let length = u32::try_from(FRAME_BYTES_MAX_UNPROVEN + 1).expect("small");
    stream.raw(&length.to_be_bytes()).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::TooLarge);
    serves(&fixture).await;
}

/// [P-19]
#[tokio::test]
async fn only_so_many_proofs_are_tried_on_one_connection() {
    let fixture = Fixture::start().await;
    let mut client = TestClient::greeted(&fixture.broker).await;
    let proof = Prove { key: NodeKey::from_seed([1; 32]).verifying_key(), signature: [0; 64] };
    for _ in 0..PROOFS_PER_CONNECTION_MAX {
        assert!(matches!(client.control.ask(Request::Prove(proof.clone())).await, Some(Reply::Refused(_))));
    }
    client.control.send(Request::Prove(proof)).await;
    assert_eq!(client.close_code().await, RefusalCode::TooLarge);
}

/// [P-19]
#[tokio::test]
async fn nonsense_on_the_control_stream_closes_the_connection_and_nothing_else() {
    let fixture = Fixture::start().await;
    for bytes in nonsense() {
        let mut client = TestClient::greeted(&fixture.broker).await;
        client.control.raw(&bytes).await;
        let code = client.close_code().await;
        assert!([RefusalCode::Malformed, RefusalCode::TooLarge, RefusalCode::TooNew].contains(&code), "{code:?}");
    }
    serves(&fixture).await;
}

/// [P-19]
#[tokio::test]
async fn nonsense_on_any_other_stream_ends_that_stream_and_nothing_else() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let mut client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut publishing = client.stream().await;
    assert!(matches!(publishing.ask(owner.open()).await, Some(Reply::Standing(_))));
    let first = owner.publish(1, 10);
    assert!(matches!(publishing.ask(Request::Publish(first.clone())).await, Some(Reply::Receipt(_))));
    let rank = owner.writer.head().expect("signed").rank();
    for bytes in nonsense() {
        let mut fresh = client.stream().await;
        fresh.raw(&bytes).await;
        fresh.refusal().await;
        let mut publishing = client.stream().await;
        assert!(matches!(publishing.ask(owner.open()).await, Some(Reply::Standing(_))));
        publishing.raw(&bytes).await;
        // The longest cap here is that of a publish, which some of these lengths stay under: the end of the stream settles it.
        let _ = publishing.send.finish();
        while publishing.reply().await.is_some() {}
        let mut reader = owner.reader(&first);
        let mut subscription = reader.subscribe(&mut client).await;
        reader.follow(&mut subscription, rank).await;
        subscription.raw(&bytes).await;
        let _ = subscription.send.finish();
        while subscription.reply().await.is_some() {}
    }
    assert!(matches!(publishing.ask(Request::Publish(first)).await, Some(Reply::Receipt(_))));
    serves(&fixture).await;
}

#[tokio::test]
async fn the_address_outlives_a_restart() {
    let fixture = Fixture::start().await;
    let before = fixture.broker.address().clone();
    fixture.broker.drain().await;
    let again = start(&fixture.folder, fixture.store.clone(), |_| {}).await;
    assert_eq!((again.address().pin, again.address().receipt), (before.pin, before.receipt));
    TestClient::greeted(&again).await;
}
