//! Higher terms: they go on from the head that stands, or replace the branch it stands in. [P-4] [P-10]

use tidings_proto::Pseudonym;

use super::*;
use crate::engine::test_branch::{Fork, adopt, anew, judge, split, take};
use crate::store::{Fault, Faults, FaultyStore};

/// A broker that took one branch of a fork whole.
struct Left {
    fork: Fork,
    store: MemoryStore,
}

impl Left {
    fn new(fork: Fork) -> Self {
        let store = MemoryStore::new();
        take(&store, fork.left.descriptor(), &fork.tail).expect("valid publishes");
        Self { fork, store }
    }

    /// What both have: puts, grants, a delete. Then `tail` here and `base` there.
    fn busy(tail: Vec<Request>, base: Vec<Request>) -> Self {
        let mut common = vec![puts(&[1, 2, 3]), Request { add: vec![200, 201], ..puts(&[2]) }];
        common.push(Request { edits: vec![Edit::Delete(1)], ..puts(&[4]) });
        Self::new(Fork::new(common, tail, base))
    }

    /// A base that is shorter than the tail, in entries and in heads.
    fn longer() -> Self {
        let tail = vec![puts(&[1, 2, 3, 50, 51]), puts(&[4]), Request { floor: Some(9), ..puts(&[5]) }, puts(&[60, 61])];
        Self::busy(tail, vec![puts(&[2]), Request { edits: vec![Edit::Delete(3)], ..Request::default() }])
    }

    fn whole(&self) -> Transfer {
        anew(&self.fork.base)
    }

    fn adopt(&self, parts: &[Transfer]) -> Result<Receipted, Refusal> {
        adopt(&self.store, self.fork.owner.descriptor(), parts)
    }

    /// The refusal of what `change` makes of an honest transfer. The branch that stood still does, whole.
    fn code(&self, change: impl FnOnce(&mut Transfer)) -> RefusalCode {
        let (mut part, before) = (self.whole(), seen(&self.store, self.fork.left.queue()));
        change(&mut part);
        let refusal = self.adopt(&[part]).expect_err("a refusal");
        assert_eq!(seen(&self.store, self.fork.left.queue()), before);
        refusal.code
    }
}

/// All that a queue shows of itself.
fn seen(store: &dyn Store, queue: QueueId) -> String {
    let row = store.queue(&queue).expect("memory").expect("it stands");
    let scan = store.scan(&queue, Offset::ZERO, ALL).expect("memory");
    let births: Vec<_> = store.live_of(&queue, &(1..99).map(Birth::new).collect::<Vec<_>>()).expect("memory");
    let nodes: Vec<_> = (0..6).flat_map(|level| (0..40).map(move |index| NodeIndex { level, index })).collect();
    let history = store.history(&queue, &nodes).expect("memory");
    let access = store.access_list(&queue).expect("memory");
    let named: Vec<_> = access
        .iter()
        .flat_map(|(_, row)| {
            let row = tidings_core::access::AccessRow::decode(row).expect("an own row");
            [row.grant, row.owner_copy].map(|hash| store.attachment(&queue, &hash).expect("memory"))
        })
        .collect();
    format!("{row:?} {scan:?} {births:?} {history:?} {access:?} {named:?}")
}

/// A broker that took every publish of the base and nothing else.
fn reference(fork: &Fork) -> String {
    let store = MemoryStore::new();
    take(&store, fork.owner.descriptor(), &fork.base).expect("valid publishes");
    seen(&store, fork.owner.queue())
}

/// [P-10] Nothing of the branch that was left is there any more, however it was cut into parts.
#[test]
fn a_branch_that_a_higher_term_replaced_leaves_no_trace() {
    for parts in [|whole: Transfer| vec![whole], |whole: Transfer| split(&whole)] {
        let short = Left::busy(vec![puts(&[9])], vec![puts(&[1, 2]), puts(&[3]), Request { floor: Some(7), ..puts(&[8]) }]);
        for left in [Left::longer(), short] {
            let receipted = left.adopt(&parts(left.whole())).expect("an honest transfer");
            let newest = SignedHead::parse(left.fork.base.last().expect("a publish").head.clone()).expect("an own head");
            assert_eq!((receipted.receipt.rank, receipted.receipt.head), (newest.rank(), newest.hash()));
            assert!(receipted.committed.replaced && receipted.committed.frames().is_none());
            assert_eq!(seen(&left.store, left.fork.owner.queue()), reference(&left.fork));
        }
    }
}

/// [P-7] The term goes on by publishes, also in the group of the transfer, before the store has it.
#[test]
fn publishes_go_on_in_the_term_that_replaced_a_branch() {
    let mut left = Left::longer();
    let adoption = judge(&left.store, left.fork.owner.descriptor(), &[left.whole()]).expect("an honest transfer");
    let next: Vec<Publish> = [puts(&[2, 3]), puts(&[60])].into_iter().map(|request| left.fork.owner.sign(request).publish()).collect();
    let checked = next.iter().map(|publish| check(left.fork.owner.descriptor(), publish.clone()).expect("a valid publish"));
    let group: Vec<Work> = std::iter::once(Work::from(adoption)).chain(checked.map(Work::from)).collect();
    let answers = CommitQueue::new(CommitSettings::default()).commit_group(&left.store, NOW, group);
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true; 3]);
    left.fork.base.extend(next);
    assert_eq!(seen(&left.store, left.fork.owner.queue()), reference(&left.fork));
}

/// [P-3] [P-10] In the term that stands, or a lower one, a branch is never replaced: its owner would sign a rank twice.
#[test]
fn only_a_higher_term_replaces_a_branch() {
    let left = Left::longer();
    let newest = left.fork.base.last().expect("a publish").clone();
    for term in [0, 1] {
        let head = left.fork.owner.resign(&newest, |head| head.term = Term::new(term)).head;
        assert!([RefusalCode::Conflict, RefusalCode::Malformed].contains(&left.code(|part| part.head = head)), "term {term}");
    }
    left.adopt(&[left.whole()]).expect("the higher term");
    let refusal = adopt(&left.store, left.fork.left.descriptor(), &[anew(&left.fork.tail)]).expect_err("it was left");
    assert_eq!((refusal.code, refusal.head), (RefusalCode::Conflict, newest.head));
}

/// [P-3] Two copies of one state signed on in the term of both.
#[test]
fn another_branch_of_the_same_term_replaces_nothing() {
    let (mut one, store) = (TestOwner::new(1), MemoryStore::new());
    let first = one.put(&[1]);
    let mut two = one.copy();
    let (left, other) = ([first.clone(), one.put(&[2])], [first, two.put(&[3]), two.put(&[4])]);
    take(&store, one.descriptor(), &left).expect("valid publishes");
    let refusal = adopt(&store, two.descriptor(), &[anew(&other)]).expect_err("a rank was signed twice");
    assert_eq!((refusal.code, refusal.head), (RefusalCode::Conflict, left[1].head.clone()));
}

/// An owner can waste its terms, not its broker.
#[test]
fn the_last_of_all_terms_stands_like_any_other() {
    let left = Left::longer();
    let head = left.fork.owner.resign(left.fork.base.last().expect("a publish"), |head| head.term = Term::new(u64::MAX)).head;
    left.adopt(&[Transfer { head, ..left.whole() }]).expect("higher than any");
    assert_eq!(left.code(|_| {}), RefusalCode::Conflict);
}

/// [P-10] Where the standing head is in the history, what stands is kept as far as it lives.
#[test]
fn a_higher_term_goes_on_from_the_head_that_stands() {
    for taken in 1..=3 {
        let left = Left::busy(vec![], vec![puts(&[2]), Request { remove: vec![], rotate: true, ..puts(&[3, 9]) }]);
        let store = MemoryStore::new();
        take(&store, left.fork.owner.descriptor(), &left.fork.base[..taken]).expect("valid publishes");
        let mut world = World {
            owner: left.fork.owner.copy(),
            publishes: left.fork.base.clone(),
            store,
            commits: CommitQueue::new(CommitSettings::default()),
        };
        let part = world.whole();
        assert!(!part.live.is_empty());
        let receipted = world.transfer(vec![part]).expect("an honest transfer");
        assert!(!receipted.committed.replaced);
        assert_eq!(seen(&world.store, world.owner.queue()), reference(&left.fork), "from head {taken}");
        let again = MemoryStore::new();
        take(&again, left.fork.owner.descriptor(), &left.fork.base[..taken]).expect("valid publishes");
        adopt(&again, left.fork.owner.descriptor(), &[anew(&left.fork.base)]).expect("also from zero");
        assert_eq!(seen(&again, world.owner.queue()), reference(&left.fork), "from zero at head {taken}");
    }
}

/// Without any entry there is no bitmap that could tell the two ways apart: the head does. [P-10]
#[test]
fn a_queue_without_entries_is_gone_on_with_or_replaced_as_the_new_head_says() {
    let grants = |seed: u8| Request { add: vec![seed], ..Request::default() };
    for tail in [vec![], vec![grants(9)], vec![grants(9), grants(10), grants(11)]] {
        let left = Left::new(Fork::new(vec![grants(7), grants(8)], tail, vec![puts(&[1, 2]), puts(&[1])]));
        let (branch, standing) = (&left.fork.base, left.fork.tail.len());
        let mut part = left.whole();
        if standing == 2 {
            part.history.drain(..2);
        }
        for parts in [vec![part.clone()], split(&part)] {
            let store = left.store.clone();
            adopt(&store, left.fork.owner.descriptor(), &parts).expect("an honest transfer");
            assert_eq!(seen(&store, left.fork.owner.queue()), reference(&left.fork), "{} heads, {standing} stood", branch.len());
        }
    }
}

/// [P-7] [P-8]
#[test]
fn a_branch_that_is_not_the_signed_one_replaces_nothing() {
    let left = Left::longer();
    assert_eq!(left.code(|part| drop(part.entries.pop())), RefusalCode::Invalid);
    assert_eq!(left.code(|part| drop(part.entries.remove(0))), RefusalCode::Invalid);
    assert_eq!(left.code(|part| part.entries.swap(0, 1)), RefusalCode::Invalid);
    let foreign = left.fork.tail[3].entries[4].clone();
    assert_eq!(left.code(|part| part.entries.push(foreign)), RefusalCode::Invalid);
    assert_eq!(left.code(|part| part.history[0][0] ^= 1), RefusalCode::Conflict);
    assert_eq!(left.code(|part| part.history.truncate(2)), RefusalCode::Conflict);
    assert_eq!(left.code(|part| part.history.push([7; 32])), RefusalCode::Conflict);
    assert_eq!(left.code(|part| drop(part.rows.pop())), RefusalCode::Invalid);
    assert_eq!(left.code(|part| part.attachments.clear()), RefusalCode::Invalid);
    assert_eq!(left.code(|part| part.attachments.push(Bytes::from_static(b"of nobody"))), RefusalCode::Invalid);
}

/// It says what stays, and from zero nothing does.
#[test]
fn a_bitmap_behind_the_first_entry_is_malformed() {
    let left = Left::longer();
    let mut parts = split(&left.whole());
    let last = parts.len() - 1;
    parts.insert(last, Transfer { through: Offset::new(3), ..Transfer::default() });
    assert_eq!(left.adopt(&parts).expect_err("a refusal").code, RefusalCode::Malformed);
}

/// [P-17] Who had a row in the branch that was left, and has none in the one that stands, gets the list that says so.
#[test]
fn readers_that_the_new_branch_does_not_have_were_removed() {
    let left = Left::busy(vec![Request { add: vec![202], ..Request::default() }, puts(&[8])], vec![puts(&[1])]);
    let listed = |publishes: &[Publish]| -> Vec<Pseudonym> {
        let rows = test_branch::access(publishes).0;
        rows.iter().map(|row| tidings_core::access::AccessRow::decode(row).expect("an own row").pseudonym).collect()
    };
    let (tail, base) = (listed(&left.fork.tail), listed(&left.fork.base));
    left.adopt(&[left.whole()]).expect("an honest transfer");
    let removed: Vec<bool> = tail.iter().map(|reader| left.store.was_removed(&left.fork.left.queue(), reader).expect("memory")).collect();
    let expected: Vec<bool> = tail.iter().map(|reader| !base.contains(reader)).collect();
    assert_eq!(removed, expected);
    assert_eq!(removed.iter().filter(|removed| **removed).count(), 1);
}

/// [P-7] [P-19] What is staged counts, although the branch that stands still takes its room; a smaller branch is never refused for it.
#[test]
fn a_branch_above_the_quota_is_refused_unless_it_is_smaller_than_what_stood() {
    let left = Left::busy(vec![], vec![puts(&[1, 2, 3, 70, 71, 72])]);
    let check = |store: &MemoryStore, max| TransferCheck::open(left.fork.owner.descriptor().clone(), store, max).expect("it can begin");
    assert_eq!(check(&left.store, 300).take(&left.whole()).expect_err("more than granted").code, RefusalCode::Quota);
    let longer = Left::longer();
    check(&longer.store, 300).take(&longer.whole()).expect("less than stood");
}

/// [P-7] Behind a closed head only a higher term goes on, by a publish or by a transfer.
#[test]
fn a_closed_head_is_left_by_a_higher_term_alone() {
    let mut left = Left::busy(vec![puts(&[5])], vec![puts(&[2])]);
    let closed = left.fork.left.close();
    take(&left.store, left.fork.left.descriptor(), std::slice::from_ref(&closed)).expect("a head like any other");
    let mut same = left.fork.tail.clone();
    same.push(closed.clone());
    let next = left.fork.left.resign(&closed, |head| {
        let before = head.clone().sign(&tidings_core::NodeKey::from_seed([1; 32]));
        (head.number, head.previous) = (head.number.next().expect("small"), before.hash());
        head.state = tidings_core::QueueState::Open;
    });
    let refusal = take(&left.store, left.fork.left.descriptor(), std::slice::from_ref(&next)).expect_err("it is closed");
    assert_eq!((refusal.code, refusal.head), (RefusalCode::Invalid, closed.head.clone()));
    same.push(next);
    assert_eq!(adopt(&left.store, left.fork.left.descriptor(), &[anew(&same)]).expect_err("it is closed").code, RefusalCode::Conflict);
    let mut on = left.fork.left.copy();
    on.open_term(0);
    let store = left.store.clone();
    let publish = on.put(&[6]);
    take(&store, on.descriptor(), &[publish]).expect("a publish of a higher term");
    left.adopt(&[left.whole()]).expect("a transfer of a higher term");
    assert_eq!(seen(&left.store, left.fork.owner.queue()), reference(&left.fork));
}

/// [P-7] [P-10] Whatever of a transfer the machine forgets, the branch that stood is whole, and the same transfer replaces it later.
#[test]
fn a_crash_in_the_middle_leaves_the_branch_that_stood_whole() {
    let fork = Left::longer().fork;
    let store = FaultyStore::new([3; 32], Faults::NONE);
    take(&store, fork.left.descriptor(), &fork.tail).expect("valid publishes");
    let (before, parts) = (seen(&store, fork.left.queue()), split(&anew(&fork.base)));
    for cut in 0..parts.len() {
        let mut check = TransferCheck::open(fork.owner.descriptor().clone(), &store, 0).expect("it can begin");
        for part in &parts[..cut] {
            check.take(part).expect("an honest part").iter().for_each(|staged| store.stage(staged).expect("no fault"));
        }
        assert_eq!(seen(&store, fork.left.queue()), before);
        if cut % 2 == 0 {
            store.crash();
        }
        assert_eq!(seen(&store, fork.left.queue()), before, "after {cut} parts");
    }
    store.fail_next(Fault::Refused);
    TransferCheck::open(fork.owner.descriptor().clone(), &store, 0).expect_err("a store that cannot forget");
    let adoption = judge(&store, fork.owner.descriptor(), &parts).expect("an honest transfer");
    store.fail_next(Fault::SyncFailed);
    let answer = CommitQueue::new(CommitSettings::default()).commit_group(&store, NOW, vec![Work::from(adoption)]).remove(0);
    assert_eq!(answer.expect_err("nobody knows").code, RefusalCode::OutcomeUnknown);
    store.crash();
    assert_eq!(seen(&store, fork.left.queue()), before);
    adopt(&store, fork.owner.descriptor(), &parts).expect("an honest transfer");
    store.crash();
    assert_eq!(seen(&store, fork.owner.queue()), reference(&fork));
}
