//! What `stage` and `unstage` promise, and an append that names what was staged. [P-10]

use bytes::Bytes;
use tidings_core::NodeIndex;
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId};

use super::super::{Append, Branch, LiveRow, ScanLimit, Staged, Store, StoreError};
use super::publisher::Publisher;
use super::{Check, done, named_checks};

const EVERYTHING: ScanLimit = ScanLimit { entries: usize::MAX, bytes: usize::MAX };

pub(super) fn checks<S: Store>() -> Vec<Check<S>> {
    named_checks![
        what_is_staged_is_not_seen,
        what_is_staged_makes_no_queue,
        an_append_makes_live_what_it_names,
        what_is_staged_replaces_what_it_is_a_newer_entry_of,
        nothing_is_staged_beside_another_head,
        nothing_is_staged_over_live_entries,
        appends_go_on_over_what_was_left_staged,
        what_was_unstaged_is_gone,
        repeating_an_append_of_staged_entries_changes_nothing,
        the_next_branch_is_not_seen_before_it_replaces_the_one_that_stands,
        a_branch_is_replaced_within_a_group,
        what_was_staged_for_the_next_branch_is_forgotten,
        a_branch_can_be_replaced_again_and_again,
        a_snapshot_shows_its_moment_whatever_replaces_it,
    ]
}

/// An append in two steps: what is staged for it, and the rest that names it.
pub(in crate::store) fn ahead(append: Append) -> (Staged, Append) {
    let entries = append.entries.iter().map(|(row, bytes)| (row.offset, bytes.clone())).collect();
    let staged =
        Staged { queue: append.queue, expected: append.expected, branch: Branch::Standing, entries, history: append.history.clone() };
    let rows = append.entries.iter().map(|(row, _)| *row).collect();
    (staged, Append { entries: Vec::new(), staged: rows, ..append })
}

/// A new term that starts over in two steps: what is staged as the next branch, and the rest that puts it in place of the one that stands.
pub(in crate::store) fn anew(append: Append) -> (Staged, Append) {
    let (staged, rest) = ahead(append);
    (Staged { branch: Branch::Next, ..staged }, Append { replaces: true, retired: Vec::new(), ended: Vec::new(), ..rest })
}

fn what_is_staged_is_not_seen<S: Store>(store: &S) {
    let mut owner = with_records(store, 2);
    let before = (done(store.queue(&owner.queue)), seen(store, &owner));
    done(store.stage(&ahead(owner.publish(&[Some(Birth::new(1)), None])).0));
    assert_eq!((done(store.queue(&owner.queue)), seen(store, &owner)), before);
    assert_eq!(done(store.live_at(&owner.queue, &[3, 4].map(Offset::new))), vec![None; 2]);
    let (live, scan) = done(store.bitmap(&owner.queue, Offset::new(u64::MAX), EVERYTHING)).expect("the queue is there");
    assert_eq!((live.len(), scan.entries.len(), scan.complete), (2, 0, true));
    let (_, above) = done(store.bitmap(&owner.queue, Offset::new(2), EVERYTHING)).expect("the queue is there");
    assert_eq!((above.entries.len(), above.complete), (0, true));
}

fn what_is_staged_makes_no_queue<S: Store>(store: &S) {
    let mut owner = owner();
    let (staged, _) = ahead(owner.records(3));
    done(store.stage(&staged));
    assert_eq!(done(store.queue(&owner.queue)), None);
    assert_eq!(done(store.scan(&owner.queue, Offset::ZERO, EVERYTHING)), None);
    assert_eq!(done(store.live_of(&owner.queue, &[Birth::new(1)])), vec![None]);
}

fn an_append_makes_live_what_it_names<S: Store>(store: &S) {
    for standing in [0, 2] {
        let mut owner = Publisher::new(QueueId::new([10 + standing as u8; 32]));
        if standing > 0 {
            done(store.append(&[owner.records(standing)]));
        }
        let append = owner.records(3);
        let (staged, rest) = ahead(append.clone());
        done(store.stage(&staged));
        done(store.append(&[rest]));
        assert_eq!(done(store.queue(&owner.queue)), Some(append.row));
        assert_eq!(seen(store, &owner).len(), standing + 3);
        let rows: Vec<_> = append.entries.iter().map(|(row, _)| Some(*row)).collect();
        let births: Vec<_> = append.entries.iter().map(|(row, _)| row.birth).collect();
        assert_eq!(done(store.live_of(&owner.queue, &births)), rows);
        let (nodes, hashes): (Vec<_>, Vec<_>) = append.history.iter().map(|(node, hash)| (*node, Some(*hash))).unzip();
        assert_eq!(done(store.history(&owner.queue, &nodes)), hashes);
    }
}

/// [P-8]
fn what_is_staged_replaces_what_it_is_a_newer_entry_of<S: Store>(store: &S) {
    let mut owner = with_records(store, 2);
    let (staged, rest) = ahead(owner.publish(&[Some(Birth::new(1))]));
    done(store.stage(&staged));
    done(store.append(&[rest]));
    assert_eq!(seen(store, &owner), [2, 3]);
    let row = done(store.live_of(&owner.queue, &[Birth::new(1)]))[0];
    assert_eq!(row.map(|row| row.offset), Some(Offset::new(3)));
}

fn nothing_is_staged_beside_another_head<S: Store>(store: &S) {
    let mut owner = owner();
    let (first, second) = (owner.records(1), ahead(owner.records(1)).0);
    assert!(matches!(store.stage(&second), Err(StoreError::Conflict { .. })));
    let new = ahead(first.clone()).0;
    done(store.append(&[first]));
    assert!(matches!(store.stage(&new), Err(StoreError::Conflict { .. })));
    done(store.stage(&second));
}

fn nothing_is_staged_over_live_entries<S: Store>(store: &S) {
    let mut owner = with_records(store, 2);
    let (mut staged, _) = ahead(owner.records(1));
    staged.entries[0].0 = Offset::new(2);
    assert!(matches!(store.stage(&staged), Err(StoreError::Conflict { .. })));
}

fn appends_go_on_over_what_was_left_staged<S: Store>(store: &S) {
    let (mut owner, mut lost) = (with_records(store, 2), with_records(store, 0));
    let _ = lost.records(2);
    let (mut left, _) = ahead(lost.records(4));
    left.expected = Some(owner.head().hash());
    done(store.stage(&left));
    let next = owner.publish(&[Some(Birth::new(1))]);
    done(store.append(std::slice::from_ref(&next)));
    assert_eq!(seen(store, &owner), [2, 3]);
    let scan = done(store.scan(&owner.queue, Offset::new(2), EVERYTHING)).expect("the queue is there");
    assert_eq!((scan.entries[0].1.clone(), scan.complete), (next.entries[0].1.clone(), true));
    done(store.append(&[owner.purge(&[Birth::new(2)]), owner.records(2)]));
    assert_eq!(seen(store, &owner), [3, 4, 5]);
}

fn what_was_unstaged_is_gone<S: Store>(store: &S) {
    let mut owner = with_records(store, 1);
    let (staged, mut rest) = ahead(owner.records(4));
    done(store.stage(&staged));
    done(store.unstage(&owner.queue));
    done(store.unstage(&owner.queue));
    let mut fewer = staged;
    fewer.entries.remove(1);
    rest.staged.remove(1);
    done(store.stage(&fewer));
    done(store.append(&[rest]));
    assert_eq!(seen(store, &owner), [1, 2, 4, 5]);
}

/// [P-7]
fn repeating_an_append_of_staged_entries_changes_nothing<S: Store>(store: &S) {
    let mut owner = with_records(store, 1);
    let (staged, rest) = ahead(owner.records(2));
    done(store.stage(&staged));
    done(store.append(std::slice::from_ref(&rest)));
    done(store.append(std::slice::from_ref(&rest)));
    assert!(matches!(store.stage(&staged), Err(StoreError::Conflict { .. })));
    done(store.unstage(&owner.queue));
    assert_eq!(seen(store, &owner), [1, 2, 3]);
}

/// Live bytes, rows and hashes of the history.
type Whole = (u64, Vec<Option<LiveRow>>, Vec<Option<[u8; 32]>>);

/// Rows, entries and history of a queue, as the owner's newest branch has them.
fn whole<S: Store>(store: &S, owner: &Publisher) -> Whole {
    let row = done(store.queue(&owner.queue)).expect("the queue is there");
    let births: Vec<_> = owner.live().iter().map(|row| row.birth).collect();
    let nodes: Vec<_> = (0..9).map(NodeIndex::leaf).collect();
    (row.live_bytes, done(store.live_of(&owner.queue, &births)), done(store.history(&owner.queue, &nodes)))
}

/// [P-10]
fn the_next_branch_is_not_seen_before_it_replaces_the_one_that_stands<S: Store>(store: &S) {
    let mut owner = with_records(store, 5);
    let (before, left) = (whole(store, &owner), owner.clone());
    let append = owner.start_over(3);
    let (staged, rest) = anew(append.clone());
    done(store.stage(&staged));
    assert_eq!((whole(store, &left), seen(store, &left)), (before, vec![1, 2, 3, 4, 5]));
    done(store.append(std::slice::from_ref(&rest)));
    done(store.append(&[rest]));
    assert_eq!((done(store.queue(&owner.queue)), seen(store, &owner)), (Some(append.row), vec![1, 2, 3]));
    assert_eq!(whole(store, &owner).1, owner.live().into_iter().map(Some).collect::<Vec<_>>());
    assert_eq!(done(store.live_at(&owner.queue, &[Offset::new(4)])), [None], "of the branch that was left");
    assert_eq!(done(store.live_of(&owner.queue, &[Birth::new(5)])), [None], "of the branch that was left");
    let (live, _) = done(store.bitmap(&owner.queue, Offset::new(9), EVERYTHING)).expect("the queue is there");
    assert_eq!(live.len(), 3);
    let history = whole(store, &owner).2;
    assert_eq!(history.iter().flatten().count(), 2, "the start and the first head");
    assert_eq!(history[1], Some(*owner.head().hash().bytes()));
}

/// [P-7]
fn a_branch_is_replaced_within_a_group<S: Store>(store: &S) {
    let mut owner = with_records(store, 2);
    let mut elsewhere = owner.clone();
    // Staged at the head that stands; the group comes to that head only if nothing is before it.
    let (staged, rest) = anew(elsewhere.start_over(3));
    done(store.stage(&staged));
    done(store.append(&[rest, elsewhere.publish(&[Some(Birth::new(2)), None]), elsewhere.purge(&[Birth::new(1)])]));
    assert_eq!(seen(store, &elsewhere), [3, 4, 5]);
    assert_eq!(whole(store, &elsewhere).1, elsewhere.live().into_iter().map(Some).collect::<Vec<_>>());
    assert!(matches!(store.append(&[owner.records(1)]), Err(StoreError::Conflict { .. })));
}

fn what_was_staged_for_the_next_branch_is_forgotten<S: Store>(store: &S) {
    let mut owner = with_records(store, 2);
    let (staged, mut rest) = anew(owner.start_over(4));
    done(store.stage(&staged));
    done(store.unstage(&owner.queue));
    let mut fewer = staged;
    fewer.entries.remove(1);
    rest.staged.remove(1);
    done(store.stage(&fewer));
    done(store.append(&[rest]));
    assert_eq!(seen(store, &owner), [1, 3, 4]);
}

fn a_branch_can_be_replaced_again_and_again<S: Store>(store: &S) {
    let mut owner = with_records(store, 4);
    for records in [3, 6, 0, 2] {
        let (staged, rest) = anew(owner.start_over(records));
        done(store.stage(&staged));
        done(store.append(&[rest, owner.records(1)]));
        assert_eq!(seen(store, &owner), (1..=records as u64 + 1).collect::<Vec<_>>());
    }
}

/// [P-5]
fn a_snapshot_shows_its_moment_whatever_replaces_it<S: Store>(store: &S) {
    let mut owner = with_records(store, 3);
    let mut granting = owner.records(1);
    granting.access_put = vec![(Pseudonym::new([1; 32]), Bytes::from_static(b"row"))];
    granting.attachments_put = vec![(ContentHash::new([2; 32]), Bytes::from_static(b"grant"))];
    done(store.append(std::slice::from_ref(&granting)));
    assert!(done(store.snapshot(&QueueId::new([77; 32]))).is_none());
    let snapshot = done(store.snapshot(&owner.queue)).expect("the queue is there");
    let observe = || {
        let scan = done(snapshot.scan(Offset::new(1), EVERYTHING));
        let history = done(snapshot.history(&[0, 1, 2, 3].map(NodeIndex::leaf)));
        let attachment = done(snapshot.attachment(&ContentHash::new([2; 32])));
        (snapshot.row().clone(), scan, history, done(snapshot.access_list()), attachment)
    };
    let before = observe();
    assert_eq!((before.0.clone(), before.1.entries.len(), before.3.len()), (granting.row, 3, 1));
    assert_eq!(before.2.iter().flatten().count(), 3);
    let (staged, mut rest) = anew(owner.start_over(1));
    rest.access_removed = vec![Pseudonym::new([1; 32])];
    rest.attachments_removed = vec![ContentHash::new([2; 32])];
    done(store.stage(&staged));
    done(store.append(&[rest, owner.records(2)]));
    assert_eq!(observe(), before);
}

fn owner() -> Publisher {
    Publisher::new(QueueId::new([5; 32]))
}

/// An owner whose first publish the store has; with none, the store is not asked.
fn with_records<S: Store>(store: &S, count: usize) -> Publisher {
    let mut owner = owner();
    if count > 0 {
        done(store.append(&[owner.records(count)]));
    }
    owner
}

fn seen<S: Store>(store: &S, owner: &Publisher) -> Vec<u64> {
    let scan = done(store.scan(&owner.queue, Offset::ZERO, EVERYTHING)).expect("the queue is there");
    scan.entries.iter().map(|(offset, _)| offset.value()).collect()
}
