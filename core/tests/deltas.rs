//! What a writer signs a reader accepts: from any cursor, after any compaction, in any splitting, interruption and
//! resumption of deltas, at brokers that lag, with the owner publishing in between. And nothing else.

#[allow(unreachable_pub, reason = "shared by test binaries")]
mod paper;

use std::collections::BTreeMap;

use bytes::Bytes;
use paper::{Dice, Owner, PaperBroker, Session, path};
use tidings_core::entry::Entry;
use tidings_core::key::NodeKey;
use tidings_core::mutation::Mutation;
use tidings_core::path::RecordPath;
use tidings_core::reader::{ChangeKind, HeldKind, MemoryReaderStore};
use tidings_core::{Object, Reader, ReaderStore, Step, Verdict};
use tidings_proto::Offset;
use tidings_proto::frames::Reply;

/// A reader with its store, and what its application saw.
#[derive(Clone)]
struct Follower {
    key: std::sync::Arc<NodeKey>,
    reader: Reader,
    store: MemoryReaderStore,
    seen: BTreeMap<RecordPath, Bytes>,
}

impl Follower {
    fn new(owner: &mut Owner) -> Self {
        let key = NodeKey::from_seed([9; 32]);
        let grant = owner.grant(&key);
        let reader = Reader::join(owner.writer.descriptor().clone(), &grant, &key).expect("the grant is this reader's");
        Self { key: key.into(), reader, store: MemoryReaderStore::default(), seen: BTreeMap::new() }
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
        let step = step.expect("memory does not fail");
        if let Step::Accepted(_) = step {
            self.hand_out();
        }
        step
    }

    /// The application applies each net change and finds that its kind is right.
    fn hand_out(&mut self) {
        for change in self.store.take_changes() {
            let there = self.seen.contains_key(&change.path);
            match change.kind {
                ChangeKind::Create => assert!(!there, "a create of {}, which is there", change.path),
                ChangeKind::Update | ChangeKind::Delete => assert!(there, "{:?} of {}, which is not there", change.kind, change.path),
            }
            match change.kind {
                ChangeKind::Delete => self.seen.remove(&change.path),
                _ => self.seen.insert(change.path, value(&change.mutation)),
            };
        }
    }

    /// Stores and reads back its state, as a process does that stops and starts again.
    fn restart(&mut self) {
        self.reader = Reader::decode(&self.reader.encode()).expect("own state decodes");
    }

    fn holds(&self) -> BTreeMap<RecordPath, Bytes> {
        let rows = self.store.rows().filter(|row| row.kind == HeldKind::Value);
        rows.filter_map(|row| Some((row.path.clone()?, value(&row.bytes)))).collect()
    }
}

fn value(mutation: &[u8]) -> Bytes {
    Mutation::decode(mutation).expect("what was verified decodes").inline.expect("all values are inline here")
}

#[derive(Debug, PartialEq)]
enum End {
    Current,
    Behind,
    Cut,
    Restart,
    Verdict(Verdict),
}

/// An owner, three brokers of which two lag, one reader; the first broker may be bent.
struct World {
    dice: Dice,
    owner: Owner,
    brokers: Vec<PaperBroker>,
    follower: Follower,
    views: BTreeMap<u64, BTreeMap<RecordPath, Bytes>>,
    rate: u64,
    bitmaps: u64,
}

type Lie = fn(&mut Dice, &PaperBroker, Reply) -> Reply;

impl World {
    fn new(seed: u64, rate: u64) -> Self {
        let mut owner = Owner::new(seed);
        let follower = Follower::new(&mut owner);
        let mut brokers: Vec<_> = (0..3).map(|_| PaperBroker::default()).collect();
        brokers.iter_mut().for_each(|broker| broker.receive(&owner.log, 2));
        let mut world = Self { dice: Dice::new(seed), owner, brokers, follower, views: BTreeMap::new(), rate, bitmaps: 0 };
        world.remember_view();
        world
    }

    fn remember_view(&mut self) {
        let number = self.owner.writer.head().expect("a head").rank().number.value();
        self.views.insert(number, self.owner.values.clone());
    }

    fn tick(&mut self) {
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

    fn random_change(&mut self) -> (RecordPath, Option<Bytes>) {
        let path = path(self.dice.roll(14));
        let value = (!self.dice.chance(35)).then(|| Bytes::from(self.dice.roll(1 << 40).to_string()));
        (path, value)
    }

    /// One connection to broker `at`, with the world moving between any two frames.
    fn connect(&mut self, at: usize, cuts: u64, lie: Option<Lie>) -> End {
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

    /// What was accepted is what the owner had at that head, and the application, applying net changes, sees the same.
    fn check_view(&self) {
        let number = self.follower.reader.cursor().rank.number.value();
        assert_eq!(self.follower.holds(), self.views[&number]);
        assert_eq!(self.follower.seen, self.views[&number]);
    }
}

/// [P-2] [P-6] [P-9] [P-11] [P-12] [P-13] An honest broker is never accused, and what is accepted is the owner's view.
#[test]
fn honest_brokers_that_lag_and_cuts_at_every_frame_lead_to_the_owners_view_and_never_to_an_accusation() {
    let (mut accepted, mut bitmaps) = (0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed, if seed % 2 == 0 { 10 } else { 50 });
        for _ in 0..12 {
            for _ in 0..1 + world.dice.roll(7) {
                world.tick();
            }
            let at = world.dice.roll(3) as usize;
            if world.dice.chance(20) {
                world.follower.restart();
            }
            match world.connect(at, 15, None) {
                End::Current => accepted += 1,
                End::Behind | End::Cut => {}
                end => panic!("seed {seed}: an honest broker was answered with {end:?}"),
            }
        }
        bitmaps += world.bitmaps;
    }
    assert!(bitmaps > 100, "only {bitmaps} bitmaps were asked for");
    assert!(accepted > 1_000, "only {accepted} deltas were accepted");
}

fn flip(bytes: &Bytes, dice: &mut Dice) -> Bytes {
    let mut bent = bytes.to_vec();
    let at = dice.roll(bent.len() as u64) as usize;
    bent[at] ^= 1 << dice.roll(8);
    bent.into()
}

fn bend_entries(reply: Reply, bend: impl FnOnce(&mut Vec<Bytes>)) -> Reply {
    match reply {
        Reply::Chunk(mut chunk) => {
            bend(&mut chunk.entries);
            Reply::Chunk(chunk)
        }
        other => other,
    }
}

const LIES: [(&str, Lie); 12] = [
    ("drop an entry", |dice, _, reply| {
        bend_entries(reply, |entries| {
            if !entries.is_empty() {
                entries.remove(dice.roll(entries.len() as u64) as usize);
            }
        })
    }),
    ("drop the tail", |_, _, reply| match reply {
        Reply::Chunk(mut chunk) => {
            chunk.complete = true;
            Reply::Chunk(chunk)
        }
        other => other,
    }),
    ("duplicate an entry", |_, _, reply| bend_entries(reply, |entries| entries.extend(entries.first().cloned()))),
    ("reorder entries", |_, _, reply| bend_entries(reply, |entries| entries.reverse())),
    ("resurrect an entry", |dice, broker, reply| {
        bend_entries(reply, |entries| {
            if let Some(old) = broker.graveyard.get(dice.roll(broker.graveyard.len() as u64) as usize) {
                entries.push(old.clone());
                entries.sort_by_key(|bytes| Entry::decode(bytes).expect("an entry").offset);
            }
        })
    }),
    ("flip a bit of an entry", |dice, _, reply| {
        bend_entries(reply, |entries| {
            if let Some(first) = entries.first_mut() {
                *first = flip(first, dice);
            }
        })
    }),
    ("swap ciphertexts", |_, _, reply| {
        bend_entries(reply, |entries| {
            if entries.len() > 1 {
                let mut pair: Vec<Entry> = [0, entries.len() - 1].map(|at| Entry::decode(&entries[at]).expect("an entry")).into();
                let first = std::mem::take(&mut pair[0].ciphertext);
                pair[0].ciphertext = std::mem::replace(&mut pair[1].ciphertext, first);
                let last = entries.len() - 1;
                (entries[0], entries[last]) = (pair[0].encode().into(), pair[1].encode().into());
            }
        })
    }),
    ("announce an old head", |dice, broker, reply| match reply {
        Reply::Announce(mut announce) => {
            announce.head = broker.heads[dice.roll(broker.heads.len() as u64) as usize].bytes().clone();
            Reply::Announce(announce)
        }
        other => other,
    }),
    ("flip a bit of a head", |dice, _, reply| match reply {
        Reply::Announce(mut announce) => {
            announce.head = flip(&announce.head, dice);
            Reply::Announce(announce)
        }
        other => other,
    }),
    ("flip a bit of a proof", |_, _, reply| match reply {
        Reply::Announce(mut announce) if !announce.proof.is_empty() => {
            announce.proof[0][0] ^= 1;
            Reply::Announce(announce)
        }
        other => other,
    }),
    ("a bitmap that lacks what lives", |dice, _, reply| {
        bend_bitmap(reply, |live| {
            let pick = dice.roll(live.len());
            if let Some(offset) = live.select(pick) {
                live.remove(offset);
            }
        })
    }),
    ("a bitmap that keeps what is gone", |_, broker, reply| {
        bend_bitmap(reply, |live| {
            live.extend(broker.graveyard.iter().map(|bytes| Entry::decode(bytes).expect("an entry").offset.value()));
        })
    }),
];

fn bend_bitmap(reply: Reply, bend: impl FnOnce(&mut roaring::RoaringTreemap)) -> Reply {
    match reply {
        Reply::Bitmap(mut bitmap) => {
            let mut live = roaring::RoaringTreemap::deserialize_from(bitmap.live.as_ref()).expect("a bitmap");
            bend(&mut live);
            let mut bytes = Vec::new();
            live.serialize_into(&mut bytes).expect("a vector takes all");
            bitmap.live = bytes.into();
            Reply::Bitmap(bitmap)
        }
        other => other,
    }
}

/// [P-11] [P-14] [P-15] A lying broker never makes a reader accept a view that is not the owner's; an honest one that is asked
/// with nothing staged from the liar is never accused. `check_view` runs at every acceptance.
#[test]
fn no_lie_leads_to_a_wrong_view_and_no_honest_broker_is_accused_for_it() {
    for (name, lie) in LIES {
        let mut named = 0;
        for seed in 0..60 {
            let mut world = World::new(seed, if seed % 2 == 0 { 10 } else { 50 });
            for _ in 0..12 {
                for _ in 0..1 + world.dice.roll(7) {
                    world.tick();
                }
                let lying = world.dice.chance(70);
                let at = if lying { 0 } else { 1 + world.dice.roll(2) as usize };
                let end = world.connect(at, 5, lying.then_some(lie));
                if let End::Verdict(verdict) = end {
                    assert!(lying, "{name}, seed {seed}: an honest broker was accused: {verdict}");
                    named += 1;
                }
            }
        }
        assert!(named > 0 || name.starts_with("a bitmap"), "{name}: never named");
    }
}

/// [P-15] [P-20] A reader whose own rows were damaged reads again from zero and accuses nobody.
#[test]
fn damage_of_the_readers_own_rows_is_named_as_such_and_repaired_with_the_net_difference() {
    let mut world = World::new(5, 50);
    while world.follower.holds().len() < 3 {
        world.tick();
        assert_ne!(world.connect(0, 0, None), End::Behind);
    }
    while world.follower.reader.cursor() != world.owner.writer.head().expect("a head").cursor() {
        world.brokers[0].receive(&world.owner.log, 99);
        world.connect(0, 0, None);
    }
    let row = world.follower.store.rows().find(|row| row.kind == HeldKind::Value).expect("a record").clone();
    world.follower.store.remove_held(row.birth).expect("memory does not fail");
    assert!(!world.follower.reader.own_state_matches(&world.follower.store).expect("memory does not fail"));
    let path = row.path.expect("a path");
    // What was lost with the row is lost: the application hears of the record as new.
    world.follower.seen.remove(&path);
    world.owner.publish(&[(path, Some("new".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    let subscribe = world.follower.reader.begin("broker 0", &mut world.follower.store).expect("memory does not fail");
    let mut session = Session::new(&subscribe);
    let steps: Vec<_> = session.next(&world.brokers[0], 99).iter().map(|reply| world.follower.take(reply)).collect();
    assert!(matches!(steps.last(), Some(Step::LocalDamage)), "{steps:?}");
    assert_eq!(world.connect(0, 0, None), End::Current);
}

/// [P-14] Two histories of one key: the reader keeps what it verified and names the key, with a proof that anybody can check.
#[test]
fn a_second_history_of_the_owners_key_is_named_forked_with_both_heads_as_evidence() {
    let mut world = World::new(3, 0);
    world.owner.publish(&[(path(1), Some("one".into()))], None);
    let before = (world.owner.writer.clone(), world.owner.log.len(), world.owner.records.clone());
    world.owner.publish(&[(path(2), Some("left".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    let (writer, length, records) = before;
    world.owner.log.truncate(length);
    (world.owner.writer, world.owner.records) = (writer, records);
    for value in ["right", "right again", "and again"] {
        world.owner.publish(&[(path(2), Some(value.into()))], None);
    }
    world.brokers[1].receive(&world.owner.log, 99);
    let subscribe = world.follower.reader.begin("broker 1", &mut world.follower.store).expect("memory does not fail");
    let reply = Session::new(&subscribe).next(&world.brokers[1], 9).remove(0);
    let Step::Verdict(finding) = world.follower.take(&reply) else { panic!("no verdict") };
    assert_eq!(finding.verdict, Verdict::Forked);
    let evidence = finding.evidence.expect("an accusation has evidence");
    let decoded = tidings_core::reader::Evidence::decode(&evidence.encode()).expect("evidence decodes");
    assert_eq!(decoded, evidence);
    assert_eq!(evidence.leaf.expect("the leaf at the cursor's number").0, *world.brokers[1].heads[3].hash().bytes());
}

/// [P-14] An older signed head is what a restored or lagging broker has: no accusation, nothing taken over.
#[test]
fn an_older_signed_head_is_stale_and_no_accusation() {
    let mut world = World::new(4, 0);
    for number in 0..5 {
        world.owner.publish(&[(path(number), Some("value".into()))], None);
        world.remember_view();
    }
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    let before = world.follower.reader.cursor();
    assert_eq!(world.connect(1, 0, None), End::Behind);
    assert_eq!(world.follower.reader.cursor(), before);
}

/// [P-1] [P-11] Any change of any byte that a broker hands on is refused, whatever frame it is in.
#[test]
fn a_flip_of_any_byte_of_an_announcement_or_chunk_never_changes_what_is_accepted() {
    let mut world = World::new(6, 0);
    for number in 0..6 {
        world.owner.publish(&[(path(number), Some("value".into()))], None);
        world.remember_view();
    }
    world.brokers[0].receive(&world.owner.log, 99);
    let subscribe = world.follower.reader.begin("broker 0", &mut world.follower.store).expect("memory does not fail");
    let frames = Session::new(&subscribe).next(&world.brokers[0], 99);
    let [Reply::Announce(announce), Reply::Chunk(chunk)] = &frames[..] else { panic!("an announcement and a chunk") };
    for at in 0..announce.head.len() {
        let mut bent = announce.clone();
        bent.head = flipped(&announce.head, at);
        let mut follower = world.follower.clone();
        assert!(!matches!(follower.take(&Reply::Announce(bent)), Step::Continue), "byte {at} of a head");
    }
    for (entry, at) in chunk.entries.iter().enumerate().flat_map(|(entry, bytes)| (0..bytes.len()).map(move |at| (entry, at))) {
        let mut bent = chunk.clone();
        bent.entries[entry] = flipped(&chunk.entries[entry], at);
        let mut follower = world.follower.clone();
        assert!(matches!(follower.take(&frames[0]), Step::Continue));
        assert!(!matches!(follower.take(&Reply::Chunk(bent)), Step::Accepted(_)), "byte {at} of entry {entry}");
    }
}

fn flipped(bytes: &Bytes, at: usize) -> Bytes {
    let mut bent = bytes.to_vec();
    bent[at] ^= 0x10;
    bent.into()
}

/// [P-17] A reader meets entries of a new epoch: with the newest grant it goes on, without it the broker has kept it back.
#[test]
fn a_new_epoch_is_read_with_the_newest_grant_and_named_without_it() {
    let mut world = World::new(8, 0);
    let access = tidings_core::writer::AccessChange { rotate: true, ..Default::default() };
    let signed = world.owner.sign(tidings_core::writer::SignRequest { access, ..Default::default() });
    world.owner.publish(&[(path(1), Some("sealed under epoch 2".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    let pseudonym = world.follower.reader.pseudonym();
    let row = signed.access_put.iter().map(|row| tidings_core::AccessRow::decode(row).expect("a row"));
    let named = row.into_iter().find(|row| row.pseudonym == pseudonym).expect("every reader is granted again").grant;
    let grant = signed.attachments.iter().find(|bytes| tidings_core::attachment_hash(bytes) == named).expect("it is there").clone();
    let mut without = world.follower.clone();
    std::mem::swap(&mut world.follower, &mut without);
    assert_eq!(world.connect(0, 0, None), End::Restart);
    assert_eq!(world.connect(0, 0, None), End::Verdict(Verdict::Withheld));
    world.follower = without;
    assert!(matches!(world.follower.take(&Reply::Grant(grant)), Step::Continue));
    assert_eq!(world.connect(0, 0, None), End::Current);
}
