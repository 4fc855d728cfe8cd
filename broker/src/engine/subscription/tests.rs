mod access;
mod branches;
mod model;
mod pulses;

use std::sync::Arc;

use proptest::prelude::*;
use roaring::RoaringTreemap;
use tidings_core::Entry;
use tidings_core::grant::attachment_hash;
use tidings_proto::Timestamp;

use super::*;
use crate::commit::{CommitQueue, CommitSettings};
use crate::engine::test_owner::{Edit, Request, TestOwner, puts};
use crate::store::{MemoryStore, ScanLimit, Store};
use model::Model;

/// Far below the real chunk, so that few entries make many reads.
const CHUNK: ScanLimit = ScanLimit { entries: 2, bytes: usize::MAX };

/// A broker of one queue, its owner beside it.
struct World {
    owner: TestOwner,
    store: MemoryStore,
    commits: CommitQueue,
    newest: Option<Arc<Committed>>,
}

impl World {
    fn new(first: Request) -> Self {
        let commits = CommitQueue::new(CommitSettings::default());
        let mut world = Self { owner: TestOwner::new(1), store: MemoryStore::new(), commits, newest: None };
        world.publish(first);
        world
    }

    fn publish(&mut self, request: Request) -> Arc<Committed> {
        let checked = self.owner.checked(request);
        let receipted = self.commits.commit_group(&self.store, Timestamp::new(1), vec![checked]).remove(0).expect("valid");
        self.newest = Some(receipted.committed.clone());
        receipted.committed
    }

    fn read(&self, read: &Read) -> Answer {
        match read {
            Read::Scan(queue, after) => Answer::Scan(self.store.scan(queue, *after, CHUNK).expect("memory")),
            Read::Bitmap(queue, through) => Answer::Bitmap(self.store.bitmap(queue, *through, CHUNK).expect("memory")),
            other => other.perform(&self.store).expect("memory"),
        }
    }

    fn subscribe(&self, cursor: u64, position: u64, grant: Bytes) -> Subscription {
        let reader = self.owner.own_pseudonym();
        let subscribe =
            Subscribe { queue: self.owner.queue(), reader, cursor: HeadNumber::new(cursor), position: Offset::new(position), grant };
        Subscription::open(&subscribe).expect("well formed")
    }

    /// All frames until the subscription waits or ends.
    fn drain(&self, subscription: &mut Subscription) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            match subscription.next() {
                Next::Send(reply) => replies.push(reply),
                Next::Read(read) => subscription.on_answer(self.read(&read)),
                Next::Wait(_) | Next::End => return replies,
            }
        }
    }
}

fn kinds(replies: &[Reply]) -> String {
    let kind = |reply: &Reply| match reply {
        Reply::Grant(_) => 'g',
        Reply::Announce(_) => 'a',
        Reply::Chunk(chunk) if chunk.complete => 'C',
        Reply::Chunk(_) => 'c',
        Reply::Bitmap(_) => 'b',
        Reply::Refused(_) => 'r',
        Reply::Pulse(_) => 'p',
        _ => '?',
    };
    replies.iter().map(kind).collect()
}

fn refusal(replies: &[Reply]) -> &Refusal {
    match replies.last() {
        Some(Reply::Refused(refusal)) => refusal,
        other => panic!("no refusal: {other:?}"),
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Publish(Request),
    /// The driver takes this many steps.
    Drive(u8),
    /// The owner publishes between a read and its answer.
    Overtake(Request),
    Reconnect,
}

fn event() -> impl Strategy<Value = Event> {
    let edit = (0..8_u8, 0..3_u8).prop_map(|(name, kind)| if kind == 0 { Edit::Delete(name) } else { Edit::Put(name) });
    let request = (proptest::collection::vec(edit, 0..5), proptest::option::weighted(0.3, 0..60_u64), proptest::bool::weighted(0.05));
    let request = request.prop_map(|(edits, floor, rotate)| Request { edits, floor, rotate, ..Request::default() });
    prop_oneof![
        3 => request.clone().prop_map(Event::Publish),
        4 => (1..20_u8).prop_map(Event::Drive),
        2 => request.prop_map(Event::Overtake),
        1 => Just(Event::Reconnect),
    ]
}

/// One step of a driver; `overtake` publishes while a read is under way. False: nothing to do.
fn drive(world: &mut World, subscription: &mut Subscription, model: &mut Model, overtake: Option<Request>) -> bool {
    if model.asks {
        subscription.on_ask_bitmap();
    }
    match subscription.next() {
        Next::Send(reply) => model.on_reply(reply),
        Next::Read(read) => {
            let answer = world.read(&read);
            if let Some(request) = overtake {
                world.publish(request);
                hear(world, subscription, model);
            }
            subscription.on_answer(answer);
        }
        Next::Wait(rank) => {
            let newest = world.newest.as_ref().map(|committed| committed.head.rank());
            hear(world, subscription, model);
            return newest > Some(rank);
        }
        Next::End => panic!("the subscription ended"),
    }
    true
}

/// The newest commit is told, however many there were.
fn hear(world: &World, subscription: &mut Subscription, model: &mut Model) {
    let committed = world.newest.as_ref().expect("the world begins with a publish");
    if subscription.on_committed(committed) == FanOut::Shared {
        committed.frames().expect("shared frames").into_iter().for_each(|reply| model.on_reply(reply));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// [P-9] Whatever happens between its reads, a reader that applies chunks and bitmaps holds what the head signs.
    #[test]
    fn a_subscription_always_ends_with_the_live_set(events in proptest::collection::vec(event(), 1..40)) {
        let mut world = World::new(puts(&[1, 2, 3]));
        let mut model = Model::new(world.owner.queue());
        let mut subscription = model.resubscribe(&world);
        for event in events {
            match event {
                Event::Publish(request) => { world.publish(request); }
                Event::Drive(steps) => for _ in 0..steps { drive(&mut world, &mut subscription, &mut model, None); },
                Event::Overtake(request) => { drive(&mut world, &mut subscription, &mut model, Some(request)); }
                Event::Reconnect => subscription = model.resubscribe(&world),
            }
        }
        while drive(&mut world, &mut subscription, &mut model, None) || model.asks {}
        prop_assert_eq!(model.root(), world.owner.live_root());
        prop_assert_eq!(model.settled.map(|head| head.rank()), world.newest.map(|committed| committed.head.rank()));
    }
}

/// [P-17] The grant goes before the first head, and a reader that holds it is not sent it again.
#[test]
fn the_grant_comes_first_and_once() {
    let world = World::new(puts(&[1, 2, 3]));
    let replies = world.drain(&mut world.subscribe(0, 0, Bytes::new()));
    assert_eq!(kinds(&replies), "gacC");
    let Reply::Grant(grant) = &replies[0] else { panic!("a grant") };
    let held = Bytes::copy_from_slice(attachment_hash(grant).bytes());
    assert_eq!(kinds(&world.drain(&mut world.subscribe(0, 0, held))), "acC");
}

/// [P-9] A live reader gets the same frames as every other, without a read.
#[test]
fn a_live_subscription_takes_the_shared_frames() {
    let mut world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    world.drain(&mut subscription);
    for names in [&[1][..], &[], &[2, 3]] {
        let committed = world.publish(puts(names));
        assert_eq!(subscription.on_committed(&committed), FanOut::Shared);
        assert_eq!(subscription.next(), Next::Wait(committed.head.rank()));
        assert_eq!(subscription.on_committed(&committed), FanOut::Ask, "told twice");
        assert_eq!(subscription.next(), Next::Wait(committed.head.rank()));
    }
}

/// Shared frames go out past the queue of frames, so they must not overtake one; nor may they answer for a bitmap.
#[test]
fn shared_frames_overtake_nothing() {
    let mut world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    while !matches!(subscription.phase, Phase::Idle) {
        if let Next::Read(read) = subscription.next() {
            subscription.on_answer(world.read(&read));
        }
    }
    let committed = world.publish(puts(&[2]));
    assert_eq!(subscription.on_committed(&committed), FanOut::Ask);
    assert_eq!(kinds(&world.drain(&mut subscription)), "aCaC");
    subscription.on_ask_bitmap();
    let committed = world.publish(puts(&[3]));
    assert_eq!(subscription.on_committed(&committed), FanOut::Ask);
    assert_eq!(kinds(&world.drain(&mut subscription)), "abC");
}

/// A reader that staged more at another broker is not sent again what it has.
#[test]
fn nothing_at_or_below_the_position_is_sent() {
    let mut world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 2, Bytes::new());
    assert_eq!(kinds(&world.drain(&mut subscription)), "gaC");
    let committed = world.publish(puts(&[2, 3]));
    assert_eq!(subscription.on_committed(&committed), FanOut::Ask);
    let replies = world.drain(&mut subscription);
    let Some(Reply::Chunk(chunk)) = replies.last() else { panic!("a chunk") };
    assert_eq!(chunk.entries.iter().map(|bytes| Entry::decode(bytes).expect("an entry").offset.value()).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_subscription_that_missed_a_commit_reads() {
    let mut world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    world.drain(&mut subscription);
    world.publish(puts(&[2]));
    let newest = world.publish(puts(&[3]));
    assert_eq!(subscription.on_committed(&newest), FanOut::Ask);
    assert_eq!(kinds(&world.drain(&mut subscription)), "aC");
}

/// [P-17] Who lost access gets the rows that prove it and nothing that was read before.
#[test]
fn a_revoked_reader_is_refused_with_the_proof() {
    let mut world = World::new(Request { add: vec![7], ..puts(&[1]) });
    let reader = world.owner.readers()[0];
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.reader = reader;
    world.drain(&mut subscription);
    world.publish(puts(&[2]));
    subscription.on_committed(&world.newest.clone().expect("a commit"));
    let revoked = world.publish(Request { remove: vec![reader], ..puts(&[3]) });
    assert_eq!(subscription.on_committed(&revoked), FanOut::Ask);
    let replies = world.drain(&mut subscription);
    assert_eq!(kinds(&replies), "r");
    let refusal = refusal(&replies);
    let mut list = SetHash::new(SetKind::Access);
    refusal.rows.iter().for_each(|row| list.add(row));
    let head = SignedHead::parse(refusal.head.clone()).expect("a head");
    assert_eq!((refusal.code, head.hash(), list.root()), (RefusalCode::Denied, revoked.head.hash(), head.head().access_root));
}

/// [P-17] A revocation between the read and its check: what was read stays here.
#[test]
fn a_delta_read_before_a_revocation_is_not_sent_after_it() {
    let mut world = World::new(Request { add: vec![7], ..puts(&[1]) });
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.reader = world.owner.readers()[0];
    let scan = loop {
        match subscription.next() {
            Next::Read(read @ Read::Scan(..)) => break world.read(&read),
            Next::Read(read) => subscription.on_answer(world.read(&read)),
            _ => {}
        }
    };
    world.publish(Request { remove: vec![subscription.reader], ..Request::default() });
    subscription.on_answer(scan);
    assert_eq!(kinds(&world.drain(&mut subscription)), "r");
}

/// [P-17] A new grant goes out before the head that needs it, also to a live reader.
#[test]
fn a_new_grant_comes_before_its_head() {
    let mut world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    world.drain(&mut subscription);
    let rotated = world.publish(Request { rotate: true, ..puts(&[2]) });
    assert_eq!(subscription.on_committed(&rotated), FanOut::Ask);
    assert_eq!(kinds(&world.drain(&mut subscription)), "gaC");
}

/// [P-9] Bitmap and the chunk after it are one snapshot, under a head that was announced before.
#[test]
fn a_bitmap_is_followed_by_its_chunk() {
    let mut world = World::new(puts(&[1, 2]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    world.drain(&mut subscription);
    world.publish(puts(&[2, 3]));
    subscription.on_ask_bitmap();
    let replies = world.drain(&mut subscription);
    assert_eq!(kinds(&replies), "abC");
    let Reply::Bitmap(bitmap) = &replies[1] else { panic!("a bitmap") };
    let live = RoaringTreemap::deserialize_from(&bitmap.live[..]).expect("portable");
    assert_eq!((bitmap.through, bitmap.last, live.iter().collect::<Vec<_>>()), (Offset::new(2), true, vec![1]));
}

#[test]
fn an_unknown_queue_is_named_so() {
    let world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.queue = QueueId::new([9; 32]);
    assert_eq!(refusal(&world.drain(&mut subscription)).code, RefusalCode::UnknownQueue);
}

#[test]
fn a_grant_hash_of_another_length_is_malformed() {
    let world = World::new(puts(&[1]));
    let subscribe = Subscribe {
        queue: world.owner.queue(),
        reader: world.owner.own_pseudonym(),
        cursor: HeadNumber::ZERO,
        position: Offset::ZERO,
        grant: Bytes::from_static(b"short"),
    };
    assert_eq!(Subscription::open(&subscribe).expect_err("a refusal").code, RefusalCode::Malformed);
}

#[test]
fn a_failed_read_ends_the_subscription_with_its_reason() {
    let world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.on_failure(&StoreError::Poisoned);
    assert_eq!(refusal(&world.drain(&mut subscription)).code, RefusalCode::Unavailable);
    assert_eq!(subscription.next(), Next::End);
}

/// A store that names a grant it does not have would keep a subscription busy for ever.
#[test]
fn a_store_that_contradicts_itself_ends_the_subscription() {
    let world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    let replies = loop {
        match subscription.next() {
            Next::Read(Read::Grant(..)) => subscription.on_answer(Answer::Grant(None)),
            Next::Read(read) => subscription.on_answer(world.read(&read)),
            Next::Send(reply) => break vec![reply],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(&replies).code, RefusalCode::Damaged);
}
