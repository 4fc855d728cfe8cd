//! What `scan` and `bitmap` promise.

use std::sync::atomic::{AtomicBool, Ordering};

use roaring::RoaringTreemap;
use tidings_core::SignedHead;
use tidings_proto::{Birth, Offset, QueueId};

use super::super::{Scan, ScanLimit, Store};
use super::publisher::Publisher;
use super::{Check, done, named_checks};

const EVERYTHING: ScanLimit = ScanLimit { entries: usize::MAX, bytes: usize::MAX };

pub(super) fn checks<S: Store>() -> Vec<Check<S>> {
    named_checks![
        a_scan_stops_at_its_count,
        a_scan_stops_at_its_bytes,
        one_entry_always_fits,
        a_scan_that_ends_at_the_newest_entry_is_complete,
        a_scan_after_the_end_is_empty_and_complete,
        a_scan_of_a_queue_without_live_entries_is_complete,
        a_scan_sees_no_other_queue,
        a_bitmap_ends_at_the_position_and_the_scan_begins_there,
        a_bitmap_covers_all_or_nothing_at_the_ends,
        a_scan_and_its_head_are_from_one_snapshot,
    ]
}

fn a_scan_stops_at_its_count<S: Store>(store: &S) {
    let owner = with_records(store, 5);
    let found = scan(store, &owner, 1, ScanLimit { entries: 2, bytes: usize::MAX });
    assert_eq!((offsets(&found), found.complete), (vec![2, 3], false));
}

fn a_scan_stops_at_its_bytes<S: Store>(store: &S) {
    let owner = with_records(store, 5);
    let two = owner.live()[0].bytes as usize + owner.live()[1].bytes as usize;
    let found = scan(store, &owner, 0, ScanLimit { entries: usize::MAX, bytes: two });
    assert_eq!((offsets(&found), found.complete), (vec![1, 2], false));
}

/// [P-19]
fn one_entry_always_fits<S: Store>(store: &S) {
    let owner = with_records(store, 2);
    let found = scan(store, &owner, 0, ScanLimit { entries: 0, bytes: 0 });
    assert_eq!((offsets(&found), found.complete), (vec![1], false));
}

/// [P-9]
fn a_scan_that_ends_at_the_newest_entry_is_complete<S: Store>(store: &S) {
    let owner = with_records(store, 3);
    let found = scan(store, &owner, 1, ScanLimit { entries: 2, bytes: usize::MAX });
    assert_eq!((offsets(&found), found.complete), (vec![2, 3], true));
    assert_eq!(&found.head, owner.head().bytes());
}

/// [P-9]
fn a_scan_after_the_end_is_empty_and_complete<S: Store>(store: &S) {
    let owner = with_records(store, 3);
    for after in [3, 4, u64::MAX] {
        let found = scan(store, &owner, after, EVERYTHING);
        assert_eq!((offsets(&found), found.complete), (vec![], true));
    }
}

fn a_scan_of_a_queue_without_live_entries_is_complete<S: Store>(store: &S) {
    let mut owner = Publisher::new(QueueId::new([5; 32]));
    done(store.append(&[owner.records(0)]));
    assert!(scan(store, &owner, 0, EVERYTHING).complete);
    done(store.append(&[owner.records(2)]));
    done(store.append(&[owner.purge(&[1, 2].map(Birth::new))]));
    let found = scan(store, &owner, 0, EVERYTHING);
    assert_eq!((offsets(&found), found.complete), (vec![], true));
    done(store.append(&[owner.records(1)]));
    assert_eq!(offsets(&scan(store, &owner, 0, EVERYTHING)), [3]);
}

fn a_scan_sees_no_other_queue<S: Store>(store: &S) {
    let mut last = [5; 32];
    last[31] = 6;
    let queues = [[0; 32], [5; 32], last, [0xff; 32]].map(QueueId::new);
    for (queue, count) in queues.into_iter().zip(1..) {
        done(store.append(&[Publisher::new(queue).records(count)]));
    }
    for (queue, count) in queues.iter().zip(1..) {
        let found = done(store.scan(queue, Offset::ZERO, EVERYTHING)).expect("the queue is there");
        assert_eq!((found.entries.len(), found.complete), (count, true));
    }
}

/// [P-9]
fn a_bitmap_ends_at_the_position_and_the_scan_begins_there<S: Store>(store: &S) {
    let mut owner = with_records(store, 6);
    done(store.append(&[owner.publish(&[Some(Birth::new(2)), Some(Birth::new(5))])]));
    let (live, found) = bitmap(store, &owner, 4);
    assert_eq!(live.iter().collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!((offsets(&found), found.complete), (vec![6, 7, 8], true));
    assert_eq!(&found.head, owner.head().bytes());
}

fn a_bitmap_covers_all_or_nothing_at_the_ends<S: Store>(store: &S) {
    let owner = with_records(store, 3);
    let (none, found) = bitmap(store, &owner, 0);
    assert_eq!((none.len(), offsets(&found)), (0, vec![1, 2, 3]));
    let (all, found) = bitmap(store, &owner, u64::MAX);
    assert_eq!((all.len(), offsets(&found), found.complete), (3, vec![], true));
}

/// One record that changes in every publish: each snapshot holds exactly its entry at the head's offset. [P-9]
fn a_scan_and_its_head_are_from_one_snapshot<S: Store>(store: &S) {
    let mut owner = with_records(store, 1);
    let (queue, stop) = (owner.queue, AtomicBool::new(false));
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let (live, found) = done(store.bitmap(&queue, Offset::ZERO, EVERYTHING)).expect("the queue is there");
                let head = SignedHead::parse(found.head.clone()).expect("the head is whole");
                assert_eq!((live.len(), offsets(&found)), (0, vec![head.head().offset.value()]));
            }
        });
        let written = (0..100).try_for_each(|_| store.append(&[owner.publish(&[Some(Birth::new(1))])]));
        stop.store(true, Ordering::Release);
        done(written);
        reader.join().expect("every snapshot was whole");
    });
}

fn with_records<S: Store>(store: &S, count: usize) -> Publisher {
    let mut owner = Publisher::new(QueueId::new([5; 32]));
    done(store.append(&[owner.records(count)]));
    owner
}

fn scan<S: Store>(store: &S, owner: &Publisher, after: u64, limit: ScanLimit) -> Scan {
    done(store.scan(&owner.queue, Offset::new(after), limit)).expect("the queue is there")
}

fn bitmap<S: Store>(store: &S, owner: &Publisher, through: u64) -> (RoaringTreemap, Scan) {
    done(store.bitmap(&owner.queue, Offset::new(through), EVERYTHING)).expect("the queue is there")
}

fn offsets(scan: &Scan) -> Vec<u64> {
    scan.entries.iter().map(|(offset, _)| offset.value()).collect()
}
