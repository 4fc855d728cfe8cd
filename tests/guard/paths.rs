//! The main paths: what each prepares, what of it is measured, and that it did what it is for.

use bytes::Bytes;
use tidings_broker::engine::FanOut;
use tidings_core::entry::Entry;
use tidings_core::seal::{Place, open, seal};
use tidings_core::writer::Signed;
use tidings_core::{Entropy, EpochSecret, Mutation, Object, Operation, Receipt, ReceiptKey, SetHash, SetKind, Version, Writer};
use tidings_proto::frames::{Chunk, Reply, Request};
use tidings_proto::{Birth, Epoch, Offset, QueueId, Term};

use crate::callgrind::measured;
use crate::paper::{Owner, PaperBroker, path};
use crate::scenes::{Broker, Follower, NOW, VALUE, checked, owner_of, serve, subscription, writes};

/// Each path under its name in the table of marks.
pub(crate) const PATHS: [(&str, fn()); 13] = [
    ("seal 64 mutations", seal_mutations),
    ("open 64 entries", open_entries),
    ("add and remove 256 entries of a set hash", change_set),
    ("sign a publish of 16", sign_publish),
    ("encode and decode a publish of 16", publish_frame),
    ("check a publish of 16", check_publish),
    ("commit 64 publishes of 8 queues", commit_group),
    ("sign and verify 16 receipts", receipts),
    ("tell 100 live readers of a commit", fan_out),
    ("serve a catch-up of 1000 entries", serve_catch_up),
    ("encode and decode a chunk of 500", chunk_frame),
    ("accept a catch-up of 1000 entries", accept_catch_up),
    ("accept 16 live deltas", accept_live),
];

const QUEUE: QueueId = QueueId::new([1; 32]);

fn mutation(number: u64) -> Mutation {
    Mutation {
        path: path(number),
        operation: Operation::Create,
        version: Version { clock: number, node: [2; 16] },
        object: None,
        inline: Some(Bytes::from(vec![number as u8; VALUE])),
        headers: Vec::new(),
        unknown: Vec::new(),
    }
}

fn sealed(secret: &EpochSecret, mutations: &[Mutation]) -> Vec<Entry> {
    let entropy = &mut Entropy::new([3; 32]);
    let place = |at: u64| Place { term: Term::new(1), offset: Offset::new(at), birth: Birth::new(at) };
    (1..).zip(mutations).map(|(at, mutation)| seal(secret, &QUEUE, place(at), mutation, entropy).expect("it is small")).collect()
}

fn secret() -> EpochSecret {
    EpochSecret::new(Epoch::new(1), &mut Entropy::new([4; 32]))
}

fn seal_mutations() {
    let (secret, mutations): (_, Vec<_>) = (secret(), (0..64).map(mutation).collect());
    let entries = measured(|| sealed(&secret, &mutations));
    assert_eq!(entries.len(), 64);
}

fn open_entries() {
    let (secret, mutations): (_, Vec<_>) = (secret(), (0..64).map(mutation).collect());
    let entries = sealed(&secret, &mutations);
    let opened: Vec<_> = measured(|| entries.iter().map(|entry| open(&secret, &QUEUE, entry)).collect());
    assert!(opened.into_iter().zip(mutations).all(|(opened, mutation)| opened == Ok(mutation)));
}

fn change_set() {
    let digests: Vec<[u8; 32]> = (0..=255).map(|number| [number; 32]).collect();
    let mut set = SetHash::new(SetKind::Live);
    measured(|| {
        digests.iter().for_each(|digest| set.add(digest));
        digests[..255].iter().for_each(|digest| set.remove(digest));
    });
    let mut one = SetHash::new(SetKind::Live);
    one.add(&digests[255]);
    assert_eq!(set.root(), one.root());
}

/// Updates: the entries that they replace leave the set.
fn sign_publish() {
    let mut owner = owner_of(16);
    let (request, mut entropy) = (owner.request(&writes(0..16), None), owner.entropy());
    let (writer, key) = (&mut owner.writer, &owner.key);
    let (signed, state): (Signed, Vec<u8>) = measured(|| {
        let signed = writer.sign(key, request, NOW, &mut entropy).expect("the request is sound");
        (signed, writer.encode())
    });
    assert_eq!((signed.entries.len(), Writer::decode(&state).is_ok()), (16, true));
}

fn publish_frame() {
    let request = Request::Publish(owner_of(16).log.remove(1));
    let decoded = measured(|| Request::decode(request.encode_prefixed().slice(4..)));
    assert_eq!(decoded, Ok(request));
}

fn check_publish() {
    let owner = owner_of(16);
    let checked = measured(|| checked(&owner, &owner.log[1]));
    assert_eq!(checked.head().head().live_count, 16);
}

/// Each owner updates one record eight times, so that a publish replaces what one before it in the same group put.
fn commit_group() {
    let mut owners: Vec<Owner> = (0..8).map(Owner::new).collect();
    owners.iter_mut().for_each(|owner| _ = owner.publish(&writes(0..1), None));
    let mut broker = Broker::with(&owners.iter().collect::<Vec<_>>());
    let mut publish = |owner: &mut Owner| {
        let signed = owner.publish(&writes(0..1), None);
        checked(owner, &signed.publish())
    };
    let group: Vec<_> = (0..8).flat_map(|_| owners.iter_mut().map(&mut publish).collect::<Vec<_>>()).collect();
    let answers = measured(|| broker.commits.commit_group(&broker.store, NOW, group));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 64);
}

fn receipts() {
    let (key, head) = (ReceiptKey::from_seed([5; 32]), owner_of(1).writer.head().cloned().expect("a head"));
    let receipt = Receipt { queue: QUEUE, rank: head.rank(), head: head.hash(), since: NOW };
    let public = key.verifying_key();
    let read: Vec<_> = measured(|| (0..16).map(|_| Receipt::verify(&receipt.sign(&key), &public)).collect());
    assert!(read.into_iter().all(|read| read == Ok(receipt)));
}

/// The frames are made once, and no reader costs a read.
fn fan_out() {
    let mut owner = owner_of(16);
    let mut broker = Broker::with(&[&owner]);
    let mut live: Vec<_> = (0..100).map(|_| subscription(&owner)).collect();
    live.iter_mut().for_each(|live| assert!(serve(live, &broker.store) > 0));
    let signed = owner.publish(&writes(0..1), None);
    let committed = broker.take(&owner, &signed);
    let (bytes, shared) = measured(|| {
        let frames = committed.frames().expect("frames for everybody");
        let bytes: usize = frames.iter().map(|frame| frame.encode_prefixed().len()).sum();
        (bytes, live.iter_mut().filter_map(|live| (live.on_committed(&committed) == FanOut::Shared).then_some(())).count())
    });
    assert_eq!((bytes > VALUE, shared), (true, 100));
}

fn serve_catch_up() {
    let owner = owner_of(1_000);
    let (broker, mut subscription) = (Broker::with(&[&owner]), subscription(&owner));
    let sent = measured(|| serve(&mut subscription, &broker.store));
    assert!(sent > 1_000 * VALUE);
}

fn chunk_frame() {
    let owner = owner_of(500);
    let entries = owner.log.iter().flat_map(|publish| publish.entries.clone()).collect();
    let reply = Reply::Chunk(Chunk { stamp: owner.writer.head().expect("a head").rank(), entries, complete: true });
    let decoded = measured(|| Reply::decode(reply.encode_prefixed().slice(4..)));
    assert_eq!(decoded, Ok(reply));
}

fn accept_catch_up() {
    let mut owner = owner_of(1_000);
    let (mut follower, mut broker) = (Follower::new(&mut owner), PaperBroker::default());
    broker.receive(&owner.log, usize::MAX);
    let owed = follower.owed(&broker);
    let accepted = measured(|| follower.take(&owed));
    assert_eq!((accepted, follower.store.take_changes().len()), (1, 1_000));
}

/// One update each, as a live reader gets them.
fn accept_live() {
    let mut owner = owner_of(16);
    let (mut follower, mut broker) = (Follower::new(&mut owner), PaperBroker::default());
    broker.receive(&owner.log, usize::MAX);
    let owed = follower.owed(&broker);
    assert_eq!(follower.take(&owed), 1);
    let deltas: Vec<Vec<Reply>> = (0..16)
        .map(|number| {
            owner.publish(&writes(number..number + 1), None);
            broker.receive(&owner.log, usize::MAX);
            follower.owed(&broker)
        })
        .collect();
    let accepted: usize = measured(|| deltas.iter().map(|delta| follower.take(delta)).sum());
    assert_eq!(accepted, 16);
}
