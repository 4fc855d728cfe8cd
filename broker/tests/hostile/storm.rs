//! Many hostile connections at once. [P-19]

use std::time::{Duration, Instant};

use tidings_broker::server::Broker;
use tidings_core::NodeKey;
use tidings_proto::{Reply, Request};

use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;
use crate::{Dice, broker};

/// Hostile connections, one after the other in each of these tasks.
const TASKS: u64 = 4;
const CONNECTIONS: u64 = 60;
/// Streams of each, as far as the broker lets them be opened.
const STREAMS: usize = 24;
/// Time for all of it; a slow machine makes fewer connections.
const TIME: Duration = Duration::from_secs(15);
/// Longest that an honest owner and reader wait for one publish meanwhile, on a machine that is busy with other things too.
const SERVED: Duration = Duration::from_secs(20);
/// Most memory that all of it may cost, broker and clients together, KiB: a connection's share of frames that are begun, for each of them
/// that is open, and what the clients hold to send them.
const GROWTH_KIB: u64 = 256 * 1024;

/// Most memory that this process had at once, KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process knows itself");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What a stream is made to carry.
fn hostile(dice: &mut Dice) -> Vec<u8> {
    let length = |length: u32| length.to_be_bytes().to_vec();
    match dice.below(8) {
        0 => dice.bytes(300),
        1 => length(u32::MAX),
        2 => length(9 * 1024 * 1024 + 1),
        // Begun and never ended.
        3 => [length(4_000), dice.bytes(100)].concat(),
        4 => [length(9 * 1024 * 1024), vec![7; 1024 * 1024]].concat(),
        5 => Request::AskBitmap.encode_prefixed().repeat(50),
        6 => Request::AskReaders.encode_prefixed().repeat(50),
        _ => length(0),
    }
}

/// One connection: proven or not, a queue of its own or none, streams that are left, ended, reset or half closed.
async fn connection(broker: &Broker, seed: u64) {
    let mut dice = Dice(seed);
    let owner = TestOwner::new(100 + (seed % 100) as u8);
    let mut client = match dice.below(4) {
        0 => TestClient::connect(broker).await,
        1 => TestClient::greeted(broker).await,
        2 => TestClient::proven(broker, &NodeKey::from_seed([50; 32])).await,
        _ => TestClient::proven(broker, &owner.key).await,
    };
    let mut left = Vec::new();
    for _ in 0..STREAMS {
        // What is not proven gets no second stream, and waiting for one is not what this is about.
        let opened = tokio::time::timeout(Duration::from_millis(500), client.stream()).await;
        let Ok(mut stream) = opened else { break };
        if dice.below(2) == 0 {
            stream.send(owner.open()).await;
        }
        stream.raw(&hostile(&mut dice)).await;
        match dice.below(4) {
            0 => drop(stream.send.finish()),
            1 => drop(stream.send.reset(7_u32.into())),
            _ => {}
        }
        left.push(stream);
    }
    client.control.raw(&hostile(&mut dice)).await;
    left.push(client.control);
}

/// An owner that publishes and a reader that follows, in turn; gives the longest time that one publish took.
async fn honest(client: &mut TestClient, stream: &mut TestStream, owner: &mut TestOwner, is_over: impl Fn() -> bool) -> (u32, Duration) {
    let first = owner.publish(1, 10);
    assert!(matches!(stream.ask(Request::Publish(first.clone())).await, Some(Reply::Receipt(_))));
    let mut reader = owner.reader(&first);
    let mut subscription = reader.subscribe(client).await;
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    while !is_over() || rounds == 0 {
        let began = Instant::now();
        let publish = owner.publish(1, 100);
        assert!(matches!(stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
        reader.follow(&mut subscription, owner.writer.head().expect("signed").rank()).await;
        (rounds, longest) = (rounds + 1, longest.max(began.elapsed()));
    }
    (rounds, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_streams_cost_a_bounded_amount_and_honest_clients_are_served_meanwhile() {
    let (broker, _folder) = broker().await;
    let broker = std::sync::Arc::new(broker);
    let mut owner = TestOwner::new(1);
    let mut client = TestClient::proven(&broker, &owner.key).await;
    let mut stream = client.stream().await;
    assert!(matches!(stream.ask(owner.open()).await, Some(Reply::Standing(_))));
    let (before, until) = (peak_kib(), Instant::now() + TIME);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let broker = broker.clone();
        tasks.spawn(async move {
            let mut made = 0;
            while made < CONNECTIONS && Instant::now() < until {
                connection(&broker, task * CONNECTIONS + made).await;
                made += 1;
            }
            made
        });
    }
    let storm = tokio::spawn(tasks.join_all());
    let (rounds, longest) = honest(&mut client, &mut stream, &mut owner, || storm.is_finished()).await;
    let made = storm.await.expect("no hostile client panics");
    let grown = peak_kib().saturating_sub(before);
    println!("{} hostile connections, {rounds} honest publishes, the longest {longest:?}, {grown} KiB more", made.iter().sum::<u64>());
    assert!(longest < SERVED, "an honest publish took {longest:?}");
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    TestClient::proven(&broker, &NodeKey::from_seed([99; 32])).await;
}
