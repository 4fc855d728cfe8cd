//! What the smaller operations promise: history, access, attachments, acknowledgements, admission.

use bytes::Bytes;
use tidings_core::NodeIndex;
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId};

use super::super::{Acked, Append, REMOVED_MAX, ScanLimit, Store};
use super::publisher::Publisher;
use super::{Check, done, named_checks};

pub(super) fn checks<S: Store>() -> Vec<Check<S>> {
    named_checks![
        a_queue_that_is_new_here_has_nothing,
        lookups_answer_in_the_order_they_were_asked,
        history_keeps_every_complete_subtree,
        access_rows_are_put_replaced_and_removed,
        a_reader_that_is_removed_leaves_no_acknowledgement,
        a_former_reader_is_remembered_until_it_is_one_again,
        former_readers_of_one_queue_are_not_another_queues,
        the_oldest_former_readers_are_forgotten,
        attachments_are_kept_until_removed,
        an_attachment_of_one_queue_is_not_another_queues,
        the_highest_acknowledgement_stays,
        a_higher_term_counts_more_than_a_higher_number,
        acknowledgements_of_one_group_are_told_apart,
    ]
}

fn a_queue_that_is_new_here_has_nothing<S: Store>(store: &S) {
    let (queue, limit) = (QueueId::new([5; 32]), ScanLimit { entries: 1, bytes: 1 });
    assert_eq!(done(store.queue(&queue)), None);
    assert_eq!(done(store.scan(&queue, Offset::ZERO, limit)), None);
    assert!(done(store.bitmap(&queue, Offset::ZERO, limit)).is_none());
    assert_eq!(done(store.live_of(&queue, &[Birth::new(1); 2])), vec![None; 2]);
    assert_eq!(done(store.live_at(&queue, &[Offset::new(1); 2])), vec![None; 2]);
    assert_eq!(done(store.history(&queue, &[NodeIndex::leaf(0)])), vec![None]);
    assert_eq!(done(store.access(&queue, &Pseudonym::ZERO)), None);
    assert_eq!(done(store.access_list(&queue)), vec![]);
    assert!(!done(store.was_removed(&queue, &Pseudonym::ZERO)));
    assert_eq!(done(store.attachment(&queue, &ContentHash::ZERO)), None);
    assert_eq!(done(store.acknowledgements(&queue)), vec![]);
}

fn lookups_answer_in_the_order_they_were_asked<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[owner.records(3)]));
    let rows = done(store.live_of(&owner.queue, &[3, 9, 1, 3].map(Birth::new)));
    assert_eq!(rows.iter().map(|row| row.map_or(0, |row| row.offset.value())).collect::<Vec<_>>(), [3, 0, 1, 3]);
    let rows = done(store.live_at(&owner.queue, &[2, 0, 1].map(Offset::new)));
    assert_eq!(rows.iter().map(|row| row.map_or(0, |row| row.offset.value())).collect::<Vec<_>>(), [2, 0, 1]);
}

fn history_keeps_every_complete_subtree<S: Store>(store: &S) {
    let mut owner = owner();
    let group: Vec<Append> = (0..7).map(|_| owner.records(0)).collect();
    done(store.append(&group));
    let (nodes, hashes): (Vec<_>, Vec<_>) =
        group.iter().flat_map(|append| append.history.clone()).map(|(node, hash)| (node, Some(hash))).unzip();
    // Eight leaves: as many rows as a whole tree has nodes.
    assert_eq!(nodes.len(), 15);
    assert_eq!(done(store.history(&owner.queue, &nodes)), hashes);
    assert_eq!(done(store.history(&owner.queue, &[NodeIndex::leaf(8)])), vec![None]);
}

/// [P-17]
fn access_rows_are_put_replaced_and_removed<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[Append { access_put: vec![row(2, "b"), row(1, "a"), row(3, "c")], ..owner.records(0) }]));
    done(store.append(&[Append { access_put: vec![row(2, "new")], access_removed: vec![reader(3)], ..owner.records(0) }]));
    assert_eq!(done(store.access_list(&owner.queue)), vec![row(1, "a"), row(2, "new")]);
    assert_eq!(done(store.access(&owner.queue, &reader(2))), Some(Bytes::from_static(b"new")));
    assert_eq!(done(store.access(&owner.queue, &reader(3))), None);
}

fn a_reader_that_is_removed_leaves_no_acknowledgement<S: Store>(store: &S) {
    let mut owner = owner();
    done(store.append(&[Append { access_put: vec![row(1, "a"), row(2, "b")], ..owner.records(0) }]));
    done(store.acknowledge(&[owner.acked(1, 1, 1), owner.acked(2, 1, 1)]));
    done(store.append(&[Append { access_removed: vec![reader(1)], ..owner.records(0) }]));
    assert_eq!(done(store.acknowledgements(&owner.queue)), vec![kept(&owner.acked(2, 1, 1))]);
}

/// [P-17]
fn a_former_reader_is_remembered_until_it_is_one_again<S: Store>(store: &S) {
    let mut owner = owner();
    let removed = |store: &S, owner: &Publisher| [1, 2, 3].map(|number| done(store.was_removed(&owner.queue, &reader(number))));
    done(store.append(&[Append { access_put: vec![row(1, "a"), row(2, "b")], ..owner.records(0) }]));
    assert_eq!(removed(store, &owner), [false; 3]);
    done(store.append(&[Append { access_removed: vec![reader(1), reader(2)], ..owner.records(0) }]));
    assert_eq!(removed(store, &owner), [true, true, false]);
    let again = Append { access_put: vec![row(1, "again")], ..owner.records(0) };
    done(store.append(&[again, Append { access_put: vec![row(3, "c")], ..owner.records(0) }]));
    assert_eq!(removed(store, &owner), [false, true, false]);
    let both =
        [Append { access_removed: vec![reader(3)], ..owner.records(0) }, Append { access_put: vec![row(3, "c")], ..owner.records(0) }];
    done(store.append(&both));
    assert_eq!(removed(store, &owner), [false, true, false]);
}

fn former_readers_of_one_queue_are_not_another_queues<S: Store>(store: &S) {
    let (mut owner, mut other) = (owner(), Publisher::new(QueueId::new([6; 32])));
    done(store.append(&[Append { access_removed: vec![reader(1)], ..owner.records(0) }, other.records(0)]));
    assert!(!done(store.was_removed(&other.queue, &reader(1))));
    assert_eq!(done(store.access_list(&owner.queue)), vec![]);
}

/// [P-19]
fn the_oldest_former_readers_are_forgotten<S: Store>(store: &S) {
    let mut owner = owner();
    let numbered = |number: usize| {
        let mut name = [0xff; 32];
        name[..8].copy_from_slice(&(REMOVED_MAX - number).to_be_bytes());
        Pseudonym::new(name)
    };
    done(store.append(&[Append { access_removed: vec![numbered(0)], ..owner.records(0) }]));
    done(store.append(&[Append { access_removed: (1..REMOVED_MAX).map(numbered).collect(), ..owner.records(0) }]));
    assert!(done(store.was_removed(&owner.queue, &numbered(0))));
    done(store.append(&[Append { access_removed: vec![numbered(REMOVED_MAX)], ..owner.records(0) }]));
    let remembered = [0, 1, REMOVED_MAX].map(|number| done(store.was_removed(&owner.queue, &numbered(number))));
    assert_eq!(remembered, [false, true, true]);
}

fn attachments_are_kept_until_removed<S: Store>(store: &S) {
    let mut owner = owner();
    let (old, new) = (attachment(1), attachment(2));
    done(store.append(&[Append { attachments_put: vec![old.clone()], ..owner.records(0) }]));
    done(store.append(&[Append { attachments_put: vec![new.clone()], attachments_removed: vec![old.0], ..owner.records(0) }]));
    assert_eq!(done(store.attachment(&owner.queue, &old.0)), None);
    assert_eq!(done(store.attachment(&owner.queue, &new.0)), Some(new.1));
}

fn an_attachment_of_one_queue_is_not_another_queues<S: Store>(store: &S) {
    let (mut owner, mut other) = (owner(), Publisher::new(QueueId::new([6; 32])));
    let put = |append: Append| Append { attachments_put: vec![attachment(1)], access_put: vec![row(1, "a")], ..append };
    done(store.append(&[put(owner.records(0)), other.records(0)]));
    assert_eq!(done(store.attachment(&other.queue, &attachment(1).0)), None);
    assert_eq!(done(store.access(&other.queue, &reader(1))), None);
}

/// [P-15]
fn the_highest_acknowledgement_stays<S: Store>(store: &S) {
    let owner = owner();
    for number in [2, 3, 1] {
        done(store.acknowledge(&[owner.acked(1, 1, number)]));
    }
    assert_eq!(done(store.acknowledgements(&owner.queue)), vec![kept(&owner.acked(1, 1, 3))]);
}

fn a_higher_term_counts_more_than_a_higher_number<S: Store>(store: &S) {
    let owner = owner();
    done(store.acknowledge(&[owner.acked(1, 1, 900), owner.acked(1, 2, 1), owner.acked(1, 1, 901)]));
    assert_eq!(done(store.acknowledgements(&owner.queue)), vec![kept(&owner.acked(1, 2, 1))]);
}

fn acknowledgements_of_one_group_are_told_apart<S: Store>(store: &S) {
    let (owner, other) = (owner(), Publisher::new(QueueId::new([6; 32])));
    done(store.acknowledge(&[owner.acked(2, 1, 1), other.acked(1, 1, 4), owner.acked(1, 1, 2)]));
    assert_eq!(done(store.acknowledgements(&owner.queue)), vec![kept(&owner.acked(1, 1, 2)), kept(&owner.acked(2, 1, 1))]);
    assert_eq!(done(store.acknowledgements(&other.queue)), vec![kept(&other.acked(1, 1, 4))]);
}

fn owner() -> Publisher {
    Publisher::new(QueueId::new([5; 32]))
}

fn reader(number: u8) -> Pseudonym {
    Pseudonym::new([number; 32])
}

fn row(number: u8, text: &'static str) -> (Pseudonym, Bytes) {
    (reader(number), Bytes::from_static(text.as_bytes()))
}

fn attachment(number: u8) -> (ContentHash, Bytes) {
    (ContentHash::new([number; 32]), Bytes::from(vec![number; 100]))
}

fn kept(acked: &Acked) -> (Pseudonym, Bytes) {
    (acked.reader, acked.bytes.clone())
}
