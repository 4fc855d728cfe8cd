//! A branch that is replaced on a disk: what stands after a restart, what is left of the old one, and what a large one costs. [P-10]

use std::time::{Duration, Instant};

use ::rocksdb::{IteratorMode, ReadOptions};
use tidings_core::key::NodeKey;
use tidings_core::writer::Writer;
use tidings_core::{Cursor, Entropy, Entry, EpochCommitment, Frontier, Head, Object, QueueDescriptor, SetHash, SetKind, Version, WriterId};
use tidings_proto::frames::Transfer;
use tidings_proto::{Epoch, HeadNumber, Term, Timestamp};

use super::*;
use crate::engine::Recovery;
use crate::engine::test_branch::adopt;
use crate::store::conformance::adoptions::anew;

/// Rows of all branches of all queues in one column.
fn rows(store: &RocksStore, column: Column) -> usize {
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    store.db.iterator_cf_opt(store.column(column), options, IteratorMode::Start).inspect(|row| assert!(row.is_ok(), "readable")).count()
}

/// [P-7]
#[test]
fn a_replaced_branch_stands_after_a_restart_and_leaves_no_row() {
    let (folder, mut owner) = (folder(), owner(0xff));
    let store = open(folder.path());
    store.append(&[owner.records(7), owner.records(3)]).expect("stored");
    for records in [5, 2] {
        let (staged, rest) = anew(owner.start_over(records));
        store.stage(&staged).expect("staged");
        store.append(&[rest]).expect("stored");
    }
    drop(store);
    let store = open(folder.path());
    assert_eq!(entries(&store, &owner), Ok(2));
    assert_eq!([Column::Entries, Column::Live, Column::Births].map(|column| rows(&store, column)), [2; 3]);
    assert_eq!(rows(&store, Column::History), 3, "two leaves and what they make");
    store.append(&[owner.records(1)]).expect("stored");
    assert_eq!(entries(&store, &owner), Ok(3));
    drop(store);
    let looked = RocksStore::open_read_only(folder.path()).expect("the folder opens");
    assert_eq!(entries(&looked, &owner), Ok(3));
}

/// What a crash left of a branch that was to be, nobody reads, and the next one does not find.
#[test]
fn what_was_staged_before_a_restart_is_removed_by_the_next_transfer() {
    let (folder, mut owner) = (folder(), owner(1));
    let store = open(folder.path());
    store.append(&[owner.records(4)]).expect("stored");
    let left = owner.clone();
    store.stage(&anew(owner.start_over(6)).0).expect("staged");
    drop(store);
    let store = open(folder.path());
    assert_eq!((entries(&store, &left), rows(&store, Column::Entries)), (Ok(4), 10));
    store.unstage(&owner.queue).expect("removed");
    assert_eq!((entries(&store, &left), rows(&store, Column::Entries)), (Ok(4), 4));
}

/// A branch with one head and so many entries, a thousand in each part.
fn parts(key: &NodeKey, descriptor: &QueueDescriptor, term: u64, count: u64) -> Vec<Transfer> {
    let queue = descriptor.id();
    let (mut live, start) = (SetHash::new(SetKind::Live), Cursor::start(&queue));
    let entry = |offset| {
        let ciphertext = Bytes::from(vec![term as u8; 300]);
        let (term, offset, birth) = (Term::new(term), Offset::new(offset), Birth::new(offset));
        let bytes = Bytes::from(Entry { term, offset, birth, epoch: Epoch::new(1), nonce: [1; 24], ciphertext }.encode());
        live.add(Entry::digest_of(&bytes, &queue).bytes());
        bytes
    };
    let entries: Vec<Bytes> = (1..=count).map(entry).collect();
    let head = Head {
        queue,
        writer: WriterId([1; 16]),
        term: Term::new(term),
        base: start,
        number: HeadNumber::new(1),
        offset: Offset::new(count),
        live_count: count,
        live_root: live.root(),
        floor: Offset::ZERO,
        floor_version: Version::ZERO,
        purged: Head::purged_hash(&[]),
        epoch: Epoch::new(1),
        epochs: vec![EpochCommitment { epoch: Epoch::new(1), commitment: [3; 32] }],
        access_root: SetHash::new(SetKind::Access).root(),
        access_count: 0,
        history_root: Frontier::start(&queue).0.root(),
        previous: start.head,
        state: tidings_core::QueueState::Open,
        time: Timestamp::new(term),
    };
    let mut parts: Vec<_> = entries.chunks(1_000).map(|entries| Transfer { entries: entries.to_vec(), ..Transfer::default() }).collect();
    parts.push(Transfer { head: head.sign(key).bytes().clone(), ..Transfer::default() });
    parts
}

/// Highest and present resident memory, MiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    (field("VmHWM:").unwrap_or(0) / 1024, field("VmRSS:").unwrap_or(0) / 1024)
}

fn timed<T>(step: &str, act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = act();
    let took = began.elapsed();
    println!("{step}: {took:?}, memory (highest, now) {:?} MiB", memory());
    (result, took)
}

/// [P-5] [P-10] Prints what a branch of 100,000 entries costs. The parts, made beforehand, are in memory too.
#[test]
#[ignore = "a measurement"]
fn a_large_branch_is_replaced_and_given_back_in_bounded_memory() {
    let (folder, key, count) = (folder(), NodeKey::from_seed([1; 32]), 100_000);
    let descriptor = Writer::create(&key, &mut Entropy::new([1; 32])).descriptor().clone();
    let store = open(folder.path());
    let [first, second] = [1, 2].map(|term| parts(&key, &descriptor, term, count));
    println!("parts made: memory {:?} MiB", memory());
    timed("filled", || adopt(&store, &descriptor, &first).expect("an honest transfer"));
    let (receipted, _) = timed("replaced", || adopt(&store, &descriptor, &second).expect("an honest transfer"));
    assert!(receipted.committed.replaced);
    drop((first, second));
    let given = timed("given back", || {
        let (mut recovery, mut given) = (Recovery::open(&store, &descriptor.id()).expect("it is there"), 0);
        while let Some(part) = recovery.next_part().expect("a whole queue") {
            given += part.entries.len() as u64;
        }
        given
    });
    assert_eq!(given.0, count);
}
