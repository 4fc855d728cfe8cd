//! What does a broker compute for a publish, for a live reader and for a catch-up, apart from disk and network?
//!
//! `check` runs on any thread; `commit` is what the one thread that writes heads does, over a store in memory: its time for one publish
//! is the bound of publishes in a second, whatever the disk can. `tell` is what one more live reader costs for each commit. `serve`
//! is a catch-up as a reader is sent it, encoded; compare its throughput with `delta/accept`: a broker should serve many readers.

#[path = "../../core/tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of several packages")]
mod paper;

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use paper::{Owner, path};
use tidings_broker::commit::{CommitQueue, CommitSettings};
use tidings_broker::engine::{Checked, FanOut, Next, Subscription, check};
use tidings_broker::store::MemoryStore;
use tidings_core::path::RecordPath;
use tidings_proto::frames::{Publish, Subscribe};
use tidings_proto::{HeadNumber, Offset, Timestamp};

const NOW: Timestamp = Timestamp::new(1);

fn writes(count: u64) -> Vec<(RecordPath, Option<Bytes>)> {
    (0..count).map(|number| (path(number), Some(Bytes::from(vec![number as u8; 256])))).collect()
}

fn checked(owner: &Owner, publish: &Publish) -> Checked {
    check(owner.writer.descriptor(), publish.clone()).expect("a valid publish")
}

/// A store that has all that these owners signed so far.
fn store_of(owners: &[Owner]) -> MemoryStore {
    let (store, mut commits) = (MemoryStore::new(), CommitQueue::new(CommitSettings::default()));
    for owner in owners {
        let group = owner.log.iter().map(|publish| checked(owner, publish)).collect();
        assert!(commits.commit_group::<Checked>(&store, NOW, group).iter().all(Result::is_ok));
    }
    store
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    for count in [1, 16, 256] {
        let mut owner = Owner::new(1);
        let publish = owner.publish(&writes(count), None).publish();
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |bench| {
            bench.iter_batched(|| publish.clone(), |publish| check(owner.writer.descriptor(), publish), BatchSize::SmallInput);
        });
    }
}

/// Updates of one record, of as many queues in turn, in one group.
fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    for (queues, publishes) in [(1, 1), (1, 64), (8, 64), (64, 64)] {
        let mut owners: Vec<Owner> = (0..queues).map(Owner::new).collect();
        owners.iter_mut().for_each(|owner| _ = owner.publish(&writes(1), None));
        let store = store_of(&owners);
        let mut step = |at: u64| {
            let owner = &mut owners[(at % queues) as usize];
            let signed = owner.publish(&writes(1), None);
            checked(owner, &signed.publish())
        };
        let waiting: Vec<Checked> = (0..publishes).map(&mut step).collect();
        group.throughput(Throughput::Elements(publishes));
        group.bench_function(BenchmarkId::new(format!("publishes of {queues} queues"), publishes), |bench| {
            bench.iter_batched(
                || (store.clone(), CommitQueue::new(CommitSettings::default()), waiting.clone()),
                |(store, mut commits, waiting)| (commits.commit_group(&store, NOW, waiting), store),
                BatchSize::LargeInput,
            );
        });
    }
}

fn subscribe(owner: &Owner) -> Subscription {
    let reader = owner.writer.readers().first().expect("the owner reads").row.pseudonym;
    let subscribe =
        Subscribe { queue: owner.writer.queue(), reader, cursor: HeadNumber::ZERO, position: Offset::ZERO, grant: Bytes::new() };
    Subscription::open(&subscribe).expect("well formed")
}

fn serve(subscription: &mut Subscription, store: &MemoryStore) -> usize {
    let mut sent = 0;
    loop {
        match subscription.next() {
            Next::Send(reply) => sent += reply.encode_prefixed().len(),
            Next::Read(read) => subscription.on_answer(read.perform(store).expect("memory does not fail")),
            Next::Wait(_) => return sent,
            Next::End => panic!("an honest subscription does not end"),
        }
    }
}

fn serves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("serve");
    let mut owner = Owner::new(1);
    (0..5).for_each(|_| _ = owner.publish(&writes(2_000), None));
    let owners = [owner];
    let store = store_of(&owners);
    group.throughput(Throughput::Elements(2_000));
    group.bench_function("2000 live entries of 10000", |bench| {
        bench.iter_batched_ref(|| subscribe(&owners[0]), |subscription| serve(subscription, &store), BatchSize::SmallInput);
    });
}

/// Each live reader is told of each of these commits; a reader that has had all of them is replaced by a new one, off the clock.
fn tells(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tell");
    let mut owners = [Owner::new(1)];
    let (store, later) = (store_of(&owners), store_of(&owners));
    let mut commits = CommitQueue::new(CommitSettings::default());
    let publishes: Vec<Checked> = (0..256)
        .map(|_| {
            let publish = owners[0].publish(&writes(1), None).publish();
            checked(&owners[0], &publish)
        })
        .collect();
    let answers = commits.commit_group(&later, NOW, publishes);
    let commits: Vec<_> = answers.into_iter().map(|answer| answer.expect("it continues").committed).collect();
    group.bench_function("make the frames of a commit", |bench| {
        bench.iter(|| commits[0].frames().map(|frames| frames.iter().map(|frame| frame.encode_prefixed().len()).sum::<usize>()));
    });
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1000 live readers", |bench| {
        bench.iter_custom(|iterations| {
            let (mut elapsed, mut left) = (Duration::ZERO, iterations as usize);
            while left > 0 {
                let mut live: Vec<_> = (0..1_000).map(|_| subscribe(&owners[0])).collect();
                live.iter_mut().for_each(|live| _ = serve(live, &store));
                let told = left.min(commits.len());
                let began = Instant::now();
                for committed in &commits[..told] {
                    live.iter_mut().for_each(|live| assert_eq!(live.on_committed(committed), FanOut::Shared));
                }
                elapsed += began.elapsed();
                left -= told;
            }
            elapsed
        });
    });
}

fn main() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = criterion.sample_size(20).configure_from_args();
    checks(&mut criterion);
    commits(&mut criterion);
    serves(&mut criterion);
    tells(&mut criterion);
    criterion.final_summary();
}
