//! Rows of older formats: read as they are, replaced by new ones as publishes come. [P-20]

use super::super::values::tests::{encode_queue_with_access, encode_whole_at};
use super::*;
use crate::store::Tuning;

/// Writes what stands of a queue as builds of format 2 did.
fn make_older(store: &RocksStore, owner: &Publisher) {
    let (view, queue) = (store.view(&owner.queue), &owner.queue);
    let (value, branch) = (view.value().expect("a read").expect("a queue"), view.branch().expect("a read"));
    let put = |column, key: &[u8], value: &[u8]| store.db.put_cf(store.column(column), key, value).expect("a write");
    put(Column::Queues, queue.bytes(), &encode_queue_with_access(value.first, value.branch, &value.row));
    store.db.delete_cf(store.column(Column::Queues), keys::access_state(queue)).expect("a write");
    for row in owner.live() {
        put(Column::Live, &keys::numbered(&branch, row.offset.value()), &encode_whole_at(&row));
        put(Column::Births, &keys::numbered(&branch, row.birth.value()), &row.offset.value().to_be_bytes());
    }
    store.db.put(keys::FORMAT_KEY, 2_u32.to_be_bytes()).expect("a write");
}

/// A folder of format 2 with one queue of five records, one of them replaced.
fn older() -> (TempDir, Publisher, QueueRow) {
    let (folder, mut owner) = (folder(), owner(5));
    let store = open(folder.path());
    store.append(&[owner.records(5), owner.publish(&[Some(Birth::new(2))])]).expect("stored");
    make_older(&store, &owner);
    let row = store.queue(&owner.queue).expect("a read").expect("a queue");
    (folder, owner, row)
}

/// Every way to ask for a live row says the same as the owner.
fn assert_live(store: &RocksStore, owner: &Publisher) {
    let rows = owner.live();
    let known: Vec<_> = rows.iter().copied().map(Some).collect();
    let (births, offsets): (Vec<_>, Vec<_>) = rows.iter().map(|row| (row.birth, row.offset)).unzip();
    assert_eq!(store.live_of(&owner.queue, &births), Ok(known.clone()));
    assert_eq!(store.live_at(&owner.queue, &offsets), Ok(known.clone()));
    for (row, (birth, offset)) in known.iter().zip(births.into_iter().zip(offsets)) {
        assert_eq!(store.live_of(&owner.queue, &[birth]), Ok(vec![*row]));
        assert_eq!(store.live_at(&owner.queue, &[offset]), Ok(vec![*row]));
    }
    let bitmap = store.bitmap(&owner.queue, Offset::new(u64::MAX), EVERYTHING).expect("a read").expect("a queue").0;
    assert_eq!(bitmap.iter().collect::<std::collections::BTreeSet<_>>(), rows.iter().map(|row| row.offset.value()).collect());
}

#[test]
fn a_folder_of_format_2_is_taken_over_as_it_is() {
    let (folder, owner, row) = older();
    for _ in 0..2 {
        let store = open(folder.path());
        assert_eq!(store.queue(&owner.queue), Ok(Some(row.clone())));
        assert_live(&store, &owner);
    }
    let looked = RocksStore::open_read_only(folder.path()).expect("taken over");
    assert_eq!(looked.queues().collect::<Result<Vec<_>, _>>(), Ok(vec![owner.queue]));
}

#[test]
fn a_folder_of_format_2_is_not_looked_at_before_it_is_taken_over() {
    let (folder, ..) = older();
    assert_eq!(RocksStore::open_read_only(folder.path()).err(), Some(OpenError::Older { found: 2 }));
}

#[test]
fn rows_of_format_2_and_later_ones_stand_beside_each_other() {
    let (folder, mut owner, _) = older();
    let store = open(folder.path());
    let next = owner.publish(&[Some(Birth::new(1)), Some(Birth::new(4)), None]);
    store.append(std::slice::from_ref(&next)).expect("stored");
    assert_eq!(store.queue(&owner.queue), Ok(Some(next.row)));
    assert_live(&store, &owner);
    let next = owner.purge(&[Birth::new(3), Birth::new(4)]);
    store.append(std::slice::from_ref(&next)).expect("stored");
    assert_eq!(store.queue(&owner.queue), Ok(Some(next.row)));
    assert_live(&store, &owner);
}

/// The state is 2 KiB; the heads of this owner change it at every third.
#[test]
fn the_state_of_the_access_list_is_written_when_it_changes() {
    let (folder, mut owner) = (folder(), owner(5));
    let counting = Tuning { counts: true, ..Tuning::default() };
    let store = RocksStore::open_tuned(folder.path(), &Settings::default(), &counting).expect("the folder opens");
    let mut logged = Vec::new();
    for _ in 0..6 {
        let before = store.figures().done.logged;
        let append = owner.publish(&[None]);
        store.append(std::slice::from_ref(&append)).expect("stored");
        assert_eq!(store.queue(&owner.queue), Ok(Some(append.row)));
        logged.push(store.figures().done.logged - before > 4_800);
    }
    assert_eq!(logged, [true, false, true, false, false, true]);
}

/// [P-20] A state that is gone is damage, not an empty list.
#[test]
fn a_missing_state_of_the_access_list_is_damage_to_its_queue() {
    let (folder, mut owner) = (folder(), owner(5));
    let store = open(folder.path());
    store.append(&[owner.records(1)]).expect("stored");
    store.db.delete_cf(store.column(Column::Queues), keys::access_state(&owner.queue)).expect("a write");
    assert!(matches!(store.queue(&owner.queue), Err(StoreError::Damaged { queue: Some(_), .. })));
    assert_eq!(entries(&store, &owner), Ok(1));
}
