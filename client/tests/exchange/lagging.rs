//! A broker that is alive and does not have the owner's newest: readers leave it. [P-13] Time is the test's.

use std::sync::Arc;
use std::time::Duration;

use tidings_client::{Event, Publisher, PublisherConfig, State, Subscriber, SubscriberConfig};
use tidings_core::reader::Verdict;
use tidings_proto::QueueId;
use tokio::time::{Instant, sleep, timeout};

use crate::peer::{Peer, Peers};
use crate::pulses::{Owner, clock};
use crate::storage::Knows;
use crate::{follow_at, memory, owner_key, path, published, publisher, put, reader_key, verdict, verdict_within, view_is};

/// What the owner promises in its pulses.
const PROMISE: Duration = Duration::from_secs(180);
/// How long a reader may stay at a broker that lags where nothing was promised.
const HABIT: Duration = Duration::from_secs(10 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A broker that got nothing after `/a`, the one that the owner is connected to, and a reader that asks the first one first.
struct Scene {
    lagging: Peer,
    newer: Peer,
    publisher: Publisher,
    owner: Owner,
    reader: State,
    queue: QueueId,
}

impl Scene {
    async fn new() -> Self {
        Self::at(&[1, 2]).await
    }

    /// The reader knows the brokers at these ports.
    async fn at(ports: &[u16]) -> Self {
        let (home, reader, lagging) = (memory(), memory(), Peer::new());
        let before = publisher(&home, &lagging);
        let queue = follow_at(&before, &reader, ports).await;
        published(&before, &[put("/a", "1")]).await;
        before.close().await;
        let newer = lagging.twin();
        let config = PublisherConfig::new(Arc::new(Peers(vec![(2, newer.clone())])), vec![Peer::address(2)]);
        let publisher = Publisher::open(home, owner_key(), config).expect("opened");
        let owner = Owner { peer: newer.clone(), clock: clock() };
        Self { lagging, newer, publisher, owner, reader, queue }
    }

    fn config(&self) -> SubscriberConfig {
        let mut config = SubscriberConfig::new(Arc::new(Peers(vec![(1, self.lagging.clone()), (2, self.newer.clone())])));
        config.clock = self.owner.clock.clone();
        config
    }

    fn start(&self, config: SubscriberConfig) -> Subscriber {
        Subscriber::start(self.reader.clone(), reader_key(), self.queue, config).expect("started")
    }

    /// A reader that is up to date at the first broker.
    async fn up_to_date(&self) -> Subscriber {
        let mut subscriber = self.start(self.config());
        verdict(&mut subscriber, Verdict::UpToDate).await;
        subscriber
    }

    async fn publishes(&self, record: &str) {
        published(&self.publisher, &[put(record, "1")]).await;
    }

    /// The first broker has the owner's promise of this moment.
    fn promises(&self) {
        let pulse = self.owner.pulse(PROMISE).sign(&owner_key());
        self.lagging.set(|queue| queue.pulse = Some(pulse));
    }
}

/// How long it takes until a record comes.
async fn takes(subscriber: &mut Subscriber, record: &str) -> Duration {
    let begun = Instant::now();
    let comes = async {
        loop {
            match subscriber.next().await.expect("running") {
                Event::Changes(changes) if changes.iter().any(|change| change.path == path(record)) => return begun.elapsed(),
                _ => continue,
            }
        }
    };
    timeout(HOUR, comes).await.expect("it comes")
}

/// [P-13] [P-16] A reader stayed for ever at a broker that had lost its owner, and called its own view stale.
#[tokio::test(start_paused = true)]
async fn a_broker_that_lags_is_left_when_the_owners_promise_ends() {
    let scene = Scene::new().await;
    let mut subscriber = scene.up_to_date().await;
    sleep(Duration::from_secs(60)).await;
    scene.promises();
    let promise = scene.owner.pulse(PROMISE).time;
    view_is(&subscriber, |view| view.verdict.as_of >= promise).await;
    scene.publishes("/b").await;
    let took = takes(&mut subscriber, "/b").await;
    assert!(took <= PROMISE + Duration::from_secs(2), "{took:?}");
    scene.publishes("/c").await;
    assert!(takes(&mut subscriber, "/c").await < Duration::from_secs(1), "it stays where the owner is");
}

/// [P-13] An owner that gives no pulses.
#[tokio::test(start_paused = true)]
async fn a_broker_that_lags_is_left_after_a_while_where_nothing_was_promised() {
    let scene = Scene::new().await;
    let mut subscriber = scene.up_to_date().await;
    sleep(Duration::from_secs(60)).await;
    scene.publishes("/b").await;
    let took = takes(&mut subscriber, "/b").await;
    assert!(took <= HABIT + Duration::from_secs(3), "{took:?}");
}

/// [P-13]
#[tokio::test(start_paused = true)]
async fn a_broker_that_lagged_before_the_session_is_left_within_half_a_minute() {
    let scene = Scene::new().await;
    scene.publishes("/b").await;
    let mut subscriber = scene.up_to_date().await;
    let took = takes(&mut subscriber, "/b").await;
    assert!(took <= Duration::from_secs(33), "{took:?}");
}

/// [P-13] Who asked once was told that a stale view is all there is, although the other broker had more.
#[tokio::test(start_paused = true)]
async fn the_first_word_about_a_stale_view_waits_for_the_other_brokers() {
    let scene = Scene::new().await;
    let subscriber = scene.up_to_date().await;
    scene.promises();
    let promise = scene.owner.pulse(PROMISE).time;
    view_is(&subscriber, |view| view.verdict.as_of >= promise).await;
    subscriber.close().await;
    sleep(PROMISE).await;
    scene.publishes("/b").await;
    scene.owner.says(&scene.owner.pulse(PROMISE));
    let subscriber = scene.start(scene.config());
    let begun = Instant::now();
    let view = view_is(&subscriber, |view| matches!(view.verdict.verdict, Verdict::UpToDate | Verdict::Stale)).await;
    assert_eq!(view.verdict.verdict, Verdict::UpToDate, "{view:?}");
    assert!(subscriber.get(&path("/b")).expect("read").is_some());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// [P-13] The other broker never answers: the first word is not kept back for long.
#[tokio::test(start_paused = true)]
async fn the_first_word_about_a_stale_view_does_not_wait_for_a_broker_that_says_nothing() {
    let scene = Scene::new().await;
    scene.newer.set(|queue| queue.slow = HOUR);
    let mut subscriber = scene.start(SubscriberConfig { max_age: Duration::ZERO, ..scene.config() });
    let begun = Instant::now();
    verdict(&mut subscriber, Verdict::Stale).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// [P-16] The owner is silent, and both brokers have the same: the connection stays, and the other one is asked ever less often.
#[tokio::test(start_paused = true)]
async fn where_all_brokers_are_equally_stale_none_is_left_and_none_is_asked_often() {
    let scene = Scene::new().await;
    let mut subscriber = scene.start(SubscriberConfig { max_age: Duration::ZERO, ..scene.config() });
    verdict(&mut subscriber, Verdict::Stale).await;
    let dials = || (scene.lagging.look(|queue| queue.dials), scene.newer.look(|queue| queue.dials));
    let (first, second) = dials();
    sleep(HOUR).await;
    let (first_later, second_later) = dials();
    assert_eq!(first_later, first);
    assert!((2..=30).contains(&(second_later - second)), "{second} {second_later}");
    scene.publishes("/b").await;
    assert!(takes(&mut subscriber, "/b").await <= HABIT + Duration::from_secs(1));
}

/// [P-16] Nothing new was signed, but only the other broker hears of the owner.
#[tokio::test(start_paused = true)]
async fn a_broker_that_hears_of_the_owner_is_preferred_to_one_that_does_not() {
    let scene = Scene::new().await;
    let mut subscriber = scene.up_to_date().await;
    sleep(Duration::from_secs(60)).await;
    scene.promises();
    let promise = scene.owner.pulse(PROMISE).time;
    view_is(&subscriber, |view| view.verdict.as_of >= promise).await;
    sleep(Duration::from_secs(120)).await;
    let later = scene.owner.pulse(PROMISE);
    scene.owner.says(&later);
    verdict_within(&mut subscriber, Verdict::Stale, HOUR).await;
    let report = verdict(&mut subscriber, Verdict::UpToDate).await;
    assert_eq!(report.as_of, later.time);
    scene.publishes("/b").await;
    assert!(takes(&mut subscriber, "/b").await < Duration::from_secs(1), "it went there");
}

/// [P-21] The only broker lags, and the owner's storage has more: it is read there until the broker has it too.
#[tokio::test(start_paused = true)]
async fn what_only_the_storage_shows_is_read_from_it() {
    let scene = Scene::at(&[1]).await;
    let mut config = scene.config();
    config.storage = Some(Arc::new(Peers(vec![(1, scene.newer.clone())])));
    config.witness = Some(Arc::new(Knows(scene.newer.clone())));
    let mut subscriber = scene.start(config);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    scene.publishes("/b").await;
    takes(&mut subscriber, "/b").await;
    view_is(&subscriber, |view| view.verdict.detail == "from storage").await;
    let connected = subscriber.view();
    sleep(HOUR / 2).await;
    assert_eq!(connected.borrow().verdict.detail, "from storage", "the broker is not gone back to before it has as much");
    let caught_up = scene.newer.look(Clone::clone);
    scene.lagging.set(|queue| *queue = caught_up);
    sleep(Duration::from_secs(60)).await;
    view_is(&subscriber, |view| (view.verdict.verdict, view.verdict.detail.as_str()) == (Verdict::UpToDate, "")).await;
}

/// [P-21] Who asked once was told that the view is stale, although the storage had more.
#[tokio::test(start_paused = true)]
async fn the_first_word_about_a_stale_view_waits_for_the_storage_that_has_more() {
    let scene = Scene::at(&[1]).await;
    scene.publishes("/b").await;
    let mut config = scene.config();
    config.storage = Some(Arc::new(Peers(vec![(1, scene.newer.clone())])));
    config.witness = Some(Arc::new(Knows(scene.newer.clone())));
    config.max_age = Duration::ZERO;
    let subscriber = scene.start(config);
    view_is(&subscriber, |view| matches!(view.verdict.verdict, Verdict::UpToDate | Verdict::Stale)).await;
    assert!(subscriber.get(&path("/b")).expect("read").is_some());
}

/// [P-21] A receipt is one broker's: any other one may never have had what the storage shows.
#[tokio::test(start_paused = true)]
async fn of_several_brokers_none_is_accused_because_the_storage_shows_more() {
    let scene = Scene::new().await;
    let storage = scene.newer.twin();
    scene.newer.set(|queue| queue.frozen = true);
    let config = SubscriberConfig { witness: Some(Arc::new(Knows(storage.clone()))), ..scene.config() };
    let mut subscriber = scene.start(config);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    let frozen = scene.newer.look(Clone::clone);
    scene.publishes("/b").await;
    let published = scene.newer.look(Clone::clone);
    storage.set(|queue| *queue = published);
    scene.newer.set(|queue| *queue = frozen);
    verdict_within(&mut subscriber, Verdict::Stale, HOUR).await;
    sleep(HOUR).await;
    let view = subscriber.view().borrow().clone();
    assert_eq!((view.verdict.verdict, view.accused), (Verdict::Stale, None));
}
