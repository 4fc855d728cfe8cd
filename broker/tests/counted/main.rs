//! What the broker's main paths ask of store, disk and wire, counted and not timed: a busy machine counts the same.

#[path = "../../../core/tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of several packages")]
mod paper;
mod store;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use paper::{Owner, path};
use store::{Calls, CountedStore, reads};
use tidings_broker::commit::{CommitJob, CommitQueue, CommitSettings, run};
use tidings_broker::engine::{Checked, Committed, FanOut, Next, Subscription, check};
use tidings_proto::frames::{Publish, Subscribe};
use tidings_proto::{HeadNumber, Offset, Reply, Request, Timestamp, caps};
use tokio::sync::{mpsc, oneshot};

const NOW: Timestamp = Timestamp::new(1);
const VALUE: usize = 256;

/// A broker of these owners, with all that they signed so far, and the owners.
struct World {
    store: CountedStore,
    commits: CommitQueue,
    owners: Vec<Owner>,
}

impl World {
    fn of(owners: u64) -> Self {
        let mut world = Self { store: CountedStore::default(), commits: CommitQueue::new(CommitSettings::default()), owners: Vec::new() };
        for owner in (0..owners).map(Owner::new) {
            let first = checked(&owner, owner.log[0].clone());
            world.owners.push(owner);
            world.commit(first);
        }
        world.store.take();
        world
    }

    /// Owner `at` signs a publish that writes these records.
    fn sign(&mut self, at: usize, records: std::ops::Range<u64>) -> Checked {
        let changes: Vec<_> = records.map(|number| (path(number), Some(Bytes::from(vec![number as u8; VALUE])))).collect();
        let signed = self.owners[at].publish(&changes, None);
        checked(&self.owners[at], signed.publish())
    }

    fn commit(&mut self, publish: Checked) -> Arc<Committed> {
        self.commits.commit_group(&self.store, NOW, vec![publish]).remove(0).expect("it continues").committed
    }

    fn publish(&mut self, records: std::ops::Range<u64>) -> Arc<Committed> {
        let publish = self.sign(0, records);
        self.commit(publish)
    }

    /// The first owner, from nothing, at its own queue.
    fn subscribe(&self) -> Subscription {
        let writer = &self.owners[0].writer;
        let reader = writer.readers().first().expect("the owner reads").row.pseudonym;
        let subscribe = Subscribe { queue: writer.queue(), reader, cursor: HeadNumber::ZERO, position: Offset::ZERO, grant: Bytes::new() };
        Subscription::open(&subscribe).expect("well formed")
    }

    /// All that the subscription is sent before it has to wait.
    fn serve(&self, subscription: &mut Subscription) -> Vec<Reply> {
        let mut sent = Vec::new();
        loop {
            match subscription.next() {
                Next::Send(reply) => sent.push(reply),
                Next::Read(read) => subscription.on_answer(read.perform(&self.store).expect("memory does not fail")),
                Next::Wait(_) => return sent,
                Next::End => panic!("an honest subscription does not end"),
            }
        }
    }

    /// A reader catches up from nothing: what it is sent, and what that asked of the store.
    fn catch_up(&self) -> (Vec<Reply>, Calls) {
        self.store.take();
        (self.serve(&mut self.subscribe()), self.store.take())
    }
}

fn checked(owner: &Owner, publish: Publish) -> Checked {
    check(owner.writer.descriptor(), publish).expect("a valid publish")
}

fn entries(sent: &[Reply]) -> Vec<Bytes> {
    let chunks = sent.iter().filter_map(|reply| if let Reply::Chunk(chunk) = reply { Some(chunk) } else { None });
    chunks.flat_map(|chunk| chunk.entries.clone()).collect()
}

/// Lets the commit thread find these publishes waiting, all at once. Gives how often it told of durable heads.
fn commit_waiting(world: &mut World, waiting: Vec<Checked>) -> usize {
    let (sender, jobs) = mpsc::channel(waiting.len());
    let send = |publish: Checked| {
        let (answer, answered) = oneshot::channel();
        sender.try_send(CommitJob { work: publish.into(), answer, place: None }).expect("room");
        answered
    };
    let mut answers: Vec<_> = waiting.into_iter().map(send).collect();
    drop(sender);
    let mut told = 0;
    run(&world.store, CommitQueue::new(CommitSettings::default()), jobs, || NOW, |_| told += 1);
    assert!(answers.iter_mut().all(|answer| answer.try_recv().expect("an answer").is_ok()));
    told
}

/// [P-7] One sync is for everybody who waits, and each queue is read once: beside that only what a publish replaces.
#[test]
fn publishes_of_eight_queues_that_wait_are_made_durable_by_one_sync() {
    let mut world = World::of(8);
    let waiting = (0..256).map(|number| world.sign(number % 8, 0..1)).collect();
    let told = commit_waiting(&mut world, waiting);
    let calls = world.store.take();
    assert_eq!((calls["append"], calls["queue"], told), (1, 8, 1));
    assert!(reads(&calls) <= 8 + 256, "{calls:?}");
}

#[test]
fn a_publish_that_replaces_nothing_reads_nothing_of_a_hot_queue() {
    let mut world = World::of(1);
    let publish = world.sign(0, 0..16);
    world.commit(publish);
    assert_eq!(world.store.take(), Calls::from([("append", 1)]));
}

/// [P-9] A live reader is served from the commit: however many there are, the store hears nothing of them.
#[test]
fn live_readers_cost_no_read_and_get_frames_that_were_made_once() {
    let mut world = World::of(1);
    let mut live: Vec<_> = (0..100).map(|_| world.subscribe()).collect();
    live.iter_mut().for_each(|live| _ = world.serve(live));
    let committed = world.publish(0..1);
    world.store.take();
    let shared = live.iter_mut().filter_map(|live| (live.on_committed(&committed) == FanOut::Shared).then_some(())).count();
    assert!(live.iter_mut().all(|live| world.serve(live).is_empty()));
    assert_eq!((shared, world.store.take()), (100, Calls::new()));
}

/// [P-9] Each live entry is read once, a chunk with one read, and access looked up once for each chunk.
#[test]
fn a_catch_up_reads_each_live_entry_once_and_a_chunk_at_a_time() {
    let mut world = World::of(1);
    (0..10).for_each(|part| _ = world.publish(part * 1_000..part * 1_000 + 1_000));
    let (sent, calls) = world.catch_up();
    let bytes: usize = entries(&sent).iter().map(Bytes::len).sum();
    assert_eq!((calls["entries"], entries(&sent).len()), (10_000, 10_000));
    let chunks = bytes.div_ceil(caps::CHUNK_BYTES_MAX - caps::ENTRY_BYTES_MAX);
    assert!(calls["scan"] <= chunks, "{calls:?} for {chunks} chunks");
    assert!(reads(&calls) <= 2 * calls["scan"] + 4, "{calls:?}");
}

/// What was replaced costs a reader nothing: a catch-up is as large as what lives, whatever came before.
#[test]
fn a_catch_up_behind_many_updates_asks_for_no_more_than_one_without() {
    let (mut once, mut often) = (World::of(1), World::of(1));
    once.publish(0..100);
    (0..40).for_each(|_| _ = often.publish(0..100));
    let ((few, few_calls), (many, many_calls)) = (once.catch_up(), often.catch_up());
    assert_eq!((few.len(), entries(&few).len()), (many.len(), entries(&many).len()));
    // The history of forty heads is proven in one more read.
    assert!(reads(&many_calls) <= reads(&few_calls) + 1, "{few_calls:?} {many_calls:?}");
    assert_eq!(many_calls["entries"], 100);
}

/// From the frame that the owner sent to the frame that a reader is sent an entry is passed on, not copied.
#[test]
fn entries_of_a_commit_share_the_memory_of_the_frame_they_came_in() {
    let mut world = World::of(1);
    let changes = [(path(1), Some(Bytes::from(vec![1; VALUE]))), (path(2), Some(Bytes::from(vec![2; VALUE])))];
    let frame = Request::Publish(world.owners[0].publish(&changes, None).publish()).encode();
    let Ok(Request::Publish(publish)) = Request::decode(frame.clone()) else { panic!("a publish") };
    let publish = checked(&world.owners[0], publish);
    let committed = world.commit(publish);
    let place = |entry: &Bytes| entry.as_ptr() as usize;
    let within = place(&frame)..place(&frame) + frame.len();
    let live = entries(&committed.frames().expect("frames for everybody"));
    assert_eq!((live.len(), live.iter().all(|entry| within.contains(&place(entry)))), (2, true));
    let stored: HashSet<usize> = entries(&world.catch_up().0).iter().map(place).collect();
    assert!(live.iter().all(|entry| stored.contains(&place(entry))));
}
