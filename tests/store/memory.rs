//! What the store takes of memory while many slow readers read and others hold snapshots, under writes.

use std::sync::Barrier;

use serde_json::{Value, json};
use tidings_broker::store::{RocksStore, ScanLimit, Settings, Store, Tuning};
use tidings_proto::{Offset, QueueId, caps};

use super::author::{Author, Dice};
use super::meter::{mib, ratio, resident};
use super::note::{full, note};

const READERS: usize = 100;
const RECORDS: usize = 50_000;
const ENTRY_BYTES: usize = 1_100;
const BATCH: usize = 256;
const CHUNK: ScanLimit = ScanLimit { entries: caps::CHUNK_ENTRIES_MAX, bytes: caps::CHUNK_BYTES_MAX };

/// A reader that takes one chunk in each round and begins again at the end.
fn read_slowly(store: &RocksStore, queue: &QueueId, rounds: usize, seed: u64, round: &Barrier) {
    let mut after = Offset::new(Dice::new(seed).below(RECORDS) as u64);
    for _ in 0..rounds {
        let scan = store.scan(queue, after, CHUNK).expect("a read").expect("the queue");
        after = scan.entries.last().filter(|_| !scan.complete).map_or(Offset::ZERO, |(last, _)| *last);
        round.wait();
    }
}

fn sample(store: &RocksStore, round: usize, published: u64) -> Value {
    let figures = store.figures();
    json!({
        "round": round, "published_mib": mib(published), "process_mib": mib(resident() * 1_024), "buffers_mib": mib(figures.buffers),
        "cache_mib": mib(figures.cache), "cache_pinned_mib": mib(figures.cache_pinned), "table_readers_mib": mib(figures.table_readers),
        "tables_mib": mib(figures.tables),
    })
}

/// One write in each round. With `held`, four snapshots are held all the time, as many as there may be recoveries at once.
fn curve(rounds: usize, held: bool) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let tuning = Tuning { counts: true, ..Tuning::default() };
    let store = RocksStore::open_tuned(folder.path(), &Settings::default(), &tuning).expect("the folder opens");
    let (mut author, mut dice) = (Author::new(1, ENTRY_BYTES), Dice::new(2));
    while author.live.len() < RECORDS {
        store.append(&[author.add(500)]).expect("stored");
    }
    let (queue, round) = (author.queue, Barrier::new(READERS + 1));
    let snapshots: Vec<_> = (0..if held { 4 } else { 0 }).map(|_| store.snapshot(&queue).expect("a read").expect("the queue")).collect();
    let (mut points, mut published) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        for seed in 0..READERS {
            let (store, round) = (&store, &round);
            scope.spawn(move || read_slowly(store, &queue, rounds, seed as u64 + 1, round));
        }
        for number in 0..rounds {
            let group: Vec<_> = (0..4).map(|_| author.update(&dice.some_of(0..RECORDS, BATCH))).collect();
            published += (4 * BATCH * ENTRY_BYTES) as u64;
            store.append(&group).expect("stored");
            if number % (rounds / 20) == 0 || number + 1 == rounds {
                points.push(sample(&store, number, published));
            }
            round.wait();
        }
    });
    for snapshot in &snapshots {
        assert_eq!(snapshot.scan(Offset::ZERO, CHUNK).expect("a read").entries.first().map(|(offset, _)| *offset), Some(Offset::new(1)));
    }
    Value::Array(points)
}

#[test]
#[ignore = "measures: make store-lab"]
fn memory_under_slow_readers() {
    let rounds = if full() { 2_000 } else { 400 };
    let start = ratio(resident() as f64 / 1_024.0, 1.0);
    let free = curve(rounds, false);
    let held = curve(rounds, true);
    note(
        "memory",
        json!({
            "readers": READERS, "live_records": RECORDS, "entry_bytes": ENTRY_BYTES, "process_mib_at_start": start,
            "buffers_mib_max": mib(Tuning::default().buffers_bytes_max as u64), "cache_mib_max": mib(Settings::default().block_cache_bytes as u64),
            "readers_alone": free, "with_four_snapshots_held": held,
        }),
    );
}
