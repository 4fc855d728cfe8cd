//! A reader with several brokers of which some are slow to answer, or never do.

use std::sync::Arc;
use std::time::Duration;

use tidings_client::{Publisher, PublisherConfig, State, Subscriber, SubscriberConfig};
use tidings_proto::QueueId;
use tokio::time::Instant;

use crate::peer::{Peer, Peers};
use crate::{follow_at, memory, owner_key, published, put, reader_key};

const NEVER: Duration = Duration::from_secs(3_600);

/// Two brokers with everything, and a reader who was caught up. The clock stands still from here on but where all wait.
struct World {
    first: Peer,
    second: Peer,
    state: State,
    queue: QueueId,
    _publisher: Publisher,
}

impl World {
    async fn new() -> Self {
        let (first, second, state) = (Peer::new(), Peer::new(), memory());
        let peers = Arc::new(Peers(vec![(1, first.clone()), (2, second.clone())]));
        let config = PublisherConfig::new(peers, vec![Peer::address(1), Peer::address(2)]);
        let publisher = Publisher::open(memory(), owner_key(), config).expect("opened");
        let queue = follow_at(&publisher, &state, &[1, 2]).await;
        published(&publisher, &[put("/a", "1")]).await;
        for peer in [&first, &second] {
            peer.until(|held| held.live.len() == 1).await;
        }
        let world = Self { first, second, state, queue, _publisher: publisher };
        world.catches_up().await;
        tokio::time::pause();
        world
    }

    /// Catches up anew; how long that took.
    async fn catches_up(&self) -> Duration {
        let peers = Arc::new(Peers(vec![(1, self.first.clone()), (2, self.second.clone())]));
        let config = SubscriberConfig::new(peers);
        let mut subscriber = Subscriber::start(self.state.clone(), reader_key(), self.queue, config).expect("started");
        let begun = Instant::now();
        subscriber.caught_up().await.expect("caught up");
        subscriber.close().await;
        begun.elapsed()
    }
}

/// [P-13]
#[tokio::test]
async fn a_broker_that_says_nothing_is_not_waited_for() {
    let world = World::new().await;
    let dials = world.second.look(|queue| queue.dials);
    assert!(world.catches_up().await < Duration::from_millis(100));
    assert_eq!(world.second.look(|queue| queue.dials), dials, "the first one serves");
    world.first.set(|queue| queue.slow = NEVER);
    assert!(world.catches_up().await < Duration::from_secs(1));
}

/// [P-13] The one that answers first has not what the reader saw before; the best one would have it.
#[tokio::test]
async fn a_slow_broker_is_asked_after_all_when_the_faster_one_lags() {
    let world = World::new().await;
    world.first.set(|queue| queue.slow = Duration::from_secs(3));
    world.second.set(|queue| drop(queue.heads.pop()));
    let took = world.catches_up().await;
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

/// [P-13]
#[tokio::test]
async fn the_second_is_asked_at_once_when_the_first_cannot_be_reached() {
    let world = World::new().await;
    world.first.set(|queue| queue.away = true);
    assert!(world.catches_up().await < Duration::from_millis(100));
}
