//! A queue given back to its owner over the wire. [P-5]

use tidings_core::recovery::{Recovered, Recovery};
use tidings_proto::frames::Transfer;
use tidings_proto::{RefusalCode, Reply, Request};

use crate::Fixture;
use crate::client::{TestClient, TestStream};
use crate::owner::TestOwner;

/// A broker with a queue, and the owner's connection.
struct World {
    fixture: Fixture,
    owner: TestOwner,
    client: TestClient,
}

impl World {
    /// So many publishes of so many records, with values of so many bytes.
    async fn start(publishes: usize, records: u64, bytes: usize) -> Self {
        let (fixture, owner) = (Fixture::start().await, TestOwner::new(1));
        let client = TestClient::proven(&fixture.broker, &owner.key).await;
        let mut world = Self { fixture, owner, client };
        let mut stream = world.stream().await;
        for _ in 0..publishes {
            let publish = world.owner.publish(records, bytes);
            assert!(matches!(stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
        }
        world
    }

    /// More than the windows of a stream and of a connection take at once.
    async fn large() -> Self {
        Self::start(8, 700, 4_000).await
    }

    async fn stream(&self) -> TestStream {
        let mut stream = self.client.stream().await;
        stream.ask(self.owner.open()).await.expect("the standing head");
        stream
    }

    /// What the owner makes of the parts that come next.
    async fn recovered(&self, stream: &mut TestStream) -> Recovered {
        let mut recovery = Recovery::new(self.owner.writer.descriptor().clone());
        loop {
            match stream.reply().await {
                Some(Reply::Part(part)) => {
                    if let Some(recovered) = recovery.take(part).expect("what the head signs") {
                        return recovered;
                    }
                }
                other => panic!("no part: {other:?}"),
            }
        }
    }
}

/// [P-5] What comes is signed whole, and is what stood when the answers before it had been given, or later.
#[tokio::test]
async fn a_recovery_among_publishes_is_answered_in_its_place_and_is_of_one_moment() {
    let mut world = World::start(3, 300, 500).await;
    let mut stream = world.stream().await;
    for round in 0..5 {
        let before = world.owner.publish(2, 10);
        let rank = world.owner.writer.head().expect("signed").rank();
        stream.send(Request::Publish(before)).await;
        stream.send(Request::Recover).await;
        let behind: Vec<_> = (0..20).map(|_| world.owner.publish(1, 10)).collect();
        for publish in &behind {
            stream.send(Request::Publish(publish.clone())).await;
        }
        assert!(matches!(stream.reply().await, Some(Reply::Receipt(_))), "round {round}");
        let recovered = world.recovered(&mut stream).await;
        assert!(recovered.head().rank() >= rank && recovered.rows().len() == 1);
        for _ in &behind {
            assert!(matches!(stream.reply().await, Some(Reply::Receipt(_))), "round {round}");
        }
    }
}

/// [P-5]
#[tokio::test]
async fn two_recoveries_on_one_stream_come_one_after_the_other() {
    let world = World::start(2, 50, 100).await;
    let mut stream = world.stream().await;
    stream.send(Request::Recover).await;
    stream.send(Request::Recover).await;
    let head = world.recovered(&mut stream).await.head().clone();
    assert_eq!(world.recovered(&mut stream).await.head(), &head);
}

#[tokio::test]
async fn a_queue_of_which_nothing_is_here_is_unknown_and_the_stream_goes_on() {
    let world = World::start(0, 0, 0).await;
    let mut stream = world.stream().await;
    stream.send(Request::Recover).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::UnknownQueue);
    assert!(matches!(stream.ask(Request::AskReaders).await, Some(Reply::Readers(_))));
}

#[tokio::test]
async fn a_recovery_in_the_middle_of_a_transfer_is_malformed() {
    let world = World::start(1, 1, 10).await;
    let mut stream = world.stream().await;
    stream.send(Request::Transfer(Transfer { history: vec![[1; 32]], ..Transfer::default() })).await;
    stream.send(Request::Recover).await;
    assert_eq!(stream.refusal().await.code, RefusalCode::Malformed);
}

/// [P-19] It holds a thread, a snapshot and two parts; publishes, also its own, go on beside it, and what it gets is of when it began.
#[tokio::test]
async fn an_owner_that_takes_nothing_holds_up_nobody() {
    let mut world = World::large().await;
    let (mut slow, mut stream) = (world.stream().await, world.stream().await);
    slow.send(Request::Recover).await;
    let Some(Reply::Part(first)) = slow.reply().await else { panic!("the first part") };
    let began = world.owner.writer.head().expect("signed").hash();
    for _ in 0..3 {
        let publish = world.owner.publish(100, 1_000);
        assert!(matches!(stream.ask(Request::Publish(publish)).await, Some(Reply::Receipt(_))));
    }
    let mut recovery = Recovery::new(world.owner.writer.descriptor().clone());
    let mut given = recovery.take(first).expect("what the head signs");
    while given.is_none() {
        let Some(Reply::Part(part)) = slow.reply().await else { panic!("the next part") };
        given = recovery.take(part).expect("what the head signs");
    }
    let recovered = given.expect("the last part");
    assert_eq!((recovered.head().hash(), recovered.entries().len()), (began, 5_600));
}

/// [P-19] Nobody gets more threads and snapshots than there are places, and who goes away leaves its place.
#[tokio::test]
async fn a_few_recoveries_run_at_a_time_and_others_are_told_to_come_again() {
    let world = World::large().await;
    let mut running = Vec::new();
    for _ in 0..4 {
        // A connection each, so that none waits for what another one does not take.
        let client = TestClient::proven(&world.fixture.broker, &world.owner.key).await;
        let mut stream = client.stream().await;
        stream.ask(world.owner.open()).await.expect("the standing head");
        stream.send(Request::Recover).await;
        assert!(matches!(stream.reply().await, Some(Reply::Part(_))));
        running.push((client, stream));
    }
    let mut fifth = world.stream().await;
    fifth.send(Request::Recover).await;
    assert_eq!(fifth.refusal().await.code, RefusalCode::Busy);
    running.clear();
    // The broker hears of it when the connection ends, which it does at once, and the place is free soon after.
    loop {
        fifth.send(Request::Recover).await;
        match fifth.reply().await {
            Some(Reply::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::Busy),
            Some(Reply::Part(_)) => break,
            other => panic!("no part: {other:?}"),
        }
    }
}
