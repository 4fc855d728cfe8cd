//! Publish streams and subscriptions.

use tidings_broker::server::{Admission, AdmissionList};
use tidings_core::{Object, Receipt};
use tidings_proto::frames::{Open, Publish};
use tidings_proto::{RefusalCode, Reply, Request};

use crate::Fixture;
use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;

/// A publish stream of a fresh queue.
async fn publishing(fixture: &Fixture, owner: &TestOwner) -> (TestClient, TestStream) {
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut stream = client.stream().await;
    assert_eq!(stream.ask(owner.open()).await, Some(Reply::Standing(bytes::Bytes::new())));
    (client, stream)
}

async fn receipted(stream: &mut TestStream, publish: Publish) -> Receipt {
    stream.send(Request::Publish(publish)).await;
    receipt(stream).await
}

async fn receipt(stream: &mut TestStream) -> Receipt {
    match stream.reply().await {
        Some(Reply::Receipt(bytes)) => receipt_of(&bytes),
        other => panic!("no receipt: {other:?}"),
    }
}

fn receipt_of(bytes: &[u8]) -> Receipt {
    Receipt::decode(&bytes[..bytes.len() - 64]).expect("a receipt")
}

/// [P-7]
#[tokio::test]
async fn a_publish_is_receipted_with_the_brokers_key_and_a_repeat_gets_the_same_receipt() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let (_client, mut stream) = publishing(&fixture, &owner).await;
    let publish = owner.publish(3, 100);
    let Some(Reply::Receipt(first)) = stream.ask(Request::Publish(publish.clone())).await else { panic!("a receipt") };
    let receipt = Receipt::verify(&first, &fixture.broker.address().receipt.expect("named")).expect("signed by the broker");
    assert_eq!(receipt.head, owner.writer.head().expect("signed").hash());
    assert_eq!(stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(first)));
}

/// [P-20]
#[tokio::test]
async fn a_descriptor_of_a_later_version_is_too_new_and_not_malformed() {
    let fixture = Fixture::start().await;
    let owner = TestOwner::new(1);
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut descriptor = owner.writer.descriptor().encode();
    descriptor[0] = 2;
    let mut stream = client.stream().await;
    stream.send(Request::Open(Open { descriptor: descriptor.into() })).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::TooNew);
}

/// [P-7]
#[tokio::test]
async fn pipelined_publishes_are_answered_in_order_also_after_the_owner_ended_the_stream() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let (_client, mut stream) = publishing(&fixture, &owner).await;
    for _ in 0..100 {
        let publish = owner.publish(1, 10);
        stream.send(Request::Publish(publish)).await;
    }
    stream.send.finish().expect("open");
    for number in 1..=100 {
        assert_eq!(receipt(&mut stream).await.rank.number.value(), number);
    }
    assert_eq!(stream.reply().await, None);
}

/// [P-7]
#[tokio::test]
async fn a_refused_publish_leaves_the_stream_and_the_queue_as_they_were() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let (_client, mut stream) = publishing(&fixture, &owner).await;
    let first = owner.publish(1, 10);
    let second = owner.publish(1, 10);
    stream.send(Request::Publish(second.clone())).await;
    stream.refusal().await;
    assert_eq!(receipted(&mut stream, first).await.rank.number.value(), 1);
    assert_eq!(receipted(&mut stream, second).await.rank.number.value(), 2);
}

/// [P-9]
#[tokio::test]
async fn a_reader_catches_up_and_then_gets_each_publish_live() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let (mut client, mut stream) = publishing(&fixture, &owner).await;
    let first = owner.publish(2_000, 200);
    let mut reader = owner.reader(&first);
    let rank = receipted(&mut stream, first).await.rank;
    let mut subscription = reader.subscribe(&mut client).await;
    reader.follow(&mut subscription, rank).await;
    for records in [1, 0, 3_000] {
        let publish = owner.publish(records, 50);
        let rank = receipted(&mut stream, publish).await.rank;
        reader.follow(&mut subscription, rank).await;
    }
}

#[tokio::test]
async fn an_acknowledgement_is_kept_before_it_is_answered_and_shown_to_the_owner() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let (mut client, mut stream) = publishing(&fixture, &owner).await;
    let first = owner.publish(1, 10);
    let mut reader = owner.reader(&first);
    let rank = receipted(&mut stream, first).await.rank;
    let mut subscription = reader.subscribe(&mut client).await;
    reader.follow(&mut subscription, rank).await;
    let signed = reader.reader.acknowledgement();
    assert_eq!(subscription.ask(Request::Acknowledge(signed.clone())).await, Some(Reply::Acknowledged(rank)));
    let Some(Reply::Readers(readers)) = stream.ask(Request::AskReaders).await else { panic!("readers") };
    assert_eq!((readers.rows.len(), readers.acknowledgements), (1, vec![signed.clone()]));
    let mut forged = signed.to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    subscription.send(Request::Acknowledge(forged.into())).await;
    assert_eq!(subscription.refusal().await.code, RefusalCode::BadSignature);
}

/// A subscriber that stops reading must cost a position, not a buffer, and must not hold up anybody. [P-9]
#[tokio::test]
async fn a_reader_that_stops_reading_holds_up_nobody_and_finds_its_way_back() {
    let fixture = Fixture::start().await;
    let mut owner = TestOwner::new(1);
    let (mut client, mut stream) = publishing(&fixture, &owner).await;
    let first = owner.publish(1, 10);
    let (mut slow, mut quick) = (owner.reader(&first), owner.reader(&first));
    let mut rank = receipted(&mut stream, first).await.rank;
    let mut slow_client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut slow_stream = slow.subscribe(&mut slow_client).await;
    slow.follow(&mut slow_stream, rank).await;
    let mut quick_stream = quick.subscribe(&mut client).await;
    // More than the windows and the send buffer of the connection that is not read.
    for _ in 0..8 {
        let publish = owner.publish(700, 4_000);
        rank = receipted(&mut stream, publish).await.rank;
        quick.follow(&mut quick_stream, rank).await;
    }
    slow.follow(&mut slow_stream, rank).await;
}

#[tokio::test]
async fn only_owners_on_the_list_are_admitted_and_a_removed_one_no_longer() {
    let fixture = Fixture::with(|config| config.admission = Admission::List(AdmissionList::in_folder(&config.data))).await;
    let list = AdmissionList::in_folder(fixture.folder.path());
    let mut owner = TestOwner::new(1);
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut stream = client.stream().await;
    stream.send(owner.open()).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::NotAdmitted);
    list.set(&owner.key.did(), true).expect("a folder that can be written");
    let mut stream = client.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
    let publish = owner.publish(1, 10);
    receipted(&mut stream, publish).await;
    list.set(&owner.key.did(), false).expect("a folder that can be written");
    let publish = owner.publish(1, 10);
    stream.send(Request::Publish(publish)).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::NotAdmitted);
}
