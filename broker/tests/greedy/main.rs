//! Readers that let a broker send as much as it likes and confirm none of it. [P-19]
//!
//! By itself: what it measures is the memory of its process.

#![cfg(target_os = "linux")] // memory is read from /proc

#[path = "../server/client.rs"]
#[allow(dead_code, reason = "some of it is for the tests of the server")]
mod client;
#[path = "../server/owner.rs"]
#[allow(dead_code, reason = "some of it is for the tests of the server")]
mod owner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_broker::server::{Admission, Broker, BrokerConfig};
use tidings_broker::store::MemoryStore;
use tidings_proto::{Reply, Request};
use tokio::runtime::{Builder, Runtime};

use client::{TestClient, TestStream};
use owner::{TestOwner, TestReader};

/// What all connections together may have that they did not confirm, beside 64 KiB for each.
const UNCONFIRMED: usize = 16 * 1024 * 1024;
const READERS: usize = 40;
/// Of what is to be caught up with: above the largest window of one connection.
const PUBLISHES: usize = 8;
const RECORDS: u64 = 256;
const VALUE_BYTES: usize = 4_000;
/// What a reader takes that has the smallest window only, and half of a frame on its way.
const NARROW_KIB: u64 = 192;
/// Time for the broker to send what it may; after 30 s of silence it gives a connection up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time for it to send more than that.
const SENDS: Duration = Duration::from_secs(3);
/// Beside that for each reader: its smallest window, a frame on its way, one that is being made, and its connection; both ends are here.
const READER_KIB: u64 = 1024;
/// What the process does not give back.
const ROOM_KIB: u64 = 16 * 1024;

/// A broker on a free loopback port that takes everybody's publishes, and its folder.
async fn broker() -> (Broker, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let mut config = BrokerConfig::new(folder.path());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.admission = Admission::Open;
    config.unconfirmed_bytes_max = UNCONFIRMED;
    (Broker::start(config, Arc::new(MemoryStore::default())).await.expect("the broker starts"), folder)
}

/// Memory of this process now, KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process knows itself");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What a reader that fell silent leaves; nothing of it is ever read.
type Silent = (TestClient, TestStream, Runtime);

/// Subscribes on a runtime of its own that nobody drives afterwards: no packet is answered any more.
fn subscribe_and_fall_silent(broker: &Broker, mut reader: TestReader) -> Silent {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (client, stream) = runtime.block_on(async {
        let mut client = TestClient::greedy(broker).await;
        let mut stream = reader.subscribe(&mut client).await;
        let first = stream.reply().await;
        assert!(matches!(first, Some(Reply::Announce(_))), "the subscription does not begin: {first:?}");
        (client, stream)
    });
    (client, stream, runtime)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_confirms_is_bounded_for_all_connections_together() {
    let (broker, _folder) = broker().await;
    let broker = Arc::new(broker);
    let mut owner = TestOwner::new(1);
    let client = TestClient::proven(&broker, &owner.key).await;
    let mut stream = client.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
    let first = owner.publish(1, 10);
    assert!(matches!(stream.ask(Request::Publish(first.clone())).await, Some(Reply::Receipt(_))));
    for _ in 0..PUBLISHES {
        let publish = owner.publish(RECORDS, VALUE_BYTES);
        assert!(matches!(stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
    }
    let before = resident_kib();
    let (readers, at): (Vec<_>, _) = ((0..READERS).map(|_| owner.reader(&first)).collect(), broker.clone());
    let begin = move || readers.into_iter().map(|reader| subscribe_and_fall_silent(&at, reader)).collect::<Vec<_>>();
    let silent = tokio::task::spawn_blocking(begin).await.expect("no panic");
    let (grown_now, common) = (|| resident_kib().saturating_sub(before), (UNCONFIRMED / 1024) as u64);
    let (deadline, wanted) = (Instant::now() + PATIENCE, common + READERS as u64 * NARROW_KIB);
    while grown_now() < wanted {
        assert!(Instant::now() < deadline, "{} KiB more: the broker does not send what it may", grown_now());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // If there were no bound, it would go on.
    tokio::time::sleep(SENDS).await;
    let grown = grown_now();
    println!("{READERS} readers that confirm nothing: {grown} KiB more");
    let bound = common + READERS as u64 * READER_KIB + ROOM_KIB;
    assert!(grown < bound, "{grown} KiB, and the bound is {bound}");

    // Whoever else reads gets everything meanwhile.
    let mut honest = owner.reader(&first);
    // The owner's connection may have been silent for too long.
    let mut client = TestClient::greeted(&broker).await;
    let mut subscription = honest.subscribe(&mut client).await;
    honest.follow(&mut subscription, owner.writer.head().expect("signed").rank()).await;
    tokio::task::spawn_blocking(move || drop(silent)).await.expect("no panic");
}
