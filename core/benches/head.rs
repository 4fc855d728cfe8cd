//! What does one head cost, however many entries it covers: signing, reading, verifying, and the receipt for it?
//!
//! These are paid once for each publish. Divided by the entries of a publish they tell from which batch on signatures do not matter:
//! where they fall below `entry/seal`.

#[path = "../tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of several packages")]
mod paper;

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use tidings_core::{Frontier, Object, Receipt, ReceiptKey, SignedHead};
use tidings_proto::Timestamp;

fn heads(criterion: &mut Criterion) {
    let owner = paper::Owner::new(1);
    let head = owner.writer.head().expect("a head");
    let key = owner.key.verifying_key();
    let mut group = criterion.benchmark_group("head");
    group.bench_function("sign", |bench| bench.iter(|| black_box(head.head()).sign(&owner.key)));
    group.bench_function("parse", |bench| bench.iter(|| SignedHead::parse(black_box(head.bytes()).clone())));
    group.bench_function("verify", |bench| bench.iter(|| black_box(head).verify(&key)));
    group.bench_function("append to a history", |bench| {
        let (frontier, _) = Frontier::start(&owner.writer.queue());
        bench.iter_batched_ref(|| frontier.clone(), |frontier| frontier.append(head.hash().bytes()), criterion::BatchSize::SmallInput);
    });
    group.bench_function("encode a writer", |bench| bench.iter(|| black_box(&owner.writer).encode()));
}

fn receipts(criterion: &mut Criterion) {
    let (owner, key) = (paper::Owner::new(1), ReceiptKey::from_seed([5; 32]));
    let head = owner.writer.head().expect("a head");
    let receipt = Receipt { queue: owner.writer.queue(), rank: head.rank(), head: head.hash(), since: Timestamp::new(1) };
    let (signed, public) = (receipt.sign(&key), key.verifying_key());
    let mut group = criterion.benchmark_group("receipt");
    group.bench_function("sign", |bench| bench.iter(|| black_box(&receipt).sign(&key)));
    group.bench_function("verify", |bench| bench.iter(|| Receipt::verify(black_box(&signed), &public)));
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    heads(&mut criterion);
    receipts(&mut criterion);
    criterion.final_summary();
}
