//! How long does it take an owner to sign a publish, and a reader to verify and accept a delta, without any disk or network?
//!
//! Read the throughput: entries in a second on one core. `sign` rises with the batch until sealing is all of it. `accept` of one entry is
//! the price of a live delta, that of 10,000 the bound of a catch-up. `accept a conflated delta` carries 100 entries after 10,000
//! mutations of 100 records: it should cost what 100 entries cost, not what 10,000 do.

#[path = "../tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of several packages")]
mod paper;

use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use paper::{Owner, PaperBroker, Session, path};
use tidings_core::key::NodeKey;
use tidings_core::path::RecordPath;
use tidings_core::reader::MemoryReaderStore;
use tidings_core::writer::SignRequest;
use tidings_core::{Entropy, Reader, Step};
use tidings_proto::Timestamp;
use tidings_proto::frames::Reply;

fn writes(numbers: std::ops::Range<u64>) -> Vec<(RecordPath, Option<Bytes>)> {
    numbers.map(|number| (path(number), Some(Bytes::from(vec![number as u8; 256])))).collect()
}

fn sign(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sign");
    for count in [1, 16, 256] {
        let mut owner = Owner::new(1);
        let changes = owner.request(&writes(0..count), None).changes;
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |bench| {
            bench.iter_batched(
                || (owner.writer.clone(), SignRequest { changes: changes.clone(), ..SignRequest::default() }),
                |(mut writer, request)| {
                    let signed = writer.sign(&owner.key, request, Timestamp::new(1), &mut Entropy::new([6; 32]));
                    (signed, writer)
                },
                BatchSize::SmallInput,
            );
        });
    }
}

/// A reader before its first delta, and the frames of that.
fn joined(owner: &mut Owner) -> (Reader, Vec<Reply>) {
    let key = NodeKey::from_seed([9; 32]);
    let grant = owner.grant(&key);
    let mut reader = Reader::join(owner.writer.descriptor().clone(), &grant, &key).expect("the grant is this reader's");
    let mut session = Session::new(&reader.begin("broker", &mut MemoryReaderStore::default()).expect("memory does not fail"));
    let mut broker = PaperBroker::default();
    broker.receive(&owner.log, usize::MAX);
    let mut replies = Vec::new();
    while !matches!(replies.last(), Some(Reply::Chunk(chunk)) if chunk.complete) {
        replies.extend(session.next(&broker, 500));
    }
    (reader, replies)
}

fn accept(reader: &mut Reader, store: &mut MemoryReaderStore, replies: &[Reply]) {
    for reply in replies {
        let step = match reply {
            Reply::Announce(announce) => reader.on_announce(announce, store),
            Reply::Chunk(chunk) => reader.on_chunk(chunk, store),
            other => panic!("no frame of a delta: {other:?}"),
        };
        assert!(matches!(step, Ok(Step::Continue | Step::Accepted(_))));
    }
}

fn accepts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accept");
    for (name, records, mutations) in
        [("a delta of", 1, 1), ("a delta of", 100, 100), ("a delta of", 10_000, 10_000), ("a conflated delta of", 100, 10_000)]
    {
        let mut owner = Owner::new(1);
        for first in (0..mutations).step_by(100) {
            let from = first % records;
            owner.publish(&writes(from..records.min(from + 100)), None);
        }
        let (reader, replies) = joined(&mut owner);
        group.throughput(Throughput::Elements(records));
        group.bench_function(BenchmarkId::new(name, records), |bench| {
            bench.iter_batched(
                || (reader.clone(), MemoryReaderStore::default()),
                |(mut reader, mut store)| {
                    accept(&mut reader, &mut store, &replies);
                    (reader, store)
                },
                BatchSize::LargeInput,
            );
        });
    }
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    sign(&mut criterion);
    accepts(&mut criterion);
    criterion.final_summary();
}
