//! One damaged block, wherever it is: what needs it names its queue, and nothing else is touched.

use super::*;

/// Enough rows of every kind that the first block of a table belongs to one queue alone.
const ROWS: u8 = 80;

fn reader(number: u8) -> Pseudonym {
    Pseudonym::new([number; 32])
}

/// Publishes that fill every column family, and acknowledgements.
fn fill(store: &RocksStore, owner: &mut Publisher) {
    let filling = |number: u8, append: Append| Append {
        access_put: vec![(reader(number), Bytes::from(vec![number; 100]))],
        access_removed: vec![reader(number + 100)],
        attachments_put: vec![(ContentHash::new([number; 32]), Bytes::from(vec![number; 200]))],
        ..append
    };
    let group: Vec<Append> = (0..ROWS).map(|number| filling(number, owner.records(10))).collect();
    store.append(&group).expect("a write");
    let acks: Vec<Acked> = (0..ROWS).map(|number| owner.acked(number, 1, 1)).collect();
    store.acknowledge(&acks).expect("a write");
}

/// Two queues, and the first block of the table of `column` damaged: it holds rows of the first of them.
fn damaged(folder: &Path, column: Column) -> (RocksStore, Publisher, Publisher) {
    let (store, mut broken, mut whole) = (open(folder), owner(1), owner(9));
    fill(&store, &mut broken);
    fill(&store, &mut whole);
    compact(&store);
    let tables = store.db.live_files().expect("a list of tables");
    let table = tables.into_iter().find(|table| table.column_family_name == column.name()).expect("a table");
    drop(store);
    flip(&folder.join(table.name.trim_start_matches('/')), 50);
    let store = open(folder);
    // One that met the block would end all writing, at a moment of its own.
    for column in Column::ALL {
        store.db.set_options_cf(store.column(column), &[("disable_auto_compactions", "true")]).expect("an option");
    }
    (store, broken, whole)
}

type Use = fn(&RocksStore, &Publisher) -> Result<(), StoreError>;

/// The damaged queue is named, the other one served.
fn assert_only_one_is_damaged(column: Column, uses: &[Use]) {
    let folder = folder();
    let (store, broken, whole) = damaged(folder.path(), column);
    for (number, used) in uses.iter().enumerate() {
        let refused = used(&store, &broken);
        assert!(matches!(&refused, Err(StoreError::Damaged { queue: Some(queue), .. }) if *queue == broken.queue), "{number}: {refused:?}");
        assert_eq!(used(&store, &whole), Ok(()), "{number}");
        assert_eq!(store.damaged_queues(), 1, "{number}");
    }
}

fn publish(store: &RocksStore, owner: &Publisher, change: impl FnOnce(Append) -> Append) -> Result<(), StoreError> {
    store.append(&[change(owner.clone().publish(&[Some(Birth::new(1))]))])
}

#[test]
fn a_damaged_entry_is_met_by_a_scan_and_by_a_bitmap_with_its_chunk() {
    assert_only_one_is_damaged(
        Column::Entries,
        &[
            |store, owner| store.scan(&owner.queue, Offset::ZERO, EVERYTHING).map(drop),
            |store, owner| store.bitmap(&owner.queue, Offset::ZERO, EVERYTHING).map(drop),
        ],
    );
}

/// A scan of what is sound is answered, and so is a publish that touches other records.
#[test]
fn what_needs_no_damaged_entry_is_answered() {
    let folder = folder();
    let (store, broken, _) = damaged(folder.path(), Column::Entries);
    assert!(store.scan(&broken.queue, Offset::new(700), EVERYTHING).is_ok());
    assert_eq!(publish(&store, &broken, |append| append), Ok(()));
}

#[test]
fn a_damaged_live_row_is_met_by_a_bitmap_and_by_what_a_purge_looks_up() {
    assert_only_one_is_damaged(
        Column::Live,
        &[
            |store, owner| store.bitmap(&owner.queue, Offset::new(9), EVERYTHING).map(drop),
            |store, owner| store.live_at(&owner.queue, &[Offset::new(1)]).map(drop),
        ],
    );
}

#[test]
fn a_damaged_birth_is_met_by_what_a_publish_looks_up() {
    assert_only_one_is_damaged(
        Column::Births,
        &[
            |store, owner| store.live_of(&owner.queue, &[Birth::new(1)]).map(drop),
            |store, owner| store.live_at(&owner.queue, &[Offset::new(1)]).map(drop),
        ],
    );
}

#[test]
fn a_damaged_hash_of_the_history_is_met_by_a_proof() {
    assert_only_one_is_damaged(Column::History, &[|store, owner| store.history(&owner.queue, &[NodeIndex::leaf(0)]).map(drop)]);
}

/// [P-17]
#[test]
fn a_damaged_access_row_is_met_by_its_reader_and_by_the_owner() {
    assert_only_one_is_damaged(
        Column::Access,
        &[|store, owner| store.access(&owner.queue, &reader(0)).map(drop), |store, owner| store.access_list(&owner.queue).map(drop)],
    );
}

#[test]
fn a_damaged_row_of_a_former_reader_is_met_by_that_reader_and_by_the_next_change_of_access() {
    assert_only_one_is_damaged(
        Column::Removed,
        &[
            |store, owner| store.was_removed(&owner.queue, &reader(100)).map(drop),
            |store, owner| publish(store, owner, |append| Append { access_removed: vec![reader(1)], ..append }),
        ],
    );
}

#[test]
fn a_damaged_grant_is_met_by_its_reader() {
    assert_only_one_is_damaged(Column::Attachments, &[|store, owner| store.attachment(&owner.queue, &ContentHash::new([0; 32])).map(drop)]);
}

#[test]
fn a_damaged_acknowledgement_is_met_by_the_owner_and_by_the_next_one() {
    assert_only_one_is_damaged(
        Column::Acknowledgements,
        &[|store, owner| store.acknowledgements(&owner.queue).map(drop), |store, owner| store.acknowledge(&[owner.acked(0, 1, 2)])],
    );
}

#[test]
fn a_damaged_row_of_a_queue_is_met_by_everything() {
    assert_only_one_is_damaged(
        Column::Queues,
        &[
            |store, owner| store.queue(&owner.queue).map(drop),
            |store, owner| store.scan(&owner.queue, Offset::ZERO, EVERYTHING).map(drop),
            |store, owner| publish(store, owner, |append| append),
        ],
    );
}

/// Their list ended at the first block that did not read, and nothing was listed at all.
#[test]
fn queues_behind_a_damaged_row_are_listed_and_then_the_damage() {
    let folder = folder();
    let (store, broken, whole) = damaged(folder.path(), Column::Queues);
    drop(store);
    let looked = RocksStore::open_read_only(folder.path()).expect("it opens");
    let listed: Vec<_> = looked.queues().collect();
    assert!(
        matches!(&listed[..], [Ok(one), Ok(two), Err(StoreError::Damaged { .. })] if [*one, *two] == [broken.queue, whole.queue]),
        "{listed:?}"
    );
    assert!(looked.queue(&broken.queue).is_err() && looked.queue(&whole.queue).is_ok());
    assert_eq!(looked.damaged_queues(), 0);
}

/// All that could be read, and yet it is no queue: the commit thread and whoever streams say so.
#[test]
fn a_queue_that_contradicts_itself_is_counted_among_the_damaged() {
    let folder = folder();
    let store = open(folder.path());
    store.contradicted(&owner(5).queue, "no such head");
    assert_eq!(store.damaged_queues(), 1);
}
