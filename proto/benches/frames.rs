//! What does framing cost: how long does a frame take to become bytes, and bytes to become a frame?
//!
//! Read the time of one frame against what it carries. Decoding shares the frame's memory, so that it should follow the number of
//! entries and not their length; encoding copies each entry once. Both are to stay far below the seal of one entry for each entry.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use tidings_proto::frames::{Chunk, Publish};
use tidings_proto::wire::PREFIX_BYTES;
use tidings_proto::{HeadNumber, HeadRank, Reply, Request, Term};

/// About what 256 bytes of value are, sealed.
const ENTRY_BYTES: usize = 400;

fn entries(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(vec![number as u8; ENTRY_BYTES])).collect()
}

fn publish(count: usize) -> Request {
    Request::Publish(Publish {
        head: Bytes::from(vec![1; 500]),
        entries: entries(count),
        purged: Vec::new(),
        access_put: Vec::new(),
        access_removed: Vec::new(),
        attachments: Vec::new(),
    })
}

fn chunk(count: usize) -> Reply {
    let stamp = HeadRank { term: Term::new(1), number: HeadNumber::new(300) };
    Reply::Chunk(Chunk { stamp, entries: entries(count), complete: true })
}

fn publishes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish frame");
    for count in [1, 16, 256] {
        let request = publish(count);
        let frame = request.encode();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("encode", count), |bench| bench.iter(|| black_box(&request).encode_prefixed()));
        group.bench_function(BenchmarkId::new("decode", count), |bench| bench.iter(|| Request::decode(black_box(&frame).clone())));
    }
}

fn chunks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunk frame");
    for count in [1, 500] {
        let reply = chunk(count);
        let frame = reply.encode_prefixed().slice(PREFIX_BYTES..);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("encode", count), |bench| bench.iter(|| black_box(&reply).encode_prefixed()));
        group.bench_function(BenchmarkId::new("decode", count), |bench| bench.iter(|| Reply::decode(black_box(&frame).clone())));
    }
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    publishes(&mut criterion);
    chunks(&mut criterion);
    criterion.final_summary();
}
