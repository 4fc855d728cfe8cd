//! The model as oracle: the same random script through the model and through `Writer`, broker engine, store and `Reader`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_broker::commit::{CommitQueue, CommitSettings};
use tidings_broker::engine::{Answer, Next, Read, Subscription, check};
use tidings_broker::store::{MemoryStore, Scan, ScanLimit, Store};
use tidings_core::entry::Entry;
use tidings_core::key::NodeKey;
use tidings_core::path::RecordPath;
use tidings_core::reader::{HeldKind, MemoryReaderStore};
use tidings_core::{Object, Reader, Step};
use tidings_proto::frames::Publish;
use tidings_proto::{Offset, Reply, Timestamp};

use crate::model::{self, Wants};
use crate::paper::{Dice, Owner, path};

/// Entries of the grants' publishes before the first record: none, but two heads.
const HEADS_BEFORE: u64 = 2;

/// A broker of each kind that has received the same publishes.
struct Pair {
    model: model::Broker,
    store: MemoryStore,
    commit: CommitQueue,
    at: usize,
}

impl Pair {
    fn new() -> Self {
        Self { model: Default::default(), store: MemoryStore::new(), commit: CommitQueue::new(CommitSettings::default()), at: 0 }
    }

    fn receive(&mut self, world: &Script, publishes: usize) {
        self.model.receive(&world.model.log, publishes);
        let log: Vec<Publish> = world.owner.log.iter().skip(self.at).take(publishes).cloned().collect();
        self.at += log.len();
        let group =
            log.into_iter().map(|publish| check(world.owner.writer.descriptor(), publish).expect("the owner's own publish")).collect();
        let answers = self.commit.commit_group(&self.store, Timestamp::new(1), group);
        answers.into_iter().for_each(|answer| drop(answer.expect("the owner's own publish")));
    }
}

/// The owner of each kind, doing the same.
struct Script {
    dice: Dice,
    model: model::Owner,
    owner: Owner,
}

impl Script {
    fn publish(&mut self) {
        let changes: Vec<(u64, Option<u64>)> = (0..self.dice.roll(5)).map(|_| self.change()).collect();
        let floor = self.dice.chance(30).then(|| self.dice.roll(self.model.head.offset + 1));
        self.model.publish(&changes, floor);
        let changes: Vec<_> =
            changes.iter().map(|(number, body)| (path(*number), body.map(|body| Bytes::from(body.to_string())))).collect();
        self.owner.publish(&changes, floor.map(Offset::new));
    }

    fn change(&mut self) -> (u64, Option<u64>) {
        let number = self.dice.roll(14);
        (number, (!self.dice.chance(35)).then(|| self.dice.roll(1 << 40)))
    }
}

/// How a broker bends what it streams; both brokers bend the same.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    Drop,
    Duplicate,
    Reverse,
    Resurrect,
    BitmapLacks,
    BitmapKeeps,
}

struct Lockstep {
    script: Script,
    pairs: Vec<Pair>,
    reader: Reader,
    key: NodeKey,
    store: MemoryReaderStore,
    model: model::Reader,
    connections: u64,
}

impl Lockstep {
    fn new(seed: u64) -> Self {
        let mut script = Script { dice: Dice::new(seed), model: Default::default(), owner: Owner::new(seed) };
        let key = NodeKey::from_seed([9; 32]);
        let grant = script.owner.grant(&key);
        for _ in 0..HEADS_BEFORE {
            script.model.publish(&[], None);
        }
        let mut pairs: Vec<_> = (0..3).map(|_| Pair::new()).collect();
        pairs.iter_mut().for_each(|pair| pair.receive(&script, HEADS_BEFORE as usize));
        let reader = Reader::join(script.owner.writer.descriptor().clone(), &grant, &key).expect("a grant of this reader");
        Self { script, pairs, reader, key, store: Default::default(), model: Default::default(), connections: 0 }
    }

    fn tick(&mut self, rate: u64) {
        for _ in 0..3 {
            if self.script.dice.chance(rate) {
                self.script.publish();
            }
        }
        for at in 0..self.pairs.len() {
            let lags = at > 0;
            let publishes = if !lags {
                99
            } else if self.script.dice.chance(40) {
                self.script.dice.roll(4)
            } else {
                0
            };
            self.pairs[at].receive(&self.script, publishes as usize);
        }
    }

    /// One delta at broker `at`, both readers step by step. `None`: the connection was cut.
    fn connect(&mut self, at: usize, rate: u64, lie: Option<Lie>) -> Option<Wants> {
        self.connections += 1;
        let subscribe = self.reader.begin(&format!("connection {}", self.connections), &mut self.store).expect("memory does not fail");
        let mut subscription = Subscription::open(&subscribe).expect("a reader's own frame");
        let first = self.pairs[at].model.head().clone();
        let mut wants = self.model.begin(&first);
        let mut begun = false;
        loop {
            let bend = lie.filter(|_| self.script.dice.chance(50));
            let real = self.real_step(&mut subscription, at, wants, bend);
            wants = if begun || wants == Wants::Chunk { self.model_step(at, wants, bend) } else { wants };
            begun = true;
            assert_eq!(real, wants, "the parts and the model disagree");
            if !matches!(wants, Wants::Chunk | Wants::Bitmap) {
                return Some(wants);
            }
            self.tick(rate);
            if self.script.dice.chance(15) {
                return None;
            }
        }
    }

    fn model_step(&mut self, at: usize, wants: Wants, bend: Option<Lie>) -> Wants {
        let broker = &self.pairs[at].model;
        if wants == Wants::Bitmap {
            let (live, head) = broker.bitmap(self.model.position());
            let live: BTreeSet<u64> = bend_offsets(live, bend).into_iter().filter(|offset| *offset <= self.model.position()).collect();
            if self.model.take_bitmap(&live, &head).is_none() {
                return Wants::Lie;
            }
        }
        let mut chunk = broker.chunk(self.model.position(), SIZE);
        bend_run(&mut chunk.entries, bend, || self.old_entry(at));
        self.model.take_chunk(&chunk)
    }

    /// The oldest entry that does not live any more, as the model has it.
    fn old_entry(&self, at: usize) -> Option<model::Entry> {
        let head = self.pairs[at].model.head();
        let all = self.script.model.log.iter().flat_map(|publish| publish.head.live.iter());
        all.filter(|entry| entry.offset <= head.offset && !head.live.contains(entry)).min().cloned()
    }

    /// Drives the real subscription until it has sent one chunk, and the real reader with it.
    fn real_step(&mut self, subscription: &mut Subscription, at: usize, wants: Wants, bend: Option<Lie>) -> Wants {
        if wants == Wants::Bitmap {
            subscription.on_ask_bitmap();
        }
        loop {
            match subscription.next() {
                Next::Read(read) => {
                    let answer = self.read(&read, at, bend);
                    subscription.on_answer(answer);
                }
                Next::Send(reply) => {
                    let chunk = matches!(reply, Reply::Chunk(_));
                    match self.take(&reply) {
                        Step::Continue if chunk => return Wants::Chunk,
                        Step::Continue => {}
                        Step::AskBitmap => return Wants::Bitmap,
                        Step::Accepted(_) => return Wants::Current,
                        Step::Behind => return Wants::Behind,
                        Step::Restart(_) | Step::Verdict(_) => return Wants::Lie,
                        Step::LocalDamage => panic!("nobody damaged the reader"),
                    }
                }
                Next::Wait(_) | Next::End => panic!("a subscription that has nothing to send"),
            }
        }
    }

    fn take(&mut self, reply: &Reply) -> Step {
        let store = &mut self.store;
        let step = match reply {
            Reply::Announce(announce) => self.reader.on_announce(announce, store),
            Reply::Chunk(chunk) => self.reader.on_chunk(chunk, store),
            Reply::Bitmap(bitmap) => self.reader.on_bitmap(bitmap, store),
            Reply::Grant(grant) => self.reader.on_grant(grant, &self.key, store),
            other => panic!("no frame for a reader: {other:?}"),
        };
        step.expect("memory does not fail")
    }

    fn read(&self, read: &Read, at: usize, bend: Option<Lie>) -> Answer {
        let store = &self.pairs[at].store;
        let limit = ScanLimit { entries: SIZE, bytes: usize::MAX };
        match read {
            Read::Scan(queue, after) => {
                let scan = store.scan(queue, *after, limit).expect("memory does not fail").expect("a known queue");
                Answer::Scan(Some(self.bend_scan(scan, at, bend)))
            }
            Read::Bitmap(queue, through) => {
                let (live, scan) = store.bitmap(queue, *through, limit).expect("memory does not fail").expect("a known queue");
                let live: RoaringTreemap =
                    bend_offsets(live.iter().collect(), bend).into_iter().filter(|offset| *offset <= through.value()).collect();
                Answer::Bitmap(Some((live, self.bend_scan(scan, at, bend))))
            }
            other => other.perform(store).expect("memory does not fail"),
        }
    }

    fn bend_scan(&self, mut scan: Scan, at: usize, bend: Option<Lie>) -> Scan {
        bend_run(&mut scan.entries, bend, || {
            let offset = Offset::new(self.old_entry(at)?.offset);
            let bytes = self.script.owner.log.iter().flat_map(|publish| &publish.entries);
            let found = bytes.into_iter().find(|bytes| Entry::decode(bytes).expect("an entry").offset == offset)?;
            Some((offset, found.clone()))
        });
        scan
    }

    /// Both readers hold the same set: offset, birth, record and kind of every entry.
    fn compare(&self) {
        let place = |path: &Option<RecordPath>| path.as_ref().map(RecordPath::to_string).unwrap_or_default();
        let rows = self.store.rows();
        let real: BTreeSet<_> =
            rows.map(|row| (row.birth.value(), row.offset.value(), place(&row.path), row.kind == HeldKind::Tombstone)).collect();
        let model = self.model.held.values().map(|entry| (entry.birth, entry.offset, path(entry.path).to_string(), entry.delete));
        assert_eq!(real, model.collect(), "the parts and the model hold different sets");
        assert_eq!(self.reader.cursor().rank.number.value(), self.model.cursor.number);
    }
}

/// Entries in a chunk.
const SIZE: usize = 3;

fn bend_run<T: Clone>(run: &mut Vec<T>, bend: Option<Lie>, old: impl FnOnce() -> Option<T>) {
    match bend {
        Some(Lie::Drop) => drop(run.pop()),
        Some(Lie::Duplicate) => run.extend(run.first().cloned()),
        Some(Lie::Reverse) => run.reverse(),
        Some(Lie::Resurrect) => run.splice(0..0, old()).for_each(drop),
        _ => {}
    }
}

fn bend_offsets(mut live: BTreeSet<u64>, bend: Option<Lie>) -> BTreeSet<u64> {
    match bend {
        Some(Lie::BitmapLacks) => drop(live.pop_first()),
        Some(Lie::BitmapKeeps) => live.extend(1..live.last().copied().unwrap_or(1)),
        _ => {}
    }
    live
}

fn run(seeds: std::ops::Range<u64>, lie: Option<Lie>) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for seed in seeds {
        let rate = if seed % 2 == 0 { 10 } else { 50 };
        let mut world = Lockstep::new(seed);
        for _ in 0..12 {
            for _ in 0..1 + world.script.dice.roll(7) {
                world.tick(rate);
            }
            let at = world.script.dice.roll(3) as usize;
            let lie = lie.filter(|_| at == 0);
            let end = world.connect(at, rate, lie);
            world.compare();
            *ends.entry(format!("{end:?}")).or_default() += 1;
        }
    }
    ends
}

/// [P-2] [P-6] [P-9] [P-12] The parts and the model take the same steps, end alike and hold the same sets.
#[test]
fn honest_brokers_lead_the_parts_and_the_model_the_same_way() {
    let ends = run(0..300, None);
    assert!(!ends.contains_key("Some(Lie)"), "an honest broker was accused: {ends:?}");
    assert!(ends["Some(Current)"] > 1_000 && ends["None"] > 100 && ends["Some(Behind)"] > 10, "too little happened: {ends:?}");
}

/// [P-11] [P-14] A lie is one for both, at the same step; what is accepted in spite of it is the owner's set for both.
#[test]
fn lying_brokers_lead_the_parts_and_the_model_the_same_way() {
    for lie in [Lie::Drop, Lie::Duplicate, Lie::Reverse, Lie::Resurrect, Lie::BitmapLacks, Lie::BitmapKeeps] {
        let ends = run(0..60, Some(lie));
        assert!(ends.get("Some(Lie)").is_some_and(|lies| *lies > 3), "{lie:?} was never found out: {ends:?}");
    }
}
