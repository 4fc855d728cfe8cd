//! What `append` promises.

use tidings_proto::{Birth, HeadNumber, Offset, QueueId};

use super::super::{ScanLimit, Store, StoreError};
use super::publisher::Publisher;
use super::{Check, done, named_checks};

pub(super) fn checks<S: Store>() -> Vec<Check<S>> {
    named_checks![
        what_was_appended_is_read_back,
        an_append_to_another_head_is_a_conflict,
        a_queue_that_is_new_here_has_no_head_to_continue,
        a_queue_that_stands_is_not_created_again,
        one_conflict_undoes_the_whole_group,
        appends_of_one_queue_chain_in_a_group,
        a_broken_chain_in_a_group_is_a_conflict,
        repeating_the_head_that_stands_changes_nothing,
        repeating_a_group_of_unknown_outcome_changes_nothing,
        a_repeated_group_goes_on_after_the_head_that_stands,
        an_empty_group_is_done,
        a_new_entry_of_a_record_replaces_the_old_one,
        a_purged_birth_is_gone,
        a_record_may_be_added_and_replaced_in_one_group,
        a_higher_term_may_begin_again_at_a_lower_offset,
    ]
}

/// [P-7]
fn what_was_appended_is_read_back<S: Store>(store: &S) {
    let mut owner = owner();
    let append = owner.records(3);
    done(store.append(std::slice::from_ref(&append)));
    assert_eq!(done(store.queue(&owner.queue)), Some(append.row.clone()));
    let rows: Vec<_> = append.entries.iter().map(|(row, _)| Some(*row)).collect();
    assert_eq!(done(store.live_at(&owner.queue, &[1, 2, 3].map(Offset::new))), rows);
    assert_eq!(done(store.live_of(&owner.queue, &[1, 2, 3].map(Birth::new))), rows);
    let entries: Vec<_> = append.entries.iter().map(|(row, bytes)| (row.offset, bytes.clone())).collect();
    assert_eq!(all(store, &owner), entries);
}

/// [P-7]
fn an_append_to_another_head_is_a_conflict<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[owner.records(1)]));
    let (_lost, second) = (owner.records(1), owner.records(1));
    assert_eq!(store.append(&[second]), conflict(&owner, Some(1)));
    assert_eq!(all(store, &owner).len(), 1);
}

fn a_queue_that_is_new_here_has_no_head_to_continue<S: Store>(store: &S) {
    let mut owner = owner();
    let (_lost, second) = (owner.records(1), owner.records(1));
    assert_eq!(store.append(&[second]), conflict(&owner, None));
    assert_eq!(done(store.queue(&owner.queue)), None);
}

fn a_queue_that_stands_is_not_created_again<S: Store>(store: &S) {
    let (mut owner, mut again) = (owner(), owner());
    done(store.append(&[owner.records(2)]));
    assert_eq!(store.append(&[again.records(1)]), conflict(&owner, Some(1)));
}

/// [P-7]
fn one_conflict_undoes_the_whole_group<S: Store>(store: &S) {
    let (mut good, mut bad) = (owner(), Publisher::new(QueueId::new([9; 32])));
    let _lost = bad.records(1);
    assert_eq!(store.append(&[good.records(1), bad.records(1)]), conflict(&bad, None));
    assert_eq!(done(store.queue(&good.queue)), None);
}

fn appends_of_one_queue_chain_in_a_group<S: Store>(store: &S) {
    let (mut owner, mut other) = (owner(), Publisher::new(QueueId::new([9; 32])));
    let (first, between, second) = (owner.records(1), other.records(1), owner.records(2));
    done(store.append(&[first, between, second.clone()]));
    assert_eq!(done(store.queue(&owner.queue)), Some(second.row));
    assert_eq!((all(store, &owner).len(), all(store, &other).len()), (3, 1));
}

fn a_broken_chain_in_a_group_is_a_conflict<S: Store>(store: &S) {
    let mut owner = owner();
    let (first, _lost, third) = (owner.records(1), owner.records(1), owner.records(1));
    assert_eq!(store.append(&[first, third]), conflict(&owner, None));
    assert_eq!(done(store.queue(&owner.queue)), None);
}

/// [P-7]
fn repeating_the_head_that_stands_changes_nothing<S: Store>(store: &S) {
    let mut owner = owner();
    let (first, mut second) = (owner.records(1), owner.records(1));
    done(store.append(&[first]));
    done(store.append(&[second.clone()]));
    let before = done(store.queue(&owner.queue));
    // Since it is skipped, nothing in it matters but the head.
    second.row.live_bytes = 77;
    second.entries.clear();
    done(store.append(&[second]));
    assert_eq!((done(store.queue(&owner.queue)), all(store, &owner).len()), (before, 2));
}

fn repeating_a_group_of_unknown_outcome_changes_nothing<S: Store>(store: &S) {
    let mut owner = owner();
    let group = [owner.records(1), owner.publish(&[Some(Birth::new(1))]), owner.purge(&[Birth::new(1)])];
    done(store.append(&group));
    done(store.append(&group));
    assert_eq!(all(store, &owner), vec![]);
    assert_eq!(done(store.live_of(&owner.queue, &[Birth::new(1)])), vec![None]);
}

fn a_repeated_group_goes_on_after_the_head_that_stands<S: Store>(store: &S) {
    let mut owner = owner();
    let group = [owner.records(1), owner.records(1), owner.records(1)];
    done(store.append(&group[..2]));
    done(store.append(&group));
    assert_eq!(all(store, &owner).len(), 3);
}

fn an_empty_group_is_done<S: Store>(store: &S) {
    done(store.append(&[]));
    done(store.acknowledge(&[]));
}

/// [P-8]
fn a_new_entry_of_a_record_replaces_the_old_one<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[owner.records(2)]));
    done(store.append(&[owner.publish(&[Some(Birth::new(1))])]));
    let offsets: Vec<_> = all(store, &owner).iter().map(|(offset, _)| offset.value()).collect();
    assert_eq!(offsets, [2, 3]);
    assert_eq!(done(store.live_at(&owner.queue, &[Offset::new(1)])), vec![None]);
    let row = done(store.live_of(&owner.queue, &[Birth::new(1)]))[0];
    assert_eq!(row.map(|row| row.offset), Some(Offset::new(3)));
}

/// [P-6]
fn a_purged_birth_is_gone<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[owner.records(2)]));
    done(store.append(&[owner.purge(&[Birth::new(1)])]));
    let rows = done(store.live_of(&owner.queue, &[1, 2].map(Birth::new)));
    assert_eq!(rows.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert_eq!(all(store, &owner).len(), 1);
}

fn a_record_may_be_added_and_replaced_in_one_group<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[owner.records(1), owner.publish(&[Some(Birth::new(1)), None])]));
    let offsets: Vec<_> = all(store, &owner).iter().map(|(offset, _)| offset.value()).collect();
    assert_eq!(offsets, [2, 3]);
}

/// [P-8]
fn a_higher_term_may_begin_again_at_a_lower_offset<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[owner.records(5)]));
    done(store.append(&[owner.purge(&[1, 2, 3].map(Birth::new))]));
    let again = owner.start_over(2);
    done(store.append(std::slice::from_ref(&again)));
    assert_eq!(all(store, &owner).iter().map(|(offset, _)| offset.value()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(done(store.live_of(&owner.queue, &[2, 4].map(Birth::new))), vec![Some(again.entries[1].0), None]);
    let (node, leaf) = again.history[again.history.len() - 1];
    assert_eq!(done(store.history(&owner.queue, &[node])), vec![Some(leaf)]);
}

fn owner() -> Publisher {
    Publisher::new(QueueId::new([5; 32]))
}

fn conflict(owner: &Publisher, stands_at: Option<u64>) -> Result<(), StoreError> {
    Err(StoreError::Conflict { queue: owner.queue, stands_at: stands_at.map(HeadNumber::new) })
}

fn all<S: Store>(store: &S, owner: &Publisher) -> Vec<(Offset, bytes::Bytes)> {
    let everything = ScanLimit { entries: usize::MAX, bytes: usize::MAX };
    done(store.scan(&owner.queue, Offset::ZERO, everything)).expect("the queue is there").entries
}
