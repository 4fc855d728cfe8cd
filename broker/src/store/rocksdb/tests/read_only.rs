//! A look at a store that another handle is writing.

use super::*;

/// Live entries that a look finds, and those that the head beside them counts.
fn look(folder: &Path, queue: &QueueId) -> (u64, usize) {
    let looked = RocksStore::open_read_only(folder).expect("what is being written can be looked at");
    let scan = looked.scan(queue, Offset::ZERO, EVERYTHING).expect("readable").expect("there");
    let head = tidings_core::SignedHead::parse(scan.head).expect("a head");
    (head.head().live_count, scan.entries.len())
}

/// Logs and tables come and go while it opens them: what it sees is still one moment.
#[test]
fn a_look_beside_compactions_sees_one_moment() {
    let folder = folder();
    let (store, mut owner) = (open(folder.path()), owner(5));
    store.append(&[owner.records(50)]).expect("a write");
    let queue = owner.queue;
    let looks = std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for _ in 0..30 {
                store.append(&[owner.publish(&[Some(Birth::new(1)), None])]).expect("a write");
                compact(&store);
            }
        });
        let mut looks = Vec::new();
        while !writer.is_finished() {
            looks.push(look(folder.path(), &queue));
        }
        looks
    });
    assert!(!looks.is_empty() && looks.iter().all(|(counted, found)| *counted == *found as u64), "{looks:?}");
}

#[test]
fn a_folder_of_an_older_format_is_named_and_left_as_it_is() {
    let folder = folder();
    let store = open(folder.path());
    store.db.put(keys::FORMAT_KEY, 1_u32.to_be_bytes()).expect("a write");
    drop(store);
    let refused = RocksStore::open_read_only(folder.path()).expect_err("it is not taken over to look at it");
    assert_eq!(refused, OpenError::Older { found: 1 });
}

#[test]
fn queues_are_listed_in_order() {
    let folder = folder();
    let (store, mut one, mut two) = (open(folder.path()), owner(9), owner(3));
    store.append(&[one.records(1), two.records(1)]).expect("a write");
    let looked = RocksStore::open_read_only(folder.path()).expect("readable");
    assert_eq!(looked.queues().collect::<Result<Vec<_>, _>>(), Ok(vec![two.queue, one.queue]));
}
