//! What does one entry cost its owner, a broker and a reader: sealing, hashing, opening?
//!
//! This is what no design can avoid: each entry is sealed once, digested by everybody, opened by each reader. Compare publishing and
//! catching up (`delta.rs`) with the sums of these; the rest is bookkeeping. The cost should follow the padded length.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion};
use tidings_core::entry::Entry;
use tidings_core::seal::{Place, open, seal};
use tidings_core::{Entropy, EpochSecret, Mutation, Object, Operation, Version};
use tidings_proto::{Birth, Epoch, Offset, QueueId, Term};

const QUEUE: QueueId = QueueId::new([1; 32]);
const PLACE: Place = Place { term: Term::new(1), offset: Offset::new(1), birth: Birth::new(1) };

fn mutation(value: usize) -> Mutation {
    Mutation {
        path: "/record/1".parse().expect("a path"),
        operation: Operation::Create,
        version: Version { clock: 1, node: [2; 16] },
        object: None,
        inline: Some(Bytes::from(vec![3; value])),
        headers: Vec::new(),
        unknown: Vec::new(),
    }
}

fn entries(criterion: &mut Criterion) {
    let mut entropy = Entropy::new([4; 32]);
    let secret = EpochSecret::new(Epoch::new(1), &mut entropy);
    let mut group = criterion.benchmark_group("entry");
    for value in [256, 1024, 4096] {
        let mutation = mutation(value);
        let entry = seal(&secret, &QUEUE, PLACE, &mutation, &mut entropy).expect("it fits");
        let encoded = entry.encode();
        group.bench_function(BenchmarkId::new("seal", value), |bench| {
            bench.iter(|| seal(&secret, &QUEUE, PLACE, black_box(&mutation), &mut entropy));
        });
        group.bench_function(BenchmarkId::new("open", value), |bench| bench.iter(|| open(&secret, &QUEUE, black_box(&entry))));
        group.bench_function(BenchmarkId::new("decode", value), |bench| bench.iter(|| Entry::decode(black_box(&encoded))));
        group.bench_function(BenchmarkId::new("digest", value), |bench| bench.iter(|| Entry::digest_of(black_box(&encoded), &QUEUE)));
    }
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    entries(&mut criterion);
    criterion.final_summary();
}
