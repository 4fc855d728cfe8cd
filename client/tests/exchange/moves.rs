//! Readers of a queue that moves, ends, or goes on from an earlier head.

use std::sync::Arc;
use std::time::Duration;

use tidings_client::{
    BrokerState, Event, FollowError, MoveError, Publisher, PublisherConfig, Rewound, State, Subscriber, SubscriberConfig,
};
use tidings_core::Invitation;
use tidings_core::reader::Verdict;
use tidings_proto::{BrokerAddress, QueueId};

use crate::peer::{Peer, Peers};
use crate::{LONG, changes, follow_at, memory, owner_key, path, published, put, reader_key, verdict, view_is};

fn addresses(ports: &[u16]) -> Vec<BrokerAddress> {
    ports.iter().map(|port| Peer::address(*port)).collect()
}

fn two() -> Arc<Peers> {
    Arc::new(Peers(vec![(1, Peer::new()), (2, Peer::new())]))
}

fn owner(state: &State, peers: &Arc<Peers>, ports: &[u16]) -> Publisher {
    Publisher::open(state.clone(), owner_key(), PublisherConfig::new(peers.clone(), addresses(ports))).expect("opened")
}

fn reader(state: &State, queue: QueueId, peers: &Arc<Peers>) -> Subscriber {
    Subscriber::start(state.clone(), reader_key(), queue, SubscriberConfig::new(peers.clone())).expect("started")
}

async fn reads(subscriber: &mut Subscriber, wanted: &str) {
    loop {
        let found = changes(subscriber).await;
        if found.iter().any(|change| change.path == path(wanted)) {
            return;
        }
    }
}

/// [P-13] A closed head ends the service of a broker, not the queue.
#[tokio::test]
async fn a_reader_goes_on_to_the_next_broker_when_its_own_is_closed() {
    let (state, peers) = (memory(), two());
    let publisher = owner(&memory(), &peers, &[1, 2]);
    published(&publisher, &[put("/a", "1")]).await;
    let queue = follow_at(&publisher, &state, &[1, 2]).await;
    let mut subscriber = reader(&state, queue, &peers);
    reads(&mut subscriber, "/a").await;
    publisher.set_brokers(addresses(&[2]), String::new(), LONG).await.expect("moved");
    published(&publisher, &[put("/b", "1")]).await;
    reads(&mut subscriber, "/b").await;
}

/// [P-13] Where the queue is now, a reader learns from its grant; its invitation may be of before.
#[tokio::test]
async fn a_reader_goes_to_the_broker_that_its_newest_grant_names() {
    let (state, peers) = (memory(), two());
    let publisher = owner(&memory(), &peers, &[1, 2]);
    published(&publisher, &[put("/a", "1")]).await;
    let queue = follow_at(&publisher, &state, &[1]).await;
    let mut subscriber = reader(&state, queue, &peers);
    reads(&mut subscriber, "/a").await;
    publisher.set_brokers(addresses(&[2]), Peer::address(2).to_string(), LONG).await.expect("moved");
    published(&publisher, &[put("/b", "1")]).await;
    reads(&mut subscriber, "/b").await;
}

/// [P-13] The reader was away while the queue moved. Grant and closed head came in one step, and it went past the new broker to the
/// storage, which had nothing.
#[tokio::test]
async fn a_reader_that_hears_of_a_move_from_the_closed_broker_goes_to_the_new_one_first() {
    let (state, peers, storage) = (memory(), two(), Peer::new());
    let publisher = owner(&memory(), &peers, &[1, 2]);
    published(&publisher, &[put("/a", "1")]).await;
    let queue = follow_at(&publisher, &state, &[1]).await;
    let mut subscriber = reader(&state, queue, &peers);
    reads(&mut subscriber, "/a").await;
    subscriber.close().await;
    publisher.set_brokers(addresses(&[2]), Peer::address(2).to_string(), LONG).await.expect("moved");
    published(&publisher, &[put("/b", "1")]).await;
    let mut config = SubscriberConfig::new(peers.clone());
    config.storage = Some(Arc::new(Peers(vec![(1, storage.clone())])));
    let mut subscriber = Subscriber::start(state.clone(), reader_key(), queue, config).expect("started");
    reads(&mut subscriber, "/b").await;
    assert_eq!(storage.look(|storage| storage.dials), 0);
}

/// A publisher whose grants name the brokers at these ports.
fn named(state: &State, peers: &Arc<Peers>, ports: &[u16]) -> Publisher {
    let config = PublisherConfig { locator: locator(ports), ..PublisherConfig::new(peers.clone(), addresses(ports)) };
    Publisher::open(state.clone(), owner_key(), config).expect("opened")
}

fn locator(ports: &[u16]) -> String {
    addresses(ports).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What the newest grant says to a reader that begins now.
async fn told(state: &State, queue: QueueId, peers: &Arc<Peers>, wanted: &str) -> String {
    let mut subscriber = reader(state, queue, peers);
    reads(&mut subscriber, wanted).await;
    subscriber.close().await;
    Subscriber::follows(state).expect("read").remove(0).locator
}

/// A move that was given up had told readers of the new brokers already: they left one that had everything for one that was dead. [P-13]
#[tokio::test]
async fn a_move_that_is_given_up_before_it_begins_tells_readers_nothing() {
    let (state, peers) = (memory(), two());
    let publisher = named(&memory(), &peers, &[1]);
    published(&publisher, &[put("/a", "1")]).await;
    let queue = follow_at(&publisher, &state, &[1]).await;
    peers.0[1].1.set(|queue| queue.away = true);
    let head = publisher.mark().borrow().signed;
    let moved = publisher.set_brokers(addresses(&[2]), locator(&[2]), Duration::from_millis(50)).await;
    assert!(matches!(moved, Err(MoveError::NotHeld)), "{moved:?}");
    assert_eq!(publisher.mark().borrow().signed, head);
    published(&publisher, &[put("/b", "1")]).await;
    assert_eq!(told(&state, queue, &peers, "/b").await, locator(&[1]));
}

/// The broker that stays had everything and fails before it has the grants: they name again what they named. [P-13]
#[tokio::test]
async fn a_move_that_is_given_up_in_its_course_names_what_grants_named_before() {
    let (state, peers) = (memory(), two());
    let publisher = owner(&memory(), &peers, &[1, 2]);
    publisher.set_brokers(addresses(&[1, 2]), locator(&[1]), LONG).await.expect("set");
    let queue = follow_at(&publisher, &state, &[1]).await;
    published(&publisher, &[put("/a", "1")]).await;
    let second = &peers.0[1].1;
    let held = publisher.mark().borrow().signed.number;
    second.until(|queue| queue.heads.last().is_some_and(|head| head.rank().number == held)).await;
    second.set(|queue| queue.hold_receipts = true);
    let moved = publisher.set_brokers(addresses(&[2]), locator(&[2]), Duration::from_millis(500)).await;
    assert!(matches!(moved, Err(MoveError::NotHeld)), "{moved:?}");
    let open = publisher.status().expect("read").head;
    peers.0[0].1.until(|queue| queue.heads.last().is_some_and(|head| head.rank() >= open)).await;
    published(&publisher, &[put("/b", "1")]).await;
    assert_eq!(told(&state, queue, &peers, "/b").await, locator(&[1]));
}

/// An owner that was killed while it added a broker, or whose settings somebody edited, never told its readers. [P-13]
#[tokio::test]
async fn readers_are_told_once_of_places_that_changed_while_the_owner_was_away() {
    let (own, state, peers) = (memory(), memory(), two());
    let before = named(&own, &peers, &[1]);
    published(&before, &[put("/a", "1")]).await;
    let queue = follow_at(&before, &state, &[1]).await;
    let head = before.mark().borrow().signed.number;
    before.close().await;
    for _ in 0..2 {
        let after = named(&own, &peers, &[1, 2]);
        let mut mark = after.mark();
        let told = mark.wait_for(|mark| mark.signed.number > head && mark.receipted == mark.signed);
        let told = tokio::time::timeout(LONG, told).await.expect("in time").expect("open").signed.number;
        assert_eq!(told.value(), head.value() + 1);
        after.close().await;
    }
    assert_eq!(told(&state, queue, &peers, "/a").await, locator(&[1, 2]));
}

/// A broker that froze kept everything back for as long as the whole move might take. [P-13]
#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_take_the_closed_head_holds_publishing_up_for_ten_seconds() {
    let peers = two();
    let publisher = named(&memory(), &peers, &[1, 2]);
    published(&publisher, &[put("/a", "1")]).await;
    crate::broker_is(&publisher, 0, BrokerState::Connected).await;
    peers.0[0].1.set(|queue| queue.hold_receipts = true);
    let (began, moving) = (tokio::time::Instant::now(), publisher.clone());
    let moved = tokio::spawn(async move { moving.set_brokers(addresses(&[2]), locator(&[2]), Duration::from_secs(3_600)).await });
    let moved = moved.await.expect("ended").expect("moved");
    assert_eq!(moved.uninformed, addresses(&[1]));
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
    published(&publisher, &[put("/b", "1")]).await;
}

/// An invitation named for ever the brokers of the day when it was first given out. [P-13]
#[tokio::test]
async fn a_repeated_grant_names_the_brokers_of_now_and_a_reader_takes_them() {
    let (state, peers) = (memory(), two());
    let publisher = named(&memory(), &peers, &[1, 2]);
    published(&publisher, &[put("/a", "1")]).await;
    let queue = follow_at(&publisher, &state, &[1]).await;
    let mut subscriber = reader(&state, queue, &peers);
    reads(&mut subscriber, "/a").await;
    subscriber.close().await;
    let grant = || publisher.grant(reader_key().card(), "reader".into());
    let first = grant().await.expect("known");
    assert_eq!(grant().await.expect("known"), first);
    publisher.set_brokers(addresses(&[2]), locator(&[2]), LONG).await.expect("moved");
    peers.0[0].1.set(|queue| queue.away = true);
    published(&publisher, &[put("/b", "1")]).await;
    let second = grant().await.expect("known");
    assert_eq!(grant().await.expect("known"), second);
    let [old, new] = [&first, &second].map(|text| Invitation::parse(text).expect("an invitation"));
    assert_eq!((old.addresses.len(), new.addresses), (2, vec![Peer::address(2).to_string()]));
    let new = Invitation::parse(&second).expect("an invitation");
    Subscriber::follow_again(&state, &reader_key(), &new, "").expect("taken");
    // An old one again takes nothing away.
    Subscriber::follow_again(&state, &reader_key(), &old, "").expect("known");
    let follow = Subscriber::follows(&state).expect("read").remove(0);
    assert_eq!((follow.locator, follow.name), (locator(&[2]), "owner".to_owned()));
    let mut subscriber = reader(&state, queue, &peers);
    reads(&mut subscriber, "/b").await;
}

/// Access that ended and was granted anew is another one: what was read stays. The invitation of before brings it back no more. [P-17]
#[tokio::test]
async fn a_reader_that_is_granted_again_goes_on_from_what_it_holds() {
    let (state, peers) = (memory(), two());
    let publisher = named(&memory(), &peers, &[1]);
    published(&publisher, &[put("/a", "1")]).await;
    let grant = || publisher.grant(reader_key().card(), "reader".into());
    let first = grant().await.expect("granted");
    let queue = follow_at(&publisher, &state, &[1]).await;
    let mut subscriber = reader(&state, queue, &peers);
    reads(&mut subscriber, "/a").await;
    subscriber.close().await;
    let readers = publisher.readers().await.expect("open");
    publisher.revoke(&readers.iter().find(|reader| !reader.owner).expect("one").pseudonym).await.expect("revoked");
    let second = Invitation::parse(&grant().await.expect("granted")).expect("an invitation");
    Subscriber::follow_again(&state, &reader_key(), &second, "").expect("taken");
    published(&publisher, &[put("/b", "1")]).await;
    let mut subscriber = reader(&state, queue, &peers);
    reads(&mut subscriber, "/b").await;
    assert!(Subscriber::value(&state, &queue, &path("/a")).expect("read").is_some());
    subscriber.close().await;
    let first = Invitation::parse(&first).expect("an invitation");
    let old = Subscriber::follow_again(&state, &reader_key(), &first, "");
    assert!(matches!(old, Err(FollowError::OldInvitation)), "{old:?}");
}

/// [P-13]
#[tokio::test]
async fn a_queue_that_is_closed_everywhere_is_up_to_date_and_says_so() {
    let (state, peers) = (memory(), two());
    let publisher = owner(&memory(), &peers, &[1, 2]);
    published(&publisher, &[put("/a", "1")]).await;
    let queue = follow_at(&publisher, &state, &[1, 2]).await;
    let subscriber = reader(&state, queue, &peers);
    publisher.leave_all_brokers(String::new(), LONG).await.expect("closed");
    let view = view_is(&subscriber, |view| view.verdict.detail == "closed by its owner").await;
    assert_eq!(view.verdict.verdict, Verdict::UpToDate);
}

/// [P-14] The owner lost what it had signed and went on without it: the reader is told, and follows.
#[tokio::test]
async fn a_reader_of_a_queue_that_was_rewound_is_told_what_is_gone_and_follows() {
    is_told_what_is_gone(Duration::from_secs(86_400), Verdict::UpToDate).await;
}

/// A rewind stood for ever as an accusation where the view that came of it was too old to be called up to date. [P-14]
#[tokio::test]
async fn a_rewind_ends_with_the_new_view_however_old_that_is() {
    is_told_what_is_gone(Duration::ZERO, Verdict::Stale).await;
}

async fn is_told_what_is_gone(max_age: Duration, wanted: Verdict) {
    let (home, state, peer) = (tempfile::tempdir().expect("a folder"), memory(), Peer::new());
    let file = home.path().join("state.redb");
    let first = owner(&State::open(&file).expect("opened"), &Peers::one(&peer), &[1]);
    published(&first, &[put("/a", "1")]).await;
    let queue = follow_at(&first, &state, &[1]).await;
    first.close().await;
    let (copy, branch) = (home.path().join("copy.redb"), peer.twin());
    std::fs::copy(&file, &copy).expect("copied");

    let ahead = owner(&State::open(&file).expect("opened"), &Peers::one(&peer), &[1]);
    published(&ahead, &[put("/gone", "1")]).await;
    let mut subscriber = reader(&state, queue, &Peers::one(&peer));
    reads(&mut subscriber, "/gone").await;
    subscriber.close().await;
    let other = owner(&State::open(&copy).expect("opened"), &Peers::one(&branch), &[1]);
    published(&other, &[put("/b", "1")]).await;

    let config = SubscriberConfig { max_age, ..SubscriberConfig::new(Peers::one(&branch)) };
    let mut subscriber = Subscriber::start(state.clone(), reader_key(), queue, config).expect("started");
    verdict(&mut subscriber, Verdict::Rewound).await;
    let told = async {
        loop {
            if let Event::Rewound(rewound) = subscriber.next().await.expect("running") {
                return rewound;
            }
        }
    };
    let rewound = tokio::time::timeout(LONG, told).await.expect("in time");
    assert_eq!((&rewound.gone, rewound.gone_count), (&vec![path("/gone")], 1));
    view_is(&subscriber, |view| view.verdict.verdict == wanted).await;
    assert!(Subscriber::value(&state, &queue, &path("/b")).expect("read").is_some());
    is_told_until_it_is_acknowledged(subscriber, &state, queue, &Peers::one(&branch), &rewound).await;
}

/// The process that was told may have ended before a person was.
async fn is_told_until_it_is_acknowledged(told: Subscriber, state: &State, queue: QueueId, peers: &Arc<Peers>, rewound: &Rewound) {
    told.close().await;
    let mut again = reader(state, queue, peers);
    assert_eq!(again.next().await, Some(Event::Rewound(rewound.clone())), "before all else");
    again.acknowledge_rewound(rewound).expect("written");
    again.close().await;
    let mut silent = reader(state, queue, peers);
    loop {
        match silent.next().await.expect("running") {
            Event::Rewound(rewound) => panic!("told again: {rewound:?}"),
            Event::CaughtUp(_) => return,
            _ => {}
        }
    }
}
