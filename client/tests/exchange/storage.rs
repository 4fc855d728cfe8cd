//! The owner's storage as a second route and as a second opinion. [P-21] Here both are peers: what they really read is not the
//! subscriber's matter.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidings_client::{Publisher, State, Subscriber, SubscriberConfig, VerdictReport, Witness};
use tidings_core::reader::{Evidence, Verdict};
use tidings_core::{Object, SignedHead};
use tidings_proto::QueueId;
use tokio::time::Instant;

use crate::peer::{Damage, Peer, Peers};
use crate::{LONG, follow_at, memory, published, publisher, put, reader_key, verdict, verdict_within, view_is};

/// In the test's time.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Port under which storage is dialled.
const STORAGE: u16 = 1;

/// An owner with a broker at port 2, and a reader that follows it there or nowhere.
struct Scene {
    publisher: Publisher,
    broker: Peer,
    reader: State,
    queue: QueueId,
    evidence: TempDir,
}

impl Scene {
    async fn new(ports: &[u16]) -> Self {
        let (reader, broker) = (memory(), Peer::new());
        let publisher = publisher(&memory(), &broker);
        let queue = follow_at(&publisher, &reader, ports).await;
        published(&publisher, &[put("/a", "1"), put("/b", "1")]).await;
        Self { publisher, broker, reader, queue, evidence: tempfile::tempdir().expect("a folder") }
    }

    fn config(&self) -> SubscriberConfig {
        let mut config = SubscriberConfig::new(Arc::new(Peers(vec![(2, self.broker.clone())])));
        config.evidence_dir = Some(self.evidence.path().to_owned());
        config
    }

    fn start(&self, config: SubscriberConfig) -> Subscriber {
        Subscriber::start(self.reader.clone(), reader_key(), self.queue, config).expect("started")
    }

    fn with_storage(&self, storage: &Peer) -> Subscriber {
        self.start(SubscriberConfig { storage: Some(Arc::new(Peers(vec![(STORAGE, storage.clone())]))), ..self.config() })
    }

    fn with_witness(&self, witness: &Peer) -> Subscriber {
        self.start(SubscriberConfig { witness: Some(Arc::new(Knows(witness.clone()))), ..self.config() })
    }

    fn evidence_of(&self, report: &VerdictReport) -> Evidence {
        let file = std::fs::read(report.evidence.as_ref().expect("evidence")).expect("a file");
        Evidence::decode(&file).expect("evidence")
    }
}

/// A witness that knows what a peer stands at.
pub(crate) struct Knows(pub(crate) Peer);

impl Witness for Knows {
    fn newest<'a>(&'a self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + 'a>> {
        Box::pin(std::future::ready(self.0.look(|queue| queue.heads.last().map(|head| head.bytes().clone()))))
    }
}

/// [P-21]
#[tokio::test]
async fn without_any_broker_the_storage_is_read_and_named() {
    let scene = Scene::new(&[]).await;
    let mut subscriber = scene.with_storage(&scene.broker.twin());
    let caught_up = subscriber.caught_up().await.expect("caught up");
    let report = verdict(&mut subscriber, Verdict::UpToDate).await;
    assert_eq!((report.detail.as_str(), report.as_of), ("from storage", caught_up.as_of));
    assert_eq!(subscriber.list("").expect("read").len(), 2);
}

/// [P-21] The storage is read while no broker answers, and left for the first that does.
#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_back_is_preferred_to_the_storage() {
    let scene = Scene::new(&[2]).await;
    let storage = scene.broker.twin();
    scene.broker.set(|queue| queue.away = true);
    let mut subscriber = scene.with_storage(&storage);
    assert_eq!(verdict(&mut subscriber, Verdict::UpToDate).await.detail, "from storage");
    scene.broker.set(|queue| queue.away = false);
    assert_eq!(verdict(&mut subscriber, Verdict::UpToDate).await.detail, "");
    published(&scene.publisher, &[put("/c", "1")]).await;
    view_is(&subscriber, |view| view.caught_up.is_some_and(|caught_up| caught_up.cursor.rank.number.value() == 3)).await;
}

/// [P-21] Storage where nothing was ever written said of every outage that the view is stale, and nothing of the broker.
#[tokio::test(start_paused = true)]
async fn storage_that_has_nothing_does_not_hide_that_no_broker_can_be_reached() {
    let scene = Scene::new(&[2]).await;
    scene.broker.set(|queue| queue.away = true);
    let mut subscriber = scene.with_storage(&Peer::new());
    let report = tokio::time::timeout(HOUR, subscriber.caught_up()).await.expect("in time").expect_err("nobody has it");
    assert_eq!((report.verdict, report.detail.as_str()), (Verdict::Offline, "no broker answers at peer: away"));
}

/// [P-21] Storage that is behind is no evidence against anybody.
#[tokio::test(start_paused = true)]
async fn storage_that_is_behind_is_stale_and_accuses_nobody() {
    let scene = Scene::new(&[2]).await;
    let storage = scene.broker.twin();
    published(&scene.publisher, &[put("/c", "1")]).await;
    let mut subscriber = scene.with_storage(&storage);
    subscriber.caught_up().await.expect("caught up");
    scene.broker.set(|queue| queue.away = true);
    let report = verdict(&mut subscriber, Verdict::Stale).await;
    assert_eq!(report.detail, "the storage lags behind what was seen before");
    assert_eq!(scene.evidence.path().read_dir().expect("a folder").count(), 0);
}

/// [P-14] [P-21]
#[tokio::test]
async fn storage_that_contradicts_itself_is_stale_unless_its_set_is_not_the_signed_one() {
    let scene = Scene::new(&[]).await;
    let storage = scene.broker.twin();
    storage.set(|queue| queue.false_proofs = true);
    let mut subscriber = scene.with_storage(&storage);
    let report = verdict(&mut subscriber, Verdict::Stale).await;
    assert!(report.detail.starts_with("the owner's storage cannot be read as it is"), "{}", report.detail);
    storage.set(|queue| (queue.false_proofs, queue.withhold) = (false, true));
    let report = verdict(&mut subscriber, Verdict::Withheld).await;
    assert_eq!(scene.evidence_of(&report).broker, "the storage");
}

/// [P-21] The broker takes a publish and never shows it; the storage does.
#[tokio::test(start_paused = true)]
async fn a_broker_that_shows_less_than_the_storage_is_stale_at_once_and_accused_after_the_grace() {
    let scene = Scene::new(&[2]).await;
    let mut subscriber = scene.with_witness(&scene.broker);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    scene.broker.set(|queue| queue.frozen = true);
    published(&scene.publisher, &[put("/c", "1")]).await;
    let report = verdict_within(&mut subscriber, Verdict::Stale, HOUR).await;
    assert_eq!(report.detail, "the owner's storage shows a newer head than this broker");
    let stale_since = Instant::now();
    let report = verdict_within(&mut subscriber, Verdict::Withheld, HOUR).await;
    assert!(stale_since.elapsed() >= Duration::from_secs(10 * 60) && stale_since.elapsed() < Duration::from_secs(10 * 60 + 1));
    let numbers: Vec<_> = scene.evidence_of(&report).announced.into_iter().map(number).collect();
    assert_eq!(numbers, [2, 3]);
}

fn number(head: Bytes) -> u64 {
    SignedHead::parse(head).expect("a head").rank().number.value()
}

/// [P-21] A broker that is slower than the storage is no liar.
#[tokio::test(start_paused = true)]
async fn a_broker_that_catches_up_with_the_storage_in_time_is_not_accused() {
    let scene = Scene::new(&[2]).await;
    let mut subscriber = scene.with_witness(&scene.broker);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    scene.broker.set(|queue| queue.frozen = true);
    published(&scene.publisher, &[put("/c", "1")]).await;
    verdict_within(&mut subscriber, Verdict::Stale, HOUR).await;
    scene.broker.set(|queue| queue.frozen = false);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    tokio::time::advance(Duration::from_secs(11 * 60)).await;
    published(&scene.publisher, &[put("/d", "1")]).await;
    let view = view_is(&subscriber, |view| view.caught_up.is_some_and(|caught_up| caught_up.cursor.rank.number.value() == 4)).await;
    assert_eq!(view.verdict.verdict, Verdict::UpToDate);
}

/// [P-21]
#[tokio::test(start_paused = true)]
async fn a_witness_that_knows_less_or_the_same_changes_nothing() {
    let scene = Scene::new(&[2]).await;
    let witness = scene.broker.twin();
    published(&scene.publisher, &[put("/c", "1")]).await;
    let mut subscriber = scene.with_witness(&witness);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    let view = subscriber.view();
    tokio::time::advance(HOUR).await;
    assert_eq!(view.borrow().verdict.verdict, Verdict::UpToDate);
}

/// [P-14] What was announced and cannot be served is kept back, whoever is to blame for the disk.
#[tokio::test]
async fn a_broker_that_says_its_storage_is_damaged_is_named_with_its_words_until_it_serves() {
    let scene = Scene::new(&[2]).await;
    scene.broker.set(|queue| queue.damaged = Some(Damage::AfterHead));
    let mut subscriber = scene.start(scene.config());
    let report = verdict(&mut subscriber, Verdict::Withheld).await;
    assert_eq!(report.detail, "the broker says that its storage of this queue is damaged: scripted");
    assert_eq!(scene.evidence_of(&report).detail, report.detail);
    scene.broker.set(|queue| queue.damaged = None);
    verdict(&mut subscriber, Verdict::UpToDate).await;
}

/// [P-14] A reader that holds all that was announced lacks nothing.
#[tokio::test]
async fn damage_at_a_broker_of_what_the_reader_holds_whole_accuses_nobody() {
    let scene = Scene::new(&[2]).await;
    scene.broker.set(|queue| queue.damaged = Some(Damage::AfterDelta));
    let mut subscriber = scene.start(scene.config());
    subscriber.caught_up().await.expect("caught up");
    verdict(&mut subscriber, Verdict::Stale).await;
    let dials = scene.broker.look(|queue| queue.dials);
    tokio::time::timeout(LONG, scene.broker.until(|queue| queue.dials > dials + 1)).await.expect("tried again");
    assert_eq!(scene.evidence.path().read_dir().expect("a folder").count(), 0);
}

/// A lie was once lost when the storage led to a verified view at once: whoever looked at the view saw nothing of it. [P-14]
#[tokio::test(start_paused = true)]
async fn an_accusation_is_still_seen_when_the_storage_has_led_to_a_verified_view() {
    let scene = Scene::new(&[2]).await;
    let storage = scene.broker.twin();
    scene.broker.set(|queue| queue.withhold = true);
    let subscriber = scene.with_storage(&storage);
    view_is(&subscriber, |view| view.verdict.verdict == Verdict::UpToDate).await;
    let accused = subscriber.view().borrow().accused.clone();
    assert_eq!(accused.map(|(_, report)| report.verdict), Some(Verdict::Withheld));
}
