use tidings_core::recovery as core;
use tidings_proto::Timestamp;

use super::*;
use crate::commit::{CommitQueue, CommitSettings};
use crate::engine::test_branch::{Fork, adopt, anew, take};
use crate::engine::test_owner::{Edit, Request, TestOwner, puts};
use crate::store::{Faults, FaultyStore, MemoryStore};

/// All parts, or the refusal that came instead of one.
fn parts(mut recovery: Recovery<'_>) -> Result<Vec<Transfer>, Refusal> {
    std::iter::from_fn(|| recovery.next_part().transpose()).collect()
}

/// The parts as one, and how many there were.
fn joined(parts: Vec<Transfer>) -> (Transfer, usize) {
    let count = parts.len();
    let whole = parts.into_iter().fold(Transfer::default(), |mut whole, part| {
        whole.history.extend(part.history);
        whole.entries.extend(part.entries);
        whole.attachments.extend(part.attachments);
        (whole.head, whole.rows) = (part.head, part.rows);
        whole
    });
    (whole, count)
}

fn sorted(mut transfer: Transfer) -> Transfer {
    transfer.attachments.sort();
    transfer
}

/// Puts, grants and a delete.
fn busy() -> Vec<Request> {
    let mut requests = vec![puts(&[1, 2, 3]), Request { add: vec![200, 201], ..puts(&[2]) }];
    requests.push(Request { edits: vec![Edit::Delete(1)], ..puts(&[4]) });
    requests.push(puts(&[9]));
    requests
}

/// [P-5] What the owner gets is what it signed, and what would fill another broker.
#[test]
fn a_queue_is_given_back_as_it_was_signed() {
    let (mut owner, store) = (TestOwner::new(1), MemoryStore::new());
    let publishes: Vec<_> = busy().into_iter().map(|request| owner.sign(request).publish()).collect();
    for taken in 1..=publishes.len() {
        take(&store, owner.descriptor(), &publishes[taken - 1..taken]).expect("valid publishes");
        let given = parts(Recovery::open(&store, &owner.queue()).expect("it is there")).expect("a whole queue");
        let mut recovery = core::Recovery::new(owner.descriptor().clone());
        let recovered = given.iter().cloned().filter_map(|part| recovery.take(part).expect("signed")).count();
        assert_eq!(recovered, 1);
        assert_eq!(sorted(joined(given).0), sorted(anew(&publishes[..taken])));
    }
}

/// [P-5] [P-10] The way there and the way back are the same, also of a branch that replaced another.
#[test]
fn what_was_given_back_fills_another_broker() {
    let fork = Fork::new(busy(), vec![puts(&[7])], vec![puts(&[8]), puts(&[1])]);
    let (one, two) = (MemoryStore::new(), MemoryStore::new());
    take(&one, fork.left.descriptor(), &fork.tail).expect("valid publishes");
    adopt(&one, fork.owner.descriptor(), &[anew(&fork.base)]).expect("an honest transfer");
    let given = parts(Recovery::open(&one, &fork.owner.queue()).expect("it is there")).expect("a whole queue");
    adopt(&two, fork.owner.descriptor(), &given).expect("an honest transfer");
    assert_eq!(one.queue(&fork.owner.queue()).expect("memory"), two.queue(&fork.owner.queue()).expect("memory"));
}

/// [P-5] However the queue moves on between two parts, all of them are of one head.
#[test]
fn publishes_in_the_middle_change_nothing() {
    let (mut owner, store) = (TestOwner::new(1), MemoryStore::new());
    let mut commits = CommitQueue::new(CommitSettings::default());
    let first = owner.checked(Request { add: vec![7], ..puts(&[1, 2, 3]) });
    let publishes = vec![first, owner.checked(puts(&[4]))];
    commits.commit_group(&store, Timestamp::ZERO, publishes);
    let before = parts(Recovery::open(&store, &owner.queue()).expect("it is there")).expect("a whole queue");
    let mut recovery = Recovery::open(&store, &owner.queue()).expect("it is there");
    let mut given = Vec::new();
    while let Some(part) = recovery.next_part().expect("a whole queue") {
        given.push(part);
        let next = owner.checked(Request { remove: owner.readers(), rotate: given.len() > 1, ..puts(&[1, 2, 3]) });
        assert!(commits.commit_group(&store, Timestamp::ZERO, vec![next]).remove(0).is_ok());
    }
    assert!(given.len() > 2);
    assert_eq!(given, before);
}

/// [P-19] However much there is, a part is small, and none is empty.
#[test]
fn parts_are_small_and_carry_something() {
    let (mut owner, store) = (TestOwner::new(1), MemoryStore::new());
    let names: Vec<u8> = (0..250).collect();
    let requests = (0..5).map(|_| puts(&names)).chain([Request { add: (10..130).collect(), ..Request::default() }]);
    let publishes: Vec<_> = requests.map(|request| owner.sign(request).publish()).collect();
    take(&store, owner.descriptor(), &publishes).expect("valid publishes");
    let given = parts(Recovery::open(&store, &owner.queue()).expect("it is there")).expect("a whole queue");
    let bytes = |items: &[Bytes]| items.iter().map(Bytes::len).sum::<usize>();
    assert!(given.iter().all(|part| bytes(&part.entries) <= caps::CHUNK_BYTES_MAX && bytes(&part.attachments) <= caps::CHUNK_BYTES_MAX));
    assert!(given.iter().all(|part| *part != Transfer::default()));
    let (whole, count) = joined(given);
    assert!(count > 3, "{count} parts");
    assert_eq!((whole.entries.len(), whole.rows.len()), (250, 121));
}

#[test]
fn a_queue_that_is_not_here_is_unknown_and_a_damaged_one_is_named_so() {
    let mut owner = TestOwner::new(1);
    let store = FaultyStore::new([0; 32], Faults::NONE);
    assert_eq!(Recovery::open(&store, &owner.queue()).err().map(|refusal| refusal.code), Some(RefusalCode::UnknownQueue));
    let publish = owner.put(&[1]);
    take(&store, owner.descriptor(), &[publish]).expect("a valid publish");
    store.damage(owner.queue());
    assert_eq!(Recovery::open(&store, &owner.queue()).err().map(|refusal| refusal.code), Some(RefusalCode::Damaged));
}

/// A part that is not there is no reason to give the rest as if it were all. [P-5]
#[test]
fn a_queue_that_lost_an_entry_is_damaged() {
    let (mut owner, store) = (TestOwner::new(1), MemoryStore::new());
    let publish = owner.put(&[1, 2]);
    take(&store, owner.descriptor(), &[publish]).expect("a valid publish");
    let mut recovery = Recovery::open(&store, &owner.queue()).expect("it is there");
    recovery.next = Next::Entries(Offset::new(1));
    assert_eq!(parts(recovery).expect_err("a refusal").code, RefusalCode::Damaged);
}
