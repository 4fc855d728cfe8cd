//! What does it cost to keep a commitment to a set: one element more or less, and the root that a head signs?
//!
//! Everybody who keeps a queue pays `add` once for each new entry, and `remove` once for each that it replaces. `root` and `state` come
//! once for each head. If `add` is dear against `entry/open`, catching up is bound by the set and not by decryption.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use tidings_core::{SetHash, SetKind};

fn sets(criterion: &mut Criterion) {
    let (mut set, element) = (SetHash::new(SetKind::Live), [7; 32]);
    let mut group = criterion.benchmark_group("set hash");
    group.bench_function("add", |bench| bench.iter(|| set.add(black_box(&element))));
    group.bench_function("remove", |bench| bench.iter(|| set.remove(black_box(&element))));
    group.bench_function("root", |bench| bench.iter(|| black_box(&set).root()));
    let state = set.state();
    group.bench_function("state", |bench| bench.iter(|| black_box(&set).state()));
    group.bench_function("from state", |bench| bench.iter(|| SetHash::from_state(SetKind::Live, black_box(&state))));
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    sets(&mut criterion);
    criterion.final_summary();
}
