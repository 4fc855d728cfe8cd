//! Each fault by itself, then the faults by chance.

use super::super::conformance::{self, publisher::Publisher};
use super::*;

fn store() -> (FaultyStore, Publisher) {
    (FaultyStore::new([1; 32], Faults::NONE), Publisher::new(QueueId::new([5; 32])))
}

fn stands(store: &FaultyStore, owner: &Publisher) -> bool {
    store.queue(&owner.queue).expect("reads do not fail").is_some_and(|row| row.head == owner.head().bytes())
}

#[test]
fn without_faults_it_keeps_every_promise_of_a_store() {
    conformance::suite(|| FaultyStore::new([1; 32], Faults::NONE));
}

#[test]
fn without_faults_nothing_is_lost_in_a_crash() {
    conformance::suite_reopened(
        || FaultyStore::new([1; 32], Faults::NONE),
        |store| {
            store.crash();
            store
        },
    );
}

#[test]
fn a_refused_write_has_no_effect() {
    let (store, mut owner) = store();
    store.fail_next(Fault::Refused);
    assert!(matches!(store.append(&[owner.records(1)]), Err(StoreError::Unavailable(_))));
    assert!(!stands(&store, &owner));
}

#[test]
fn a_write_of_unknown_outcome_may_have_had_no_effect() {
    let (store, mut owner) = store();
    store.fail_next(Fault::RequestLost);
    assert!(matches!(store.append(&[owner.records(1)]), Err(StoreError::Indeterminate(_))));
    assert!(!stands(&store, &owner));
}

#[test]
fn a_write_of_unknown_outcome_may_be_durable() {
    let (store, mut owner) = store();
    store.fail_next(Fault::AnswerLost);
    assert!(matches!(store.append(&[owner.records(1)]), Err(StoreError::Indeterminate(_))));
    store.crash();
    assert!(stands(&store, &owner));
}

/// [P-7]
#[test]
fn repeating_a_write_of_unknown_outcome_ends_the_same_either_way() {
    for fault in [Fault::RequestLost, Fault::AnswerLost] {
        let (store, mut owner) = store();
        let group = [owner.records(1), owner.records(2)];
        store.fail_next(fault);
        assert!(store.append(&group).is_err());
        assert_eq!(store.append(&group), Ok(()));
        store.crash();
        assert!(stands(&store, &owner));
    }
}

#[test]
fn what_a_failed_sync_left_is_seen_until_the_crash_and_gone_after_it() {
    let (store, mut owner) = store();
    store.fail_next(Fault::SyncFailed);
    assert!(matches!(store.append(&[owner.records(1)]), Err(StoreError::Indeterminate(_))));
    assert!(stands(&store, &owner));
    store.crash();
    assert!(!stands(&store, &owner));
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_the_restart() {
    let (store, mut owner) = store();
    let append = owner.records(1);
    store.fail_next(Fault::SyncFailed);
    assert!(store.append(std::slice::from_ref(&append)).is_err());
    assert_eq!(store.append(std::slice::from_ref(&append)), Err(StoreError::Poisoned));
    assert_eq!(store.acknowledge(&[owner.acked(1, 1, 1)]), Err(StoreError::Poisoned));
    store.crash();
    assert_eq!(store.append(&[append]), Ok(()));
}

#[test]
fn what_a_lying_disk_answered_is_gone_after_the_crash() {
    let (store, mut owner) = store();
    store.fail_next(Fault::SyncSkipped);
    assert_eq!(store.append(&[owner.records(1)]), Ok(()));
    assert!(stands(&store, &owner));
    store.crash();
    assert!(!stands(&store, &owner));
}

#[test]
fn an_honest_sync_makes_earlier_writes_durable_too() {
    let (store, mut owner) = store();
    store.fail_next(Fault::SyncSkipped);
    assert_eq!(store.append(&[owner.records(1)]), Ok(()));
    assert_eq!(store.append(&[owner.records(1)]), Ok(()));
    store.crash();
    assert!(stands(&store, &owner));
}

#[test]
fn damage_to_one_queue_leaves_the_others() {
    let (store, mut owner) = store();
    let mut other = Publisher::new(QueueId::new([6; 32]));
    store.append(&[owner.records(1), other.records(1)]).expect("no fault");
    store.damage(owner.queue);
    assert!(matches!(store.queue(&owner.queue), Err(StoreError::Damaged { queue: Some(queue), .. }) if queue == owner.queue));
    assert!(matches!(store.append(&[owner.records(1)]), Err(StoreError::Damaged { .. })));
    assert!(stands(&store, &other));
}

#[test]
fn the_same_seed_gives_the_same_faults_and_delays() {
    let faults = Faults { refused: 200, answer_lost: 200, request_lost: 200, delay_ms_max: 50, ..Faults::NONE };
    let run = |seed| {
        let (store, owner) = (FaultyStore::new([seed; 32], faults), store().1);
        let answers: Vec<_> = (0..100).map(|number| store.acknowledge(&[owner.acked(1, 1, number)])).collect();
        (answers, store.take_delay())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn faults_come_about_as_often_as_told() {
    let (store, owner) = store();
    store.set_faults(Faults { refused: 500, read_refused: 500, ..Faults::NONE });
    let failed = |failures: usize| (400..600).contains(&failures);
    assert!(failed((0..1000).filter(|number| store.acknowledge(&[owner.acked(1, 1, *number)]).is_err()).count()));
    assert!(failed((0..1000).filter(|_| store.queue(&owner.queue).is_err()).count()));
}

/// [P-10] A power cut during a transfer: nothing was seen, nothing is left, and the whole of it can be repeated.
#[test]
fn what_was_staged_is_gone_after_a_crash_and_durable_with_the_append_that_names_it() {
    let (store, mut owner) = store();
    store.append(&[owner.records(1)]).expect("no fault");
    let (staged, append) = conformance::adoptions::ahead(owner.records(2));
    store.stage(&staged).expect("no fault");
    store.crash();
    assert!(!stands(&store, &owner));
    store.unstage(&owner.queue).expect("no fault");
    store.stage(&staged).expect("no fault");
    store.append(&[append]).expect("no fault");
    store.crash();
    let limit = ScanLimit { entries: usize::MAX, bytes: usize::MAX };
    let scan = store.scan(&owner.queue, Offset::ZERO, limit).expect("reads do not fail").expect("the queue is there");
    assert_eq!((stands(&store, &owner), scan.entries.len()), (true, 3));
}
