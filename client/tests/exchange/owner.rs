//! The owner's side, for the layers above: rows beside writes, snapshots, revocations, pulses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_client::{Nowhere, OwnMark, Publisher, PublisherConfig, RevokeFailure, Row, SnapshotError, State, Write, WriteError};
use tidings_core::access::Rights;
use tidings_core::{AccessRow, Object, ObjectKey, ObjectReference, Operation, Pulse};
use tidings_proto::caps::OBJECT_BYTES_MAX;
use tidings_proto::{Offset, Pseudonym, Timestamp};

use crate::peer::{Peer, Peers};
use crate::{LONG, delete, memory, owner_key, path, published, publisher, put, reader_key};

const TABLE: &str = "test/rows";

fn nowhere() -> Publisher {
    let mut config = PublisherConfig::new(Arc::new(Nowhere), vec![Peer::address(1)]);
    (config.grant_wait, config.compare_wait) = (Duration::ZERO, Duration::ZERO);
    Publisher::open(memory(), owner_key(), config).expect("opened")
}

fn alone(state: &State) -> Publisher {
    Publisher::open(state.clone(), owner_key(), PublisherConfig::new(Arc::new(Nowhere), Vec::new())).expect("opened")
}

fn pulsing(peer: &Peer, every: Duration) -> Publisher {
    let mut config = PublisherConfig::new(Peers::one(peer), vec![Peer::address(1)]);
    config.pulse_every = Some(every);
    Publisher::open(memory(), owner_key(), config).expect("opened")
}

fn object(size: u64) -> ObjectReference {
    ObjectReference {
        id: [1; 32],
        name: "objects/01/01".into(),
        key: ObjectKey::new([2; 32]),
        plaintext_hash: [3; 32],
        size,
        content_type: "image/png".into(),
    }
}

async fn reader(publisher: &Publisher) -> Pseudonym {
    publisher.grant(reader_key().card(), "reader".into()).await.expect("granted");
    let readers = publisher.readers().await.expect("open");
    readers.iter().find(|reader| !reader.owner).expect("a reader").pseudonym
}

async fn mark_is(publisher: &Publisher, wanted: impl Fn(&OwnMark) -> bool) -> OwnMark {
    let mut mark = publisher.mark();
    let found = tokio::time::timeout(LONG, mark.wait_for(wanted)).await;
    *found.expect("in time").expect("open")
}

/// The first pulse that is as wanted.
async fn pulse(peer: &Peer, wanted: impl Fn(&Pulse) -> bool) -> Pulse {
    let of = |bytes: &Bytes| Pulse::verify(bytes, &owner_key().verifying_key()).expect("signed by the owner");
    let found = peer.until(|queue| queue.pulse.as_ref().is_some_and(|bytes| wanted(&of(bytes))));
    tokio::time::timeout(LONG, found).await.expect("in time");
    peer.look(|queue| queue.pulse.as_ref().map(of)).expect("there")
}

#[tokio::test]
async fn rows_are_kept_with_the_writes_they_belong_to_or_not_at_all() {
    let state = memory();
    let publisher = alone(&state);
    let row = |value: &str| vec![Row::put(TABLE, b"k".to_vec(), value.as_bytes().to_vec())];
    publisher.write_with(vec![put("/a", "1")], row("taken")).await.expect("written");
    let refused = publisher.write_with(vec![put("/b", "1"), delete("/nothing")], row("refused")).await;
    assert!(matches!(refused, Err(WriteError::NotFound(_))));
    assert_eq!(state.row(TABLE, b"k").expect("read"), Some(b"taken".to_vec()));
    assert!(publisher.get(&path("/b")).expect("read").is_none());
}

#[tokio::test]
async fn of_many_writes_only_those_that_are_wrong_are_refused() {
    let publisher = alone(&memory());
    let writes = vec![put("/a", "1"), delete("/nothing"), delete("/a"), delete("/a"), put("/b", "1")];
    let taken: Vec<bool> = publisher.write_each(writes).await.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, false, true, false, true]);
    let paths: Vec<_> = publisher.list("/").expect("read").into_iter().map(|value| value.mutation.path).collect();
    assert_eq!(paths, [path("/b")]);
}

#[tokio::test]
async fn a_record_names_a_value_in_storage() {
    let peer = Peer::new();
    let publisher = publisher(&memory(), &peer);
    published(&publisher, &[Write::PutObject { path: path("/a"), object: object(5_000) }]).await;
    let value = publisher.get(&path("/a")).expect("read").expect("there").mutation;
    assert_eq!((value.object, value.inline, value.operation), (Some(object(5_000)), None, Operation::Create));
}

#[tokio::test]
async fn a_reference_beyond_its_bounds_is_refused() {
    let publisher = alone(&memory());
    let long = ObjectReference { name: "n".repeat(256), ..object(1) };
    for object in [object(OBJECT_BYTES_MAX + 1), long] {
        let refused = publisher.write(vec![Write::PutObject { path: path("/a"), object }]).await;
        assert!(matches!(refused, Err(WriteError::Object(_))));
    }
}

#[tokio::test]
async fn what_names_values_of_a_record_is_what_waits_and_what_is_signed() {
    let (peer, state) = (Peer::new(), memory());
    let connected = publisher(&state, &peer);
    // Without a reader a tombstone goes at once.
    reader(&connected).await;
    published(&connected, &[put("/a", "1")]).await;
    published(&connected, &[delete("/a")]).await;
    connected.close().await;
    let publisher = alone(&state);
    publisher.write(vec![put("/a", "2")]).await.expect("written");
    let named = publisher.named(&path("/a")).expect("read");
    let (signed, offset) = named.signed.expect("a tombstone");
    assert_eq!((signed.operation, offset), (Operation::Delete, Offset::new(2)));
    assert_eq!((named.head.value(), named.receipted.value()), (3, 3));
    assert_eq!(publisher.named(&path("/b")).expect("read").signed, None);
}

#[tokio::test]
async fn the_mark_follows_signed_heads_and_receipts() {
    let peer = Peer::new();
    peer.set(|queue| queue.swallow_receipts = true);
    let publisher = publisher(&memory(), &peer);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    let mark = mark_is(&publisher, |mark| mark.signed.number.value() == 1).await;
    assert_eq!(mark.receipted.number.value(), 0);
    peer.set(|queue| queue.swallow_receipts = false);
    mark_is(&publisher, |mark| mark.receipted == mark.signed && mark.signed.number.value() == 1).await;
}

/// [P-21]
#[tokio::test]
async fn a_snapshot_waits_for_the_receipt_and_nothing_is_signed_meanwhile() {
    let peer = Peer::new();
    peer.set(|queue| queue.swallow_receipts = true);
    let publisher = publisher(&memory(), &peer);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    mark_is(&publisher, |mark| mark.signed.number.value() == 1).await;
    let (asking, patience) = (publisher.clone(), LONG);
    let snapshot = tokio::spawn(async move { asking.snapshot(patience).await });
    let dials = peer.look(|queue| queue.dials);
    peer.until(|queue| queue.dials > dials + 1).await;
    publisher.write(vec![put("/b", "1")]).await.expect("written");
    peer.until(|queue| queue.dials > dials + 2).await;
    assert_eq!(publisher.mark().borrow().signed.number.value(), 1);
    peer.set(|queue| queue.swallow_receipts = false);
    let snapshot = snapshot.await.expect("ended").expect("in time").expect("a head");
    assert_eq!((snapshot.head().rank().number.value(), snapshot.live(Offset::new(9)).expect("read").len()), (1, 1));
    publisher.flush(LONG).await.expect("signing goes on");
}

#[tokio::test]
async fn who_waits_too_long_for_a_snapshot_is_told_and_signing_goes_on() {
    let peer = Peer::new();
    peer.set(|queue| queue.swallow_receipts = true);
    let publisher = publisher(&memory(), &peer);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    mark_is(&publisher, |mark| mark.signed.number.value() == 1).await;
    assert!(matches!(publisher.snapshot(Duration::from_millis(1)).await, Err(SnapshotError::Late)));
    publisher.write(vec![put("/b", "1")]).await.expect("written");
    peer.set(|queue| queue.swallow_receipts = false);
    publisher.flush(LONG).await.expect("published");
    assert_eq!(peer.look(|queue| queue.live.len()), 2);
}

#[tokio::test]
async fn there_is_no_snapshot_of_a_queue_that_was_never_signed() {
    let publisher = publisher(&memory(), &Peer::new());
    assert!(publisher.snapshot(LONG).await.expect("nothing to wait for").is_none());
}

/// [P-21] Storage is a way to the readers of its own: without a broker nobody else would ever sign.
#[tokio::test]
async fn without_a_broker_what_waits_is_signed_for_a_snapshot_and_from_then_on() {
    let publisher = alone(&memory());
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    assert_eq!(publisher.status().expect("read").unsigned, 1);
    let snapshot = publisher.snapshot(LONG).await.expect("signed").expect("a head");
    assert_eq!(snapshot.head().head().live_count, 1);
    publisher.write(vec![put("/b", "1")]).await.expect("written");
    mark_is(&publisher, |mark| mark.signed.number.value() == 2).await;
    assert_eq!(publisher.snapshot(LONG).await.expect("signed").expect("a head").head().head().live_count, 2);
}

/// [P-17]
#[tokio::test]
async fn a_revocation_returns_when_the_broker_has_it() {
    let peer = Peer::new();
    let publisher = publisher(&memory(), &peer);
    published(&publisher, &[put("/a", "1")]).await;
    let gone = reader(&publisher).await;
    publisher.revoke(&gone).await.expect("revoked");
    let last = peer.look(|queue| queue.publishes.last().cloned()).expect("a publish");
    assert_eq!(last.access_removed, [gone]);
    let rows: Vec<_> = last.access_put.iter().map(|row| AccessRow::decode(row).expect("a row").rights).collect();
    assert_eq!(rows, [Rights::Owner]);
    assert!(matches!(publisher.revoke(&gone).await, Err(RevokeFailure::NoSuchReader)));
}

#[tokio::test]
async fn a_revocation_without_a_broker_is_saved() {
    let publisher = nowhere();
    assert!(publisher.grant(reader_key().card(), String::new()).await.is_err());
    let readers = publisher.readers().await.expect("open");
    let gone = readers.iter().find(|reader| !reader.owner).expect("a reader").pseudonym;
    assert!(matches!(publisher.revoke(&gone).await, Err(RevokeFailure::Saved)));
    assert_eq!(publisher.readers().await.expect("open").len(), 1);
}

/// [P-16]
#[tokio::test]
async fn pulses_name_the_newest_head_and_promise_the_next() {
    let every = Duration::from_millis(20);
    let peer = Peer::new();
    let publisher = pulsing(&peer, every);
    published(&publisher, &[put("/a", "1")]).await;
    published(&publisher, &[put("/a", "2")]).await;
    let first = pulse(&peer, |pulse| pulse.rank.number.value() == 2).await;
    let head = peer.look(|queue| queue.heads[1].clone());
    assert_eq!((first.queue, first.head, first.rank), (head.head().queue, head.hash(), head.rank()));
    assert_eq!(first.next.value() - first.time.value(), 60);
    let second = pulse(&peer, |pulse| pulse.time > first.time).await;
    assert_eq!(second.rank, first.rank);
}

/// [P-16] A reader would accuse the broker of keeping from it what the owner says it signed.
#[tokio::test]
async fn nothing_is_said_of_a_head_before_it_is_receipted() {
    let peer = Peer::new();
    peer.set(|queue| queue.hold_receipts = true);
    let publisher = pulsing(&peer, Duration::from_millis(1));
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    // An answer out of order ends each connection, and comes after any pulse that was sent on it.
    while peer.look(|queue| queue.dials < 3) {
        publisher.readers().await.expect("open");
    }
    assert!(peer.look(|queue| queue.pulse.is_none() && !queue.publishes.is_empty()));
    peer.set(|queue| queue.hold_receipts = false);
    publisher.readers().await.expect("open");
    assert_eq!(pulse(&peer, |_| true).await.rank.number.value(), 1);
}

/// [P-16]
#[tokio::test]
async fn an_owner_that_is_closed_promises_nothing_any_more() {
    let peer = Peer::new();
    let publisher = pulsing(&peer, Duration::from_secs(3_600));
    published(&publisher, &[put("/a", "1")]).await;
    let promised = pulse(&peer, |_| true).await;
    publisher.close().await;
    let last = pulse(&peer, |pulse| pulse.promise().is_none()).await;
    assert!(last.time > promised.time && last.next == Timestamp::ZERO);
}

#[tokio::test]
async fn an_owner_that_gives_no_pulses_gives_none_at_its_end() {
    let peer = Peer::new();
    let publisher = publisher(&memory(), &peer);
    published(&publisher, &[put("/a", "1")]).await;
    publisher.close().await;
    assert!(peer.look(|queue| queue.pulse.is_none()));
}

/// A receipt may wait for a later step before it is durable, but not beyond the end.
#[tokio::test]
async fn what_is_receipted_is_so_when_a_closed_owner_is_opened_again() {
    let (folder, peer) = (tempfile::tempdir().expect("a folder"), Peer::new());
    let file = folder.path().join("state.redb");
    let first = publisher(&State::open(&file).expect("created"), &peer);
    published(&first, &[put("/a", "1")]).await;
    first.close().await;
    let again = alone(&State::open(&file).expect("opened"));
    let status = again.status().expect("read");
    assert_eq!((status.unsigned, status.unreceipted), (0, 0));
}
