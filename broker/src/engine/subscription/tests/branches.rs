//! A branch is replaced under a subscription, or is not the one that its reader comes from. [P-10]

use super::*;
use crate::engine::test_branch::{Fork, adopt, anew, take};

/// A world at one branch of a fork, and the way to the other one.
struct Forked {
    world: World,
    fork: Fork,
}

impl Forked {
    fn new() -> Self {
        let common = vec![Request { add: vec![7], ..puts(&[1, 2]) }, puts(&[3])];
        let fork = Fork::new(common, vec![puts(&[4]), puts(&[5])], vec![puts(&[6]), puts(&[1])]);
        Self::of(fork)
    }

    fn of(fork: Fork) -> Self {
        let (store, commits) = (MemoryStore::new(), CommitQueue::new(CommitSettings::default()));
        take(&store, fork.left.descriptor(), &fork.tail).expect("valid publishes");
        Self { world: World { owner: fork.left.clone(), store, commits, newest: None }, fork }
    }

    fn replace(&self) -> Arc<Committed> {
        adopt(&self.world.store, self.fork.owner.descriptor(), &[anew(&self.fork.base)]).expect("an honest transfer").committed
    }

    /// A subscription that was told of the branch that stands, up to date.
    fn told(&self) -> Subscription {
        let mut subscription = self.world.subscribe(0, 0, Bytes::new());
        assert_eq!(kinds(&self.world.drain(&mut subscription)), "gaccC");
        subscription
    }

    fn base(&self) -> HeadRank {
        SignedHead::parse(self.fork.base.last().expect("a publish").head.clone()).expect("an own head").rank()
    }
}

fn announced(replies: &[Reply]) -> Option<tidings_proto::frames::Announce> {
    replies.iter().find_map(|reply| if let Reply::Announce(announce) = reply { Some(announce.clone()) } else { None })
}

/// [P-10] The reader is told by a code that says: come again.
#[test]
fn a_live_subscription_ends_when_its_branch_is_replaced() {
    let forked = Forked::new();
    let mut subscription = forked.told();
    assert_eq!(subscription.on_committed(&forked.replace()), FanOut::Ask);
    let replies = forked.world.drain(&mut subscription);
    assert_eq!((kinds(&replies), refusal(&replies).code), ("r".into(), RefusalCode::Conflict));
    assert_eq!(subscription.next(), Next::End);
}

/// [P-10] It read on before it heard, and met a head that does not descend from the one it announced.
#[test]
fn a_read_that_meets_another_branch_announces_nothing_of_it() {
    let forked = Forked::new();
    let mut subscription = forked.told();
    forked.replace();
    subscription.heard = forked.base();
    let replies = forked.world.drain(&mut subscription);
    assert_eq!(
        (kinds(&replies), refusal(&replies).code),
        ("gr".into(), RefusalCode::Conflict),
        "and the newest grant, for when it comes again"
    );
}

/// [P-10] Whatever was read of the branch that was left, and at whatever moment the news comes, none of it leaves.
#[test]
fn nothing_of_a_branch_leaves_after_another_one_stands() {
    for steps in 0..16 {
        let forked = Forked::new();
        let mut subscription = forked.world.subscribe(0, 0, Bytes::new());
        let mut told = false;
        for _ in 0..steps {
            match subscription.next() {
                Next::Send(reply) => told |= matches!(reply, Reply::Announce(_)),
                Next::Read(read) => subscription.on_answer(forked.world.read(&read)),
                Next::Wait(_) | Next::End => {}
            }
        }
        let committed = forked.replace();
        subscription.on_replaced(committed.head.rank());
        subscription.on_access_changed(committed.head.rank());
        assert!(subscription.is_doubted());
        let replies = forked.world.drain(&mut subscription);
        let heads = replies.iter().filter_map(|reply| if let Reply::Announce(announce) = reply { Some(announce) } else { None });
        assert!(heads.into_iter().all(|announce| announce.head == committed.head.bytes()), "after {steps} steps");
        match told {
            true => assert_eq!(refusal(&replies).code, RefusalCode::Conflict, "after {steps} steps"),
            false if kinds(&replies) == "r" => assert_eq!(refusal(&replies).code, RefusalCode::Conflict, "it was about to be told"),
            false => {
                assert!(kinds(&replies).starts_with("ga") && kinds(&replies).ends_with('C'), "after {steps} steps: {}", kinds(&replies))
            }
        }
    }
}

/// [P-17] Whoever has no row in the new branch is told so, and why, instead.
#[test]
fn a_reader_that_the_new_branch_does_not_have_is_denied_with_the_list() {
    let fork = Fork::new(vec![puts(&[1])], vec![Request { add: vec![7], ..puts(&[2]) }], vec![puts(&[3])]);
    let forked = Forked::of(fork);
    let mut subscription = forked.world.subscribe(0, 0, Bytes::new());
    subscription.reader = forked.fork.left.readers()[0];
    assert!(kinds(&forked.world.drain(&mut subscription)).starts_with("ga"));
    subscription.on_committed(&forked.replace());
    let replies = forked.world.drain(&mut subscription);
    let refusal = refusal(&replies);
    assert_eq!((refusal.code, refusal.head.clone()), (RefusalCode::Denied, forked.fork.base.last().expect("a publish").head.clone()));
    assert_eq!(refusal.rows.len(), 1);
}

/// [P-14] What stands at the reader's number in this history, so that it can tell; above it there is nothing, and no number is too high.
#[test]
fn a_cursor_of_another_branch_gets_the_leaf_of_this_one_or_none() {
    let forked = Forked::new();
    forked.replace();
    for (cursor, position) in [(1, 0), (2, 3), (3, 4), (4, 5), (5, 6), (99, 98), (u64::MAX, u64::MAX), (u64::MAX - 1, 1)] {
        let mut subscription = forked.world.subscribe(cursor, position, Bytes::new());
        let replies = forked.world.drain(&mut subscription);
        let announce = announced(&replies).expect("the head that stands");
        let hash = |publish: &tidings_proto::frames::Publish| SignedHead::parse(publish.head.clone()).expect("an own head").hash();
        let expected = usize::try_from(cursor).ok().filter(|number| *number < forked.fork.base.len());
        let leaf = expected.map_or(Bytes::new(), |number| Bytes::copy_from_slice(hash(&forked.fork.base[number - 1]).bytes()));
        assert_eq!((announce.base.value(), announce.leaf), (cursor, leaf), "cursor {cursor}");
        assert!(kinds(&replies).ends_with('C'));
    }
}

/// [P-16] What the owner said of a head that was left says nothing of the one that stands.
#[test]
fn a_pulse_of_an_older_term_is_not_passed_on() {
    let forked = Forked::new();
    let committed = forked.replace();
    let mut subscription = forked.world.subscribe(0, 0, Bytes::new());
    let pulse = |rank| Pulsed { rank, time: Timestamp::new(1), promise: None, bytes: Bytes::from_static(b"pulse") };
    subscription.on_pulse(pulse(HeadRank { term: tidings_proto::Term::new(1), number: HeadNumber::new(4) }));
    assert!(!kinds(&forked.world.drain(&mut subscription)).contains('p'));
    subscription.on_pulse(pulse(committed.head.rank()));
    assert_eq!(kinds(&forked.world.drain(&mut subscription)), "p");
}
