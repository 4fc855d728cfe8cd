//! Every frame at every place where it does not belong, and frames that are altered. [P-18] [P-19]

use bytes::Bytes;
use tidings_core::NodeKey;
use tidings_proto::frames::{Hello, Open, Prove, Publish, Subscribe, Transfer};
use tidings_proto::{HeadNumber, Offset, Pseudonym, Reply, Request, VerifyingKey};

use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;
use crate::{Dice, broker};

/// Every kind of request, as nobody means it here.
fn requests(publish: &Publish, queue: tidings_proto::QueueId) -> Vec<Request> {
    let subscribe = Subscribe {
        queue,
        reader: Pseudonym::new([2; 32]),
        cursor: HeadNumber::new(u64::MAX),
        position: Offset::new(u64::MAX),
        grant: Bytes::from_static(&[3; 32]),
    };
    let transfer = Transfer {
        history: vec![[7; 32]],
        after: Offset::new(u64::MAX),
        through: Offset::new(0),
        live: Bytes::from_static(b"bitmap"),
        entries: vec![Bytes::from_static(b"one")],
        attachments: vec![Bytes::from_static(b"two")],
        head: publish.head.clone(),
        rows: vec![Bytes::from_static(b"row")],
    };
    vec![
        Request::Hello(Hello { software: "x".repeat(512) }),
        Request::Prove(Prove { key: VerifyingKey::new([1; 32]), signature: [2; 64] }),
        Request::Open(Open { descriptor: Bytes::from_static(b"descriptor") }),
        Request::Publish(publish.clone()),
        Request::AskReaders,
        Request::Subscribe(subscribe),
        Request::AskBitmap,
        Request::Acknowledge(Bytes::from_static(b"signed")),
        Request::Pulse(Bytes::from_static(b"pulse")),
        Request::Transfer(transfer),
    ]
}

/// Reads until the stream or its connection is over.
async fn to_the_end(mut stream: TestStream) {
    let _ = stream.send.finish();
    while stream.reply().await.is_some() {}
}

/// Whatever comes where, the stream or the connection ends, and the next client is served.
#[tokio::test]
async fn every_request_on_every_stream_ends_in_an_answer() {
    let (broker, _folder) = broker().await;
    let mut owner = TestOwner::new(1);
    let first = owner.publish(2, 10);
    let all = requests(&first, owner.writer.queue());
    let mut known = TestClient::proven(&broker, &owner.key).await;
    let mut publishing = known.stream().await;
    assert!(matches!(publishing.ask(owner.open()).await, Some(Reply::Standing(_))));
    assert!(matches!(publishing.ask(Request::Publish(first.clone())).await, Some(Reply::Receipt(_))));
    for request in &all {
        // Before a greeting, before a proof, after it.
        let mut stranger = TestClient::connect(&broker).await;
        stranger.control.send(request.clone()).await;
        to_the_end(stranger.control).await;
        let mut greeted = TestClient::greeted(&broker).await;
        greeted.control.send(request.clone()).await;
        to_the_end(greeted.control).await;
        let mut proven = TestClient::proven(&broker, &NodeKey::from_seed([9; 32])).await;
        let mut stream = proven.stream().await;
        stream.send(request.clone()).await;
        to_the_end(stream).await;
        proven.control.send(request.clone()).await;
        to_the_end(proven.control).await;
        // On a publish stream and on a subscription that are open.
        let mut stream = known.stream().await;
        assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
        stream.send(request.clone()).await;
        to_the_end(stream).await;
        let mut stream = owner.reader(&first).subscribe(&mut known).await;
        stream.send(request.clone()).await;
        to_the_end(stream).await;
    }
    let next = owner.publish(1, 10);
    assert!(matches!(publishing.ask(Request::Publish(next)).await, Some(Reply::Receipt(_))));
}

/// One byte of an honest publish is another one, or its end is missing: it is refused or it is no frame, and the queue stands where it
/// stood.
#[tokio::test]
async fn an_altered_publish_is_never_receipted() {
    let (broker, _folder) = broker().await;
    let mut owner = TestOwner::new(1);
    let client = TestClient::proven(&broker, &owner.key).await;
    let publish = owner.publish(3, 40);
    let honest = Request::Publish(publish.clone()).encode();
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut bytes = honest.to_vec();
        match dice.below(3) {
            0 => bytes.truncate(dice.below(honest.len())),
            _ => bytes[dice.below(honest.len())] ^= 1 << dice.below(8),
        }
        let mut stream = client.stream().await;
        assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(head)) if head.is_empty()));
        stream.raw(&(bytes.len() as u32).to_be_bytes()).await;
        stream.raw(&bytes).await;
        let _ = stream.send.finish();
        while let Some(reply) = stream.reply().await {
            assert!(matches!(reply, Reply::Refused(_)), "seed {seed}: {reply:?}");
        }
    }
    let mut stream = client.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(head)) if head.is_empty()));
    assert!(matches!(stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
}
