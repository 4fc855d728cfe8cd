//! What does a store cost: one synced append of 1, 16 or 256 entries, and a scan?
//!
//! `memory` shows what building and applying an append takes; `disk` is RocksDB in a temporary folder, where the sync rules: an append of
//! 256 entries should cost little more than one of a single entry, or batching does not pay. Both are the same calls that the commit
//! thread makes. A scan of 500 entries out of 10,000 is one chunk of a catch-up; its time for an entry bounds what one core can serve.
//! The disk part is there only where the crate is built with RocksDB, as the whole workspace is.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tidings_broker::store::conformance::publisher::Publisher;
use tidings_broker::store::{MemoryStore, ScanLimit, Store};
use tidings_proto::{Offset, QueueId};

const QUEUE: QueueId = QueueId::new([1; 32]);

/// One publish after the other of one queue; making them is off the clock.
fn appends(criterion: &mut Criterion, name: &str, store: &dyn Store) {
    let mut group = criterion.benchmark_group("append");
    for (queue, entries) in [(2, 1), (3, 16), (4, 256)] {
        let mut publisher = Publisher::new(QueueId::new([queue; 32]));
        group.throughput(Throughput::Elements(entries));
        group.bench_function(BenchmarkId::new(name, entries), |bench| {
            bench.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| {
                        let append = publisher.records(entries as usize);
                        let began = Instant::now();
                        store.append(&[append]).expect("it continues");
                        began.elapsed()
                    })
                    .sum()
            });
        });
    }
}

fn scans(criterion: &mut Criterion, name: &str, store: &dyn Store) {
    let mut publisher = Publisher::new(QUEUE);
    (0..10).for_each(|_| store.append(&[publisher.records(1_000)]).expect("it continues"));
    let mut group = criterion.benchmark_group("scan");
    let limit = ScanLimit { entries: 500, bytes: usize::MAX };
    group.throughput(Throughput::Elements(500));
    group.bench_function(BenchmarkId::new(name, "500 of 10000"), |bench| {
        bench.iter(|| store.scan(&QUEUE, Offset::new(5_000), limit));
    });
}

fn bench(criterion: &mut Criterion, name: &str, store: &dyn Store) {
    scans(criterion, name, store);
    appends(criterion, name, store);
}

#[cfg(feature = "rocksdb")]
fn bench_disk(criterion: &mut Criterion) {
    use tidings_broker::store::{RocksStore, Settings};
    let folder = tempfile::tempdir().expect("a folder");
    let store = RocksStore::open(folder.path(), &Settings::default()).expect("a new store");
    bench(criterion, "disk", &store);
}

#[cfg(not(feature = "rocksdb"))]
fn bench_disk(_: &mut Criterion) {}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    bench(&mut criterion, "memory", &MemoryStore::new());
    bench_disk(&mut criterion);
    criterion.final_summary();
}
