//! Time at a reader: silence, pulses, promises. [P-16] Time is the test's: it passes when nothing else does.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_client::subscriber::Clock;
use tidings_client::{State, Subscriber, SubscriberConfig, VerdictReport};
use tidings_core::Pulse;
use tidings_core::reader::Verdict;
use tidings_proto::{HeadNumber, HeadRank, QueueId, Timestamp};
use tokio::time::Instant;

use crate::peer::{Peer, Peers};
use crate::{follow_at, memory, owner_key, published, publisher, put, reader_key, verdict, verdict_within, view_is};

/// In the test's time.
const DAYS: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// The machine's clock at the start of the test, and from then on the test's time.
pub(crate) fn clock() -> Clock {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let start = Instant::now();
    Arc::new(move || Timestamp::new(u64::try_from((since + start.elapsed()).as_millis()).expect("a time")))
}

/// Pulses of the owner for what `peer` stands at.
pub(crate) struct Owner {
    pub(crate) peer: Peer,
    pub(crate) clock: Clock,
}

impl Owner {
    pub(crate) fn pulse(&self, promise: Duration) -> Pulse {
        let (queue, rank, head) =
            self.peer.look(|queue| queue.heads.last().map(|head| (head.head().queue, head.rank(), head.hash())).expect("a head"));
        let time = (self.clock)();
        let next = match promise.as_millis() {
            0 => 0,
            promise => time.value() + u64::try_from(promise).expect("small"),
        };
        Pulse { queue, rank, head, time, next: Timestamp::new(next) }
    }

    pub(crate) fn says(&self, pulse: &Pulse) {
        let signed = pulse.sign(&owner_key());
        self.peer.set(|queue| queue.pulse = Some(signed));
    }
}

async fn pair() -> (Owner, Peer, State, QueueId) {
    pair_at(&[1]).await
}

/// An owner whose queue a peer holds, and a reader that follows it at these ports.
async fn pair_at(ports: &[u16]) -> (Owner, Peer, State, QueueId) {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow_at(&publisher, &reader, ports).await;
    published(&publisher, &[put("/a", "1")]).await;
    publisher.close().await;
    (Owner { peer: peer.clone(), clock: clock() }, peer, reader, queue)
}

fn reading(reader: &State, queue: QueueId, peers: Arc<Peers>, owner: &Owner) -> Subscriber {
    let mut config = SubscriberConfig::new(peers);
    config.clock = owner.clock.clone();
    Subscriber::start(reader.clone(), reader_key(), queue, config).expect("started")
}

async fn stale(subscriber: &mut Subscriber) -> VerdictReport {
    verdict_within(subscriber, Verdict::Stale, DAYS).await
}

/// [P-16] A broker that announces a head and keeps its entries back was waited for without end.
#[tokio::test(start_paused = true)]
async fn a_broker_that_owes_a_delta_and_sends_nothing_is_left() {
    let (owner, peer, reader, queue) = pair().await;
    peer.set(|queue| queue.silent = true);
    let begun = Instant::now();
    let mut subscriber = reading(&reader, queue, Peers::one(&peer), &owner);
    let report = tokio::time::timeout(DAYS, subscriber.caught_up()).await.expect("in time").expect_err("nothing comes");
    assert_eq!((report.verdict, report.detail.as_str()), (Verdict::Stale, "the broker owes a delta and sends nothing"));
    assert!(begun.elapsed() >= Duration::from_secs(30));
    peer.set(|queue| queue.silent = false);
    verdict(&mut subscriber, Verdict::UpToDate).await;
}

/// [P-16]
#[tokio::test(start_paused = true)]
async fn a_withheld_pulse_makes_the_view_stale_and_a_fresh_one_up_to_date_again() {
    let (owner, peer, reader, queue) = pair().await;
    let mut subscriber = reading(&reader, queue, Peers::one(&peer), &owner);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    let first = owner.pulse(Duration::from_secs(180));
    owner.says(&first);
    let report = stale(&mut subscriber).await;
    assert_eq!(report.detail, "the owner promised to be heard of by now and was not");
    assert_eq!(report.as_of, first.time);
    let late = (owner.clock)();
    assert!(late >= first.next && late.value() < first.next.value() + 1_000, "{late:?} {first:?}");
    owner.says(&owner.pulse(Duration::from_secs(180)));
    assert!(verdict(&mut subscriber, Verdict::UpToDate).await.as_of >= late);
}

/// [P-16] An owner that is silent for days and says so is believed.
#[tokio::test(start_paused = true)]
async fn a_promise_that_is_longer_than_the_maximum_age_counts() {
    let (owner, peer, reader, queue) = pair().await;
    let promise = Duration::from_secs(3 * 24 * 60 * 60);
    let pulse = owner.pulse(promise);
    owner.says(&pulse);
    let mut subscriber = reading(&reader, queue, Peers::one(&peer), &owner);
    stale(&mut subscriber).await;
    assert!((owner.clock)() >= pulse.next);
}

/// [P-16]
#[tokio::test(start_paused = true)]
async fn a_pulse_without_a_promise_begins_the_maximum_age_anew() {
    let (owner, peer, reader, queue) = pair().await;
    let mut subscriber = reading(&reader, queue, Peers::one(&peer), &owner);
    subscriber.caught_up().await.expect("caught up");
    tokio::time::advance(Duration::from_secs(20 * 60 * 60)).await;
    let pulse = owner.pulse(Duration::ZERO);
    owner.says(&pulse);
    view_is(&subscriber, |view| view.verdict.as_of == pulse.time).await;
    let report = stale(&mut subscriber).await;
    assert_eq!(report.detail, "the owner has signed nothing for longer than the maximum age");
    assert!((owner.clock)().value() >= pulse.time.value() + 24 * 60 * 60 * 1_000);
}

/// [P-16] The broker shows an old head and passes on the owner's word that there is a newer one.
#[tokio::test(start_paused = true)]
async fn a_head_that_a_pulse_names_and_the_broker_does_not_show_is_read_at_the_next() {
    let (owner, peer, reader, queue) = pair_at(&[1, 2]).await;
    let second = peer.twin();
    let peers = Arc::new(Peers(vec![(1, peer.clone()), (2, second.clone())]));
    let mut subscriber = reading(&reader, queue, peers, &owner);
    verdict(&mut subscriber, Verdict::UpToDate).await;
    let newest = owner.pulse(Duration::from_secs(180));
    let ahead = HeadRank { number: HeadNumber::new(newest.rank.number.value() + 1), ..newest.rank };
    let begun = Instant::now();
    owner.says(&Pulse { rank: ahead, ..newest });
    let report = stale(&mut subscriber).await;
    assert_eq!(report.detail, "the owner signed a newer head than this broker shows");
    assert!(begun.elapsed() >= Duration::from_secs(30));
    second.until(|queue| queue.dials > 0).await;
}
