//! What a publish costs on its way through engine and store, part by part, without syncs. Each figure is the middle of many groups, which
//! other programs do not move unless they take the machine most of the time. `make store-lab` runs it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use ::rocksdb::{WriteBatch, WriteOptions};
use tidings_core::{SetHash, SetKind};
use tidings_proto::Timestamp;
use tidings_proto::frames::Publish;

use super::*;
use crate::commit::{CommitQueue, CommitSettings};
use crate::engine::test_owner::{TestOwner, puts};
use crate::engine::{Checked, check};

/// Records of each owner: each publish replaces one of them.
const RECORDS: u8 = 200;

/// A store that adds up what its calls take.
struct Spy {
    store: Arc<RocksStore>,
    /// The batches of the store are also written here, with nothing around.
    bare: Arc<RocksStore>,
    spent: [AtomicU64; 4],
}

/// Places in [`Spy::spent`].
const READS: usize = 0;
const BATCH: usize = 1;
const BARE: usize = 2;
const APPEND: usize = 3;

/// Check of a publish, of which the signature is a part; steps of the set hash, a part of the judgement; what the engine decides; the rows
/// it reads; making the batch; writing it with nothing around and no sync; the whole append with its sync.
const PARTS: [&str; 8] = ["check", "verify", "set_hash", "judge", "reads", "batch", "bare_write", "append_and_sync"];

fn timed<T>(sum: &AtomicU64, call: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let answer = call();
    sum.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    answer
}

impl Spy {
    fn new(folder: &Path) -> Self {
        let open = |name| Arc::new(open(&folder.join(name)));
        Self { store: open("store"), bare: open("bare"), spent: Default::default() }
    }

    fn take(&self) -> [u64; 4] {
        std::array::from_fn(|place| self.spent[place].swap(0, Ordering::Relaxed))
    }
}

impl Store for Spy {
    fn queue(&self, queue: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        timed(&self.spent[READS], || self.store.queue(queue))
    }

    fn append(&self, group: &[Append]) -> Result<(), StoreError> {
        let batch = timed(&self.spent[BATCH], || append::batch(&self.store, group))?;
        let bare = WriteBatch::from_data(batch.data());
        timed(&self.spent[BARE], || self.bare.db.write_opt(bare, &WriteOptions::default())).expect("a write");
        timed(&self.spent[APPEND], || self.store.append(group))
    }

    fn live_of(&self, queue: &QueueId, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        timed(&self.spent[READS], || self.store.live_of(queue, births))
    }

    fn access_list(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.store.access_list(queue)
    }

    fn live_at(&self, queue: &QueueId, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.store.live_at(queue, offsets)
    }

    fn stage(&self, staged: &Staged) -> Result<(), StoreError> {
        self.store.stage(staged)
    }

    fn unstage(&self, queue: &QueueId) -> Result<(), StoreError> {
        self.store.unstage(queue)
    }

    fn scan(&self, queue: &QueueId, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError> {
        self.store.scan(queue, after, limit)
    }

    fn bitmap(&self, queue: &QueueId, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError> {
        self.store.bitmap(queue, through, limit)
    }

    fn history(&self, queue: &QueueId, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        self.store.history(queue, nodes)
    }

    fn access(&self, queue: &QueueId, reader: &Pseudonym) -> Result<Option<Bytes>, StoreError> {
        self.store.access(queue, reader)
    }

    fn was_removed(&self, queue: &QueueId, reader: &Pseudonym) -> Result<bool, StoreError> {
        self.store.was_removed(queue, reader)
    }

    fn attachment(&self, queue: &QueueId, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        self.store.attachment(queue, hash)
    }

    fn acknowledge(&self, group: &[Acked]) -> Result<(), StoreError> {
        self.store.acknowledge(group)
    }

    fn snapshot<'a>(&'a self, queue: &QueueId) -> Result<Option<Box<dyn Snapshot + 'a>>, StoreError> {
        self.store.snapshot(queue)
    }

    fn acknowledgements(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.store.acknowledgements(queue)
    }
}

/// Owners with all their records published.
fn owners(count: u8, store: &Spy, commits: &mut CommitQueue) -> Vec<TestOwner> {
    let names: Vec<u8> = (0..RECORDS).collect();
    let mut owners: Vec<_> = (0..count).map(|seed| TestOwner::new(seed + 1)).collect();
    let checked: Vec<_> = owners.iter_mut().map(|owner| owner.checked(puts(&names))).collect();
    assert!(commits.commit_group(store, Timestamp::ZERO, checked).iter().all(Result::is_ok));
    store.take();
    owners
}

/// Of groups of `group` publishes of one entry each by `count` owners: nanoseconds of each part, by publish.
fn measure(count: u8, group: usize, groups: usize) -> Vec<(&'static str, u64)> {
    let (folder, mut commits) = (folder(), CommitQueue::new(CommitSettings::default()));
    let store = Spy::new(folder.path());
    let mut owners = owners(count, &store, &mut commits);
    let mut taken = vec![Vec::new(); PARTS.len()];
    for round in 0..groups {
        let signed: Vec<(usize, Publish)> = (round * group..(round + 1) * group)
            .map(|place| (place % usize::from(count), owners[place % usize::from(count)].put(&[(place * 67 % usize::from(RECORDS)) as u8])))
            .collect();
        let [checks, verify, sets, commit] = <[AtomicU64; 4]>::default();
        let check = |(owner, put): (usize, Publish)| (owner, check(owners[owner].descriptor(), put).expect("valid"));
        let checked: Vec<(usize, Checked)> = timed(&checks, || signed.into_iter().map(check).collect());
        let sound = |(owner, step): &(usize, Checked)| step.head().verify(&owners[*owner].descriptor().signing_key).is_ok();
        assert!(timed(&verify, || checked.iter().all(sound)));
        timed(&sets, || set_steps(group));
        let checked: Vec<Checked> = checked.into_iter().map(|(_, step)| step).collect();
        assert!(timed(&commit, || commits.commit_group(&store, Timestamp::ZERO, checked)).iter().all(Result::is_ok));
        let [reads, batch, bare, append] = store.take();
        let judge = commit.into_inner() - reads - batch - bare - append;
        let parts = [checks.into_inner(), verify.into_inner(), sets.into_inner(), judge, reads, batch, bare, append];
        taken.iter_mut().zip(parts).for_each(|(all, part)| all.push(part / group as u64));
    }
    let middle = |mut all: Vec<u64>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    PARTS.into_iter().zip(taken.into_iter().map(middle)).collect()
}

/// Adds one entry to a set and removes one, `count` times.
fn set_steps(count: usize) -> [u8; 32] {
    let mut live = SetHash::new(SetKind::Live);
    for step in 0..count {
        live.add(&[step as u8; 32]);
        live.remove(&[!(step as u8); 32]);
    }
    live.root()
}

#[test]
#[ignore = "measures: make store-lab"]
fn the_cost_of_a_publish_part_by_part() {
    let mut lines = Vec::new();
    for (owners, group, groups) in [(1, 1, 500), (1, 16, 100), (1, 256, 30), (16, 16, 100), (128, 256, 30)] {
        let parts = measure(owners, group, groups);
        let of = |names: &[&str]| parts.iter().filter(|(name, _)| names.contains(name)).map(|(_, time)| time).sum::<u64>() as f64;
        let ratio = of(&["check", "judge", "reads", "batch", "bare_write"]) / of(&["verify", "set_hash", "reads", "bare_write"]);
        let parts: Vec<_> = parts.iter().map(|(name, time)| format!("\"{name}\": {time}")).collect();
        let line = format!("{{ \"owners\": {owners}, \"group\": {group}, {}, \"all_to_unavoidable\": {ratio:.2} }}", parts.join(", "));
        println!("{line}");
        lines.push(line);
    }
    if let Some(file) = std::env::var_os("TIDINGS_COST_EVIDENCE") {
        let text = format!(
            "{{\n  \"unit\": \"nanoseconds by publish of one entry, middle of the groups\",\n  \"groups\": [\n    {}\n  ]\n}}\n",
            lines.join(",\n    ")
        );
        std::fs::write(file, text).expect("the repository is writable");
    }
}
