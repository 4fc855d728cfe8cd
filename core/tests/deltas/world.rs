//! An owner, brokers on paper and a reader with an application, moving between any two frames.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_core::key::NodeKey;
use tidings_core::mutation::Mutation;
use tidings_core::path::RecordPath;
use tidings_core::reader::{ChangeKind, HeldKind, MemoryReaderStore};
use tidings_core::{Object, Reader, Step, Verdict};
use tidings_proto::Offset;
use tidings_proto::frames::Reply;

use crate::paper::{Dice, Owner, PaperBroker, Session, path};

/// A reader with its store, and what its application saw.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) key: std::sync::Arc<NodeKey>,
    pub(crate) grant: Bytes,
    pub(crate) damaged: bool,
    pub(crate) reader: Reader,
    pub(crate) store: MemoryReaderStore,
    pub(crate) seen: BTreeMap<RecordPath, Bytes>,
}

impl Follower {
    pub(crate) fn new(owner: &mut Owner) -> Self {
        let key = NodeKey::from_seed([9; 32]);
        let grant = owner.grant(&key);
        let reader = Reader::join(owner.writer.descriptor().clone(), &grant, &key).expect("the grant is this reader's");
        Self { key: key.into(), grant, damaged: false, reader, store: MemoryReaderStore::default(), seen: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, reply: &Reply) -> Step {
        let store = &mut self.store;
        let step = match reply {
            Reply::Announce(announce) => self.reader.on_announce(announce, store),
            Reply::Chunk(chunk) => self.reader.on_chunk(chunk, store),
            Reply::Bitmap(bitmap) => self.reader.on_bitmap(bitmap, store),
            Reply::Grant(grant) => self.reader.on_grant(grant, &self.key, store),
            other => panic!("no frame for a reader: {other:?}"),
        };
        let step = step.expect("memory does not fail");
        if let Step::Accepted(_) = step {
            self.hand_out();
        }
        step
    }

    /// The application applies each net change and finds that its kind is right.
    pub(crate) fn hand_out(&mut self) {
        for change in self.store.take_changes() {
            let there = self.seen.contains_key(&change.path);
            match change.kind {
                ChangeKind::Create => assert!(!there, "a create of {}, which is there", change.path),
                ChangeKind::Update => assert!(there, "an update of {}, which is not there", change.path),
                // After damage what is deleted is said once more: the reader cannot know what it knew.
                ChangeKind::Delete => assert!(there || self.damaged, "a delete of {}, which is not there", change.path),
            }
            match change.kind {
                ChangeKind::Delete => self.seen.remove(&change.path),
                _ => self.seen.insert(change.path, value(&change.mutation)),
            };
        }
    }

    /// Stores and reads back its state, as a process does that stops and starts again.
    pub(crate) fn restart(&mut self) {
        self.reader = Reader::decode(&self.reader.encode()).expect("own state decodes");
    }

    pub(crate) fn holds(&self) -> BTreeMap<RecordPath, Bytes> {
        let rows = self.store.rows().filter(|row| row.kind == HeldKind::Value);
        rows.filter_map(|row| Some((row.path.clone()?, value(&row.bytes)))).collect()
    }
}

pub(crate) fn value(mutation: &[u8]) -> Bytes {
    Mutation::decode(mutation).expect("what was verified decodes").inline.expect("all values are inline here")
}

#[derive(Debug, PartialEq)]
pub(crate) enum End {
    Current,
    Behind,
    Cut,
    Restart,
    Verdict(Verdict),
}

/// An owner, three brokers of which two lag, one reader; the first broker may be bent.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) owner: Owner,
    pub(crate) brokers: Vec<PaperBroker>,
    pub(crate) follower: Follower,
    pub(crate) views: BTreeMap<u64, BTreeMap<RecordPath, Bytes>>,
    pub(crate) rate: u64,
    pub(crate) bitmaps: u64,
}

pub(crate) type Lie = fn(&mut Dice, &PaperBroker, Reply) -> Reply;

impl World {
    pub(crate) fn new(seed: u64, rate: u64) -> Self {
        let mut owner = Owner::new(seed);
        let follower = Follower::new(&mut owner);
        let mut brokers: Vec<_> = (0..3).map(|_| PaperBroker::default()).collect();
        brokers.iter_mut().for_each(|broker| broker.receive(&owner.log, 2));
        let mut world = Self { dice: Dice::new(seed), owner, brokers, follower, views: BTreeMap::new(), rate, bitmaps: 0 };
        world.remember_view();
        world
    }

    pub(crate) fn remember_view(&mut self) {
        let number = self.owner.writer.head().expect("a head").rank().number.value();
        self.views.insert(number, self.owner.values.clone());
    }

    pub(crate) fn tick(&mut self) {
        for _ in 0..3 {
            if self.dice.chance(self.rate) {
                let changes: Vec<_> = (0..self.dice.roll(5)).map(|_| self.random_change()).collect();
                let offset = self.owner.writer.head().expect("a head").head().offset.value();
                let floor = self.dice.chance(30).then(|| Offset::new(self.dice.roll(offset + 1)));
                self.owner.publish(&changes, floor);
                self.remember_view();
            }
        }
        self.brokers[0].receive(&self.owner.log, 99);
        for at in 1..self.brokers.len() {
            let publishes = if self.dice.chance(40) { self.dice.roll(4) } else { 0 };
            self.brokers[at].receive(&self.owner.log, publishes as usize);
        }
    }

    pub(crate) fn random_change(&mut self) -> (RecordPath, Option<Bytes>) {
        let path = path(self.dice.roll(14));
        let value = (!self.dice.chance(35)).then(|| Bytes::from(self.dice.roll(1 << 40).to_string()));
        (path, value)
    }

    /// One connection to broker `at`, with the world moving between any two frames.
    pub(crate) fn connect(&mut self, at: usize, cuts: u64, lie: Option<Lie>) -> End {
        let subscribe = self.follower.reader.begin(&format!("broker {at}"), &mut self.follower.store).expect("memory does not fail");
        let mut session = Session::new(&subscribe);
        let mut waiting: std::collections::VecDeque<Reply> = Default::default();
        loop {
            if waiting.is_empty() {
                let size = 1 + self.dice.roll(4) as usize;
                waiting.extend(session.next(&self.brokers[at], size));
            }
            let mut reply = waiting.pop_front().expect("a broker always answers");
            if let Some(lie) = lie.filter(|_| self.dice.chance(50)) {
                reply = lie(&mut self.dice, &self.brokers[at], reply);
            }
            match self.follower.take(&reply) {
                Step::Continue => {}
                Step::AskBitmap => {
                    self.bitmaps += 1;
                    // What the broker sent before it hears the question arrives first.
                    for _ in 0..self.dice.roll(3) {
                        self.tick();
                        waiting.extend(session.next(&self.brokers[at], 2));
                    }
                    self.tick();
                    let parts = 1 + self.dice.roll(3);
                    waiting.extend(session.bitmap(&self.brokers[at], parts, 2));
                }
                Step::Accepted(_) => {
                    self.check_view();
                    if self.dice.chance(60) {
                        return End::Current;
                    }
                }
                Step::Behind => return End::Behind,
                Step::Restart(_) => return End::Restart,
                Step::LocalDamage => panic!("nobody damaged the reader"),
                Step::Verdict(finding) => return End::Verdict(finding.verdict),
            }
            self.tick();
            if self.dice.chance(cuts) {
                return End::Cut;
            }
        }
    }

    /// To broker 0, until a head is accepted; the views are not compared.
    pub(crate) fn connect_anyhow(&mut self) -> End {
        self.remember_view();
        self.views.insert(self.brokers[0].head().rank().number.value(), BTreeMap::new());
        self.connect(0, 0, None)
    }

    /// What was accepted is what the owner had at that head, and the application, applying net changes, sees the same.
    pub(crate) fn check_view(&self) {
        let number = self.follower.reader.cursor().rank.number.value();
        assert_eq!(self.follower.holds(), self.views[&number]);
        assert_eq!(self.follower.seen, self.views[&number]);
    }
}
