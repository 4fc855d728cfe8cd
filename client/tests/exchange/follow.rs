//! The reader's side: changes, acknowledgements and verdicts.

use std::sync::Arc;
use std::time::Duration;

use tidings_client::{FollowError, Publisher, PublisherConfig, Row, Subscriber, SubscriberConfig, View};
use tidings_core::reader::{ChangeKind, Evidence, Verdict};
use tidings_core::{Acknowledgement, Invitation, Object};
use tidings_proto::{HeadNumber, RefusalCode};

use crate::peer::{Peer, Peers};
use crate::{
    changes, delete, follow, ids, kinds, memory, owner_key, path, published, publisher, put, reader_key, subscriber, verdict, view_is,
};

/// [P-15]
#[tokio::test]
async fn a_reader_gets_the_net_change_of_each_record() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1"), put("/b", "1")]).await;
    published(&publisher, &[put("/a", "2"), delete("/b")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    let caught_up = subscriber.caught_up().await.expect("caught up");
    assert_eq!(caught_up.cursor.rank.number, HeadNumber::new(3));
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/a", ChangeKind::Create)]);
    assert_eq!(subscriber.get(&path("/a")).expect("read").expect("there").mutation.inline.as_deref(), Some(&b"2"[..]));
    published(&publisher, &[put("/a", "3")]).await;
    published(&publisher, &[delete("/a")]).await;
    let mut last = Vec::new();
    while last != [("/a".to_owned(), ChangeKind::Delete)] {
        last = changes(&mut subscriber).await.into_iter().map(|change| (change.path.as_str().to_owned(), change.kind)).collect();
    }
    subscriber.close().await;
}

/// [P-15]
#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_what_is_does_not() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1"), put("/b", "1")]).await;
    let mut first = subscriber(&reader, queue, &peer);
    let handed = changes(&mut first).await;
    first.acknowledge(&ids(&handed[..1])).expect("kept");
    first.close().await;
    let mut second = subscriber(&reader, queue, &peer);
    assert_eq!(changes(&mut second).await, handed[1..]);
}

/// [P-15] A create that was handed out and not acknowledged does not cancel out with its delete.
#[tokio::test]
async fn a_delete_of_a_record_that_was_handed_out_is_handed_out() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/a", ChangeKind::Create)]);
    published(&publisher, &[delete("/a")]).await;
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/a", ChangeKind::Delete)]);
}

/// [P-15]
#[tokio::test]
async fn the_acknowledgement_follows_the_commit_of_the_application_and_reaches_the_owner() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    let handed = changes(&mut subscriber).await;
    assert!(peer.look(|queue| queue.acknowledged.is_empty()));
    subscriber.acknowledge(&ids(&handed)).expect("kept");
    peer.until(|queue| !queue.acknowledged.is_empty()).await;
    let sent = peer.look(|queue| Acknowledgement::verify(&queue.acknowledged[0]).expect("signed"));
    assert_eq!(sent.cursor, subscriber.status().expect("read").cursor);
    let readers = publisher.readers().await.expect("told");
    let listed = readers.iter().find(|reader| reader.name == "reader").expect("listed");
    assert_eq!((listed.acknowledged, listed.lag), (Some(sent.cursor), 0));
}

/// [P-6] [P-15]
#[tokio::test]
async fn a_tombstone_is_purged_once_its_readers_have_handled_it() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let mut config = PublisherConfig::new(Peers::one(&peer), vec![Peer::address(1)]);
    config.ask_readers_every = Duration::from_millis(1);
    let publisher = Publisher::open(owner, owner_key(), config).expect("opened");
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = subscriber(&reader, queue, &peer);
    let handed = changes(&mut subscriber).await;
    subscriber.acknowledge(&ids(&handed)).expect("kept");
    published(&publisher, &[delete("/a")]).await;
    let handed = changes(&mut subscriber).await;
    assert_eq!(peer.look(|queue| queue.live.len()), 1);
    subscriber.acknowledge(&ids(&handed)).expect("kept");
    peer.until(|queue| queue.live.is_empty()).await;
}

/// [P-14] A broker ends a subscription whose branch was replaced there: the reader begins again on the same connection, and says nothing
/// of anybody.
#[tokio::test]
async fn a_subscription_whose_branch_was_replaced_begins_again_on_its_connection() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let dials = peer.look(|queue| queue.dials);
    peer.set(|queue| queue.end_subscription = Some(RefusalCode::Conflict));
    let mut subscriber = subscriber(&reader, queue, &peer);
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/a", ChangeKind::Create)]);
    peer.until(|queue| queue.end_subscription.is_none()).await;
    published(&publisher, &[put("/b", "1")]).await;
    assert_eq!(kinds(&changes(&mut subscriber).await), [("/b", ChangeKind::Create)]);
    assert_eq!(peer.look(|queue| queue.dials), dials + 1);
    let view = subscriber.view().borrow().clone();
    assert_eq!((view.verdict.verdict, view.blocks, view.accused), (Verdict::UpToDate, 0, None));
    subscriber.close().await;
}

#[tokio::test]
async fn a_reader_without_a_broker_is_offline_and_still_reads_what_it_verified() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut online = subscriber(&reader, queue, &peer);
    let caught_up = online.caught_up().await.expect("caught up");
    online.close().await;
    peer.set(|queue| queue.away = true);
    let mut offline = subscriber(&reader, queue, &peer);
    let report = offline.caught_up().await.expect_err("nobody answers");
    assert_eq!((report.verdict, report.as_of), (Verdict::Offline, caught_up.as_of));
    assert_eq!(offline.list("/").expect("read").len(), 1);
    assert_eq!(kinds(&changes(&mut offline).await), [("/a", ChangeKind::Create)]);
    peer.set(|queue| queue.away = false);
    verdict(&mut offline, Verdict::UpToDate).await;
}

/// [P-14]
#[tokio::test]
async fn a_broker_that_withholds_is_named_with_evidence_in_a_file() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let folder = tempfile::tempdir().expect("a folder");
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1"), put("/b", "1")]).await;
    peer.set(|queue| queue.withhold = true);
    let mut config = SubscriberConfig::new(Peers::one(&peer));
    config.evidence_dir = Some(folder.path().join("evidence"));
    let mut subscriber = Subscriber::start(reader.clone(), reader_key(), queue, config).expect("started");
    let report = verdict(&mut subscriber, Verdict::Withheld).await;
    let file = std::fs::read(report.evidence.expect("evidence")).expect("a file");
    assert_eq!(Evidence::decode(&file).expect("evidence").verdict, Verdict::Withheld);
    assert!(subscriber.list("").expect("read").is_empty());
    let dials = peer.look(|queue| queue.dials);
    peer.until(|queue| queue.dials > dials + 2).await;
    assert_eq!(std::fs::read_dir(folder.path().join("evidence")).expect("a folder").count(), 1);
    peer.set(|queue| queue.withhold = false);
    verdict(&mut subscriber, Verdict::UpToDate).await;
}

/// [P-16]
#[tokio::test]
async fn what_the_owner_signed_too_long_ago_is_stale() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    let mut config = SubscriberConfig::new(Peers::one(&peer));
    config.max_age = Duration::ZERO;
    let mut subscriber = Subscriber::start(reader, reader_key(), queue, config).expect("started");
    let caught_up = subscriber.caught_up().await.expect("caught up");
    assert_eq!(verdict(&mut subscriber, Verdict::Stale).await.as_of, caught_up.as_of);
}

/// An offline start once repeated what the last session had found out, and said nothing when it found out the same.
#[tokio::test]
async fn a_session_begins_as_not_connected_and_tells_its_first_verdict_whatever_the_last_one_told() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    let mut online = subscriber(&reader, queue, &peer);
    verdict(&mut online, Verdict::UpToDate).await;
    online.close().await;
    peer.set(|queue| queue.away = true);
    for _ in 0..2 {
        let mut offline = subscriber(&reader, queue, &peer);
        let first = offline.view().borrow().clone();
        assert_eq!((first.verdict.verdict, first.verdict.detail.as_str()), (Verdict::Offline, "not connected yet"));
        assert_eq!((first.caught_up, first.connected, first.blocks), (None, false, 0));
        assert_ne!(verdict(&mut offline, Verdict::Offline).await.detail, "not connected yet");
        offline.close().await;
    }
}

/// [P-14] That a session begins clears nobody.
#[tokio::test]
async fn an_accusation_stands_when_the_next_session_begins() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    peer.set(|queue| queue.withhold = true);
    let mut first = subscriber(&reader, queue, &peer);
    verdict(&mut first, Verdict::Withheld).await;
    first.close().await;
    let second = subscriber(&reader, queue, &peer);
    assert_eq!(second.view().borrow().verdict.verdict, Verdict::Withheld);
}

#[tokio::test]
async fn any_number_of_tasks_can_see_that_a_follow_has_caught_up() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    let subscriber = subscriber(&reader, queue, &peer);
    let seen = |view: &View| view.connected && view.caught_up.is_some() && view.verdict.verdict == Verdict::UpToDate;
    let (one, other) = tokio::join!(view_is(&subscriber, seen), view_is(&subscriber, seen));
    assert_eq!(one, other);
}

/// [P-15] What the application keeps beside its acknowledgement is there exactly if the acknowledgement is.
#[tokio::test]
async fn rows_are_kept_together_with_the_acknowledgement() {
    const TABLE: &str = "test/printed";
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut first = subscriber(&reader, queue, &peer);
    let handed = changes(&mut first).await;
    first.acknowledge_with(&ids(&handed), &[Row::put(TABLE, *b"key", *b"value")]).expect("kept");
    assert_eq!(reader.row(TABLE, b"key").expect("read"), Some(b"value".to_vec()));
    assert_eq!(first.status().expect("read").pending, 0);
}

/// [P-13] [P-14] A broker that was restored from a backup lies about nothing: it is waited for until its owner has refilled it.
#[tokio::test]
async fn a_broker_that_comes_back_with_an_older_head_is_stale_until_it_is_refilled() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let folder = tempfile::tempdir().expect("a folder");
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    publisher.close().await;
    let mut config = SubscriberConfig::new(Peers::one(&peer));
    config.evidence_dir = Some(folder.path().to_owned());
    let mut subscriber = Subscriber::start(reader, reader_key(), queue, config).expect("started");
    verdict(&mut subscriber, Verdict::UpToDate).await;
    let mut newest = None;
    peer.set(|queue| (queue.away, newest) = (true, queue.heads.pop()));
    verdict(&mut subscriber, Verdict::Offline).await;
    peer.set(|queue| queue.away = false);
    assert_eq!(verdict(&mut subscriber, Verdict::Stale).await.detail, "the broker lags behind what was seen before");
    peer.set(|queue| queue.heads.extend(newest));
    verdict(&mut subscriber, Verdict::UpToDate).await;
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}

/// [P-13]
#[tokio::test]
async fn a_broker_that_lags_is_left_for_the_next_and_nobody_is_accused() {
    let (owner, reader, first, second) = (memory(), memory(), Peer::new(), Peer::new());
    let dial = Arc::new(Peers(vec![(1, first.clone()), (2, second.clone())]));
    let publisher =
        Publisher::open(owner, owner_key(), PublisherConfig::new(dial.clone(), vec![Peer::address(1), Peer::address(2)])).expect("opened");
    let queue = follow(&publisher, &reader).await;
    published(&publisher, &[put("/a", "1")]).await;
    let mut subscriber = Subscriber::start(reader.clone(), reader_key(), queue, SubscriberConfig::new(dial.clone())).expect("started");
    subscriber.caught_up().await.expect("caught up");
    subscriber.close().await;
    first.set(|queue| drop(queue.heads.pop()));
    let mut again = Subscriber::start(reader, reader_key(), queue, SubscriberConfig::new(dial)).expect("started");
    let report = again.caught_up().await.expect_err("it lags, the other is empty");
    assert_eq!(report.verdict, Verdict::Stale);
}

#[tokio::test]
async fn a_follow_is_begun_once_and_ends_without_a_trace() {
    let (owner, reader, peer) = (memory(), memory(), Peer::new());
    let publisher = publisher(&owner, &peer);
    let queue = follow(&publisher, &reader).await;
    let text = publisher.grant(reader_key().card(), "reader".into()).await.expect("the same");
    let invitation = Invitation::parse(&text).expect("an invitation");
    // Said before the grant is opened, which after a revocation need not be this node's any more.
    let foreign = Invitation { grant: Default::default(), ..invitation.clone() };
    for invitation in [&invitation, &foreign] {
        let refused = Subscriber::follow(&reader, &reader_key(), invitation, "");
        assert!(matches!(refused, Err(FollowError::AlreadyFollowing)), "{refused:?}");
    }
    assert!(Subscriber::follow(&owner, &owner_key(), &invitation, "").is_err());
    let running = subscriber(&reader, queue, &peer);
    assert!(Subscriber::unfollow(&reader, &queue).is_err());
    running.close().await;
    Subscriber::unfollow(&reader, &queue).expect("ended");
    assert!(Subscriber::follows(&reader).expect("read").is_empty());
}
