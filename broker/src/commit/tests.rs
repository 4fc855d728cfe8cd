use proptest::prelude::*;
use tidings_core::{Cursor, Entry, SetHash, SetKind, SignedHead};
use tidings_proto::frames::Reply;
use tidings_proto::{Offset, QueueId, RefusalCode, Timestamp, caps};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::engine::test_owner::{Edit, Request, TestOwner, puts};
use crate::engine::{Checked, Committed, Receipted, check};
use crate::store::faulty::Fault;
use crate::store::{Faults, FaultyStore, MemoryStore, ScanLimit, Store};

const NOW: Timestamp = Timestamp::new(77);
const ALL: ScanLimit = ScanLimit { entries: usize::MAX, bytes: usize::MAX };

fn queue() -> CommitQueue {
    CommitQueue::new(CommitSettings::default())
}

fn faulty() -> FaultyStore {
    FaultyStore::new([0; 32], Faults::NONE)
}

fn codes(answers: &[Result<Receipted, tidings_proto::Refusal>]) -> Vec<Option<RefusalCode>> {
    answers.iter().map(|answer| answer.as_ref().err().map(|refusal| refusal.code)).collect()
}

fn stands_at(store: &dyn Store, queue: QueueId) -> Option<u64> {
    let row = store.queue(&queue).expect("readable")?;
    Some(SignedHead::parse(row.head).expect("a head").head().number.value())
}

/// Commitment to what a scan of the whole queue finds.
fn scanned_root(store: &dyn Store, queue: QueueId) -> [u8; 32] {
    let scan = store.scan(&queue, Offset::ZERO, ALL).expect("readable").expect("a queue");
    let mut live = SetHash::new(SetKind::Live);
    scan.entries.iter().for_each(|(_, bytes)| live.add(Entry::digest_of(bytes, &queue).bytes()));
    live.root()
}

/// A request from random numbers: edits of twelve records, now and then a floor or a change of access.
fn request() -> impl Strategy<Value = Request> {
    let edit = (0..12_u8, 0..3_u8).prop_map(|(name, kind)| if kind == 0 { Edit::Delete(name) } else { Edit::Put(name) });
    let floor = proptest::option::weighted(0.3, 0..40_u64);
    (proptest::collection::vec(edit, 0..6), floor, 0..10_u8).prop_map(|(edits, floor, access)| Request {
        edits,
        floor,
        rotate: access == 0,
        add: if access == 1 { vec![200] } else { Vec::new() },
        remove: Vec::new(),
    })
}

/// Signs requests in order; a second invitation of the same reader becomes its revocation.
fn sign_all(owner: &mut TestOwner, requests: &[Request]) -> Vec<Checked> {
    let sign = |request: &Request| {
        let mut request = request.clone();
        if !request.add.is_empty() && !owner.readers().is_empty() {
            request.add.clear();
            request.remove = owner.readers();
        }
        owner.checked(request)
    };
    requests.iter().map(sign).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// [P-7] [P-8] How publishes fall into groups makes no difference, and what the store holds is what the owner signed.
    #[test]
    fn a_group_of_many_is_many_groups_of_one(
        requests in proptest::collection::vec((request(), any::<bool>(), any::<bool>()), 1..24),
    ) {
        let (mut one, mut two) = (TestOwner::new(1), TestOwner::new(2));
        let (singly, grouped) = (MemoryStore::new(), MemoryStore::new());
        let (mut by_one, mut by_group) = (queue(), CommitQueue::new(CommitSettings { hot_queues_max: 1, ..CommitSettings::default() }));
        let mut group = Vec::new();
        for (request, first, flush) in requests {
            let owner = if first { &mut one } else { &mut two };
            let checked = sign_all(owner, &[request]).remove(0);
            prop_assert!(by_one.commit_group(&singly, NOW, vec![checked.clone()])[0].is_ok());
            prop_assert_eq!(scanned_root(&singly, owner.queue()), owner.live_root());
            group.push(checked);
            if flush {
                prop_assert!(by_group.commit_group(&grouped, NOW, std::mem::take(&mut group)).iter().all(Result::is_ok));
            }
        }
        prop_assert!(by_group.commit_group(&grouped, NOW, group).iter().all(Result::is_ok));
        prop_assert_eq!(format!("{singly:?}"), format!("{grouped:?}"));
    }
}

/// [P-7] Repeated, a publish gets the receipt it had: the same head, held since the same time.
#[test]
fn a_repeat_gets_the_same_receipt() {
    let (mut owner, store, mut queue) = (TestOwner::new(1), MemoryStore::new(), queue());
    let checked = owner.checked(puts(&[1]));
    let first = queue.commit_group(&store, NOW, vec![checked.clone()]).remove(0).expect("stored");
    let again = queue.commit_group(&store, Timestamp::new(99), vec![checked.clone(), checked]);
    for answer in again {
        let receipted = answer.expect("it stands");
        assert_eq!(receipted.receipt, first.receipt);
        assert_eq!((first.receipt.since, receipted.committed.frames()), (NOW, None));
    }
}

/// Whether the lost answer was a yes or a no: the same bytes again end with the same head.
#[test]
fn an_unknown_outcome_is_settled_by_repeating() {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (mut owner, store, mut queue) = (TestOwner::new(1), faulty(), queue());
        let (first, second) = (owner.checked(puts(&[1])), owner.checked(puts(&[1, 2])));
        queue.commit_group(&store, NOW, vec![first]).remove(0).expect("stored");
        store.fail_next(fault);
        assert_eq!(codes(&queue.commit_group(&store, NOW, vec![second.clone()])), [Some(RefusalCode::OutcomeUnknown)]);
        assert_eq!(codes(&queue.commit_group(&store, NOW, vec![second])), [None]);
        assert_eq!(stands_at(&store, owner.queue()), Some(2));
    }
}

/// [P-7] After a failed sync the head may be readable and still not durable: no receipt for it, not even for a repeat.
#[test]
fn nothing_is_receipted_after_a_failed_sync() {
    let (mut owner, store, mut queue) = (TestOwner::new(1), faulty(), queue());
    let checked = owner.checked(puts(&[1]));
    store.fail_next(Fault::SyncFailed);
    queue.commit_group(&store, NOW, vec![checked.clone()]);
    assert_eq!(stands_at(&store, owner.queue()), Some(1));
    assert_eq!(codes(&queue.commit_group(&store, NOW, vec![checked.clone()])), [Some(RefusalCode::Unavailable)]);
    store.crash();
    assert_eq!(codes(&queue.commit_group(&store, NOW, vec![checked])), [None]);
}

/// A head that was never stored is nobody's reason for a conflict.
#[test]
fn refusals_that_built_on_a_failed_publish_say_that_nothing_changed() {
    let (mut owner, store, mut queue) = (TestOwner::new(1), faulty(), queue());
    let (first, _, third) = (owner.checked(puts(&[1])), owner.checked(puts(&[2])), owner.checked(puts(&[3])));
    store.fail_next(Fault::Refused);
    let answers = queue.commit_group(&store, NOW, vec![first.clone(), third]);
    assert_eq!(codes(&answers), [Some(RefusalCode::Unavailable); 2]);
    assert_eq!(codes(&queue.commit_group(&store, NOW, vec![first])), [None]);
}

#[test]
fn a_refused_publish_leaves_the_others_of_its_group_alone() {
    let (mut one, mut two, store, mut queue) = (TestOwner::new(1), TestOwner::new(2), MemoryStore::new(), queue());
    let (first, _, third) = (one.checked(puts(&[1])), one.checked(puts(&[2])), one.checked(puts(&[3])));
    let answers = queue.commit_group(&store, NOW, vec![first, third, two.checked(puts(&[1]))]);
    assert_eq!(codes(&answers), [None, Some(RefusalCode::Conflict), None]);
}

#[test]
fn a_damaged_queue_does_not_stop_the_others() {
    let (mut one, mut two, store, mut queue) = (TestOwner::new(1), TestOwner::new(2), faulty(), queue());
    let both = vec![one.checked(puts(&[1])), two.checked(puts(&[1]))];
    assert_eq!(codes(&queue.commit_group(&store, NOW, both)), [None, None]);
    store.damage(one.queue());
    let both = vec![one.checked(puts(&[2])), two.checked(puts(&[2]))];
    assert_eq!(codes(&queue.commit_group(&store, NOW, both)), [Some(RefusalCode::Damaged), None]);
    assert_eq!(stands_at(&store, two.queue()), Some(2));
}

/// A cached state that the store has overtaken costs one conflict, which names the head that stands.
#[test]
fn a_stale_state_is_dropped() {
    let (mut owner, store, mut stale, mut fresh) = (TestOwner::new(1), MemoryStore::new(), queue(), queue());
    let first = owner.checked(puts(&[1]));
    let publish = owner.put(&[2]);
    let second = check(owner.descriptor(), publish.clone()).expect("valid");
    let fork = owner.resign(&publish, |head| head.time = Timestamp::new(5_000));
    let third = owner.checked(puts(&[1]));
    stale.commit_group(&store, NOW, vec![first]);
    fresh.commit_group(&store, NOW, vec![second.clone()]).remove(0).expect("stored");
    let fork = check(owner.descriptor(), fork).expect("valid");
    let refusal = stale.commit_group(&store, NOW, vec![fork]).remove(0).expect_err("a conflict");
    assert_eq!((refusal.code, &refusal.head), (RefusalCode::Conflict, second.head().bytes()));
    assert_eq!(codes(&stale.commit_group(&store, NOW, vec![third])), [None]);
}

/// An idle queue costs no memory: what stays hot is bounded, and who comes back is read again.
#[test]
fn no_more_queues_stay_hot_than_allowed() {
    let settings = CommitSettings { hot_queues_max: 2, ..CommitSettings::default() };
    let (store, mut queue) = (MemoryStore::new(), CommitQueue::new(settings));
    let mut owners: Vec<_> = (1..6).map(TestOwner::new).collect();
    for _ in 0..2 {
        for owner in &mut owners {
            queue.commit_group(&store, NOW, vec![owner.checked(puts(&[1]))]).remove(0).expect("stored");
            assert!(queue.hot_queues() <= 2);
        }
    }
}

#[test]
fn frames_for_everybody_hold_the_whole_delta_in_chunks() {
    let (mut owner, store, mut queue) = (TestOwner::new(1), MemoryStore::new(), queue());
    let committed = queue.commit_group(&store, NOW, vec![owner.checked(puts(&[1]))]).remove(0).expect("stored").committed;
    let entry = |index: usize| vec![index as u8; 300].into();
    let entries: Vec<bytes::Bytes> = (0..2_500).map(entry).collect();
    let large = Committed { entries: Some(entries.clone()), access_changed: false, ..(*committed).clone() };
    let frames = large.frames().expect("the fast path");
    let Some(Reply::Announce(announce)) = frames.first() else { panic!("a head first") };
    assert_eq!(announce.leaf, &Cursor::start(&owner.queue()).head.bytes()[..]);
    let chunks: Vec<_> =
        frames[1..].iter().map(|frame| if let Reply::Chunk(chunk) = frame { chunk } else { panic!("then chunks") }).collect();
    assert!(chunks.iter().all(|chunk| chunk.entries.len() <= caps::CHUNK_ENTRIES_MAX));
    assert!(chunks.iter().all(|chunk| chunk.entries.iter().map(bytes::Bytes::len).sum::<usize>() <= caps::CHUNK_BYTES_MAX));
    assert_eq!(chunks.iter().map(|chunk| chunk.complete).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(chunks.iter().flat_map(|chunk| chunk.entries.clone()).collect::<Vec<_>>(), entries);
}

/// One fault meets one write: if it reaches every publish that waited, they were one group.
#[test]
fn the_thread_commits_everything_that_waits_at_once() {
    let (store, mut owner) = (faulty(), TestOwner::new(1));
    let (sender, jobs) = mpsc::channel(8);
    let send = |checked: Checked| {
        let (answer, answered) = oneshot::channel();
        sender.try_send(CommitJob { work: checked.into(), answer, place: None }).expect("room");
        answered
    };
    let publishes: Vec<_> = (0..4).map(|name| owner.checked(puts(&[name]))).collect();
    store.fail_next(Fault::Refused);
    let mut failed: Vec<_> = publishes.into_iter().map(send).collect();
    drop(sender);
    run(&store, queue(), jobs, || NOW, |_| panic!("nothing became durable"));
    let answers: Vec<_> = failed.iter_mut().map(|answered| answered.try_recv().expect("an answer")).collect();
    assert_eq!(codes(&answers), [Some(RefusalCode::Unavailable); 4]);
}

#[test]
fn the_thread_bounds_a_group_and_loses_nothing() {
    let (store, mut owner) = (MemoryStore::new(), TestOwner::new(1));
    let (sender, jobs) = mpsc::channel(8);
    let mut answers = Vec::new();
    for name in 0..5 {
        let (answer, answered) = oneshot::channel();
        sender.try_send(CommitJob { work: owner.checked(puts(&[name])).into(), answer, place: None }).expect("room");
        answers.push(answered);
    }
    drop(sender);
    let mut heard = Vec::new();
    let settings = CommitSettings { group_publishes_max: 2, group_bytes_max: 1, ..CommitSettings::default() };
    run(
        &store,
        CommitQueue::new(settings),
        jobs,
        || NOW,
        |group| heard.extend(group.iter().map(|committed| committed.head.head().number.value())),
    );
    assert!(answers.iter_mut().all(|answered| answered.try_recv().expect("an answer").is_ok()));
    assert_eq!(heard, [1, 2, 3, 4, 5]);
}
