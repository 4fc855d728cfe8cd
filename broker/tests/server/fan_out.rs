//! How long a publish takes to reach many. Ignored: it measures, it shows nothing.

use std::time::Instant;

use tidings_proto::{Reply, Request};
use tokio::task::JoinSet;

use crate::Fixture;
use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;

const CONNECTIONS: usize = 10;
const READERS: usize = 10;
const PUBLISHES: usize = 300;

/// Counts announcements: what a reader does with them is not the broker's time.
async fn hear(mut stream: TestStream, heads: usize) -> TestStream {
    let mut heard = 0;
    while heard < heads {
        match stream.reply().await.expect("the stream goes on") {
            Reply::Announce(announce) => {
                heard = tidings_core::SignedHead::parse(announce.head).expect("a head").head().number.value() as usize
            }
            Reply::Refused(refusal) => panic!("{refusal:?}"),
            _ => {}
        }
    }
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn time_from_the_first_publish_until_a_hundred_readers_heard_of_the_last() {
    let (fixture, mut owner) = (Fixture::start().await, TestOwner::new(1));
    let client = TestClient::proven(&fixture.broker, &owner.key).await;
    let mut publishing = client.stream().await;
    publishing.ask(owner.open()).await;
    let first = owner.publish(1, 200);
    publishing.ask(Request::Publish(first.clone())).await;
    let (mut clients, mut streams) = (Vec::new(), JoinSet::new());
    for _ in 0..CONNECTIONS {
        let mut client = TestClient::greeted(&fixture.broker).await;
        for _ in 0..READERS {
            let stream = owner.reader(&first).subscribe(&mut client).await;
            streams.spawn(hear(stream, 1));
        }
        clients.push(client);
    }
    let live = streams.join_all().await;
    let publishes: Vec<_> = (0..PUBLISHES).map(|_| owner.publish(1, 200)).collect();
    let began = Instant::now();
    let mut streams: JoinSet<_> = live.into_iter().map(|stream| hear(stream, PUBLISHES + 1)).collect();
    for publish in publishes {
        publishing.send(Request::Publish(publish)).await;
    }
    while let Some(heard) = streams.join_next().await {
        heard.expect("a reader that keeps up");
    }
    println!("{} readers, {PUBLISHES} publishes: {:?}", CONNECTIONS * READERS, began.elapsed());
}
