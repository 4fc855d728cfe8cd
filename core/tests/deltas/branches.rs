//! Single cases of branches: a fork that ends, a rewind that is interrupted, staging across terms, closed heads.

use tidings_core::writer::WriterError;
use tidings_core::{Entropy, NewTerm, Step, Verdict};
use tidings_proto::frames::Reply;
use tidings_proto::{Epoch, Term, Timestamp};

use crate::paper::{Owner, PaperBroker, Session, path};
use crate::world::{End, World};

/// A reader at `left`, and the same owner's `right`, which went on in a higher term from before.
fn left_and_right() -> (World, Owner) {
    left_and_right_of(|_| ())
}

/// The same; `before` is shown the owner as it was before both.
fn left_and_right_of(before: impl FnOnce(&Owner)) -> (World, Owner) {
    let mut world = World::new(21, 0);
    world.owner.publish(&[(path(1), Some("one".into())), (path(2), Some("two".into()))], None);
    before(&world.owner);
    let mut right = world.owner.copied(1);
    world.owner.publish(&[(path(2), Some("left".into())), (path(3), Some("only left".into()))], None);
    world.remember_view();
    caught_up(&mut world);
    right.open_term(Term::new(1), NewTerm::on_found_head(Epoch::new(1)));
    right.publish(&[(path(2), Some("right".into())), (path(4), Some("only right".into()))], None);
    (world, right)
}

fn caught_up(world: &mut World) {
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
}

fn broker(owner: &Owner) -> PaperBroker {
    let mut broker = PaperBroker::default();
    broker.receive(&owner.log, usize::MAX);
    broker
}

/// Everything that an honest broker sends to one subscription, in chunks of `size`, until a step that is no `Continue`.
fn read(world: &mut World, broker: &PaperBroker, size: usize, frames: usize) -> Option<Step> {
    let subscribe = world.follower.reader.begin("the other broker", &mut world.follower.store).expect("memory does not fail");
    let mut session = Session::new(&subscribe);
    let mut waiting: Vec<Reply> = broker.grant_for(&subscribe).map(Reply::Grant).into_iter().collect();
    for _ in 0..frames {
        if waiting.is_empty() {
            waiting = session.next(broker, size);
        }
        match world.follower.take(&waiting.remove(0)) {
            Step::Continue => {}
            step => return Some(step),
        }
    }
    None
}

fn read_owner(world: &mut World, size: usize, frames: usize) -> Option<Step> {
    let broker = broker(&world.owner);
    read(world, &broker, size, frames)
}

fn verdict(step: Option<Step>) -> Verdict {
    let Some(Step::Verdict(finding)) = step else { panic!("no verdict: {step:?}") };
    finding.verdict
}

/// [P-14]
#[test]
fn a_rewind_is_a_verdict_first_then_the_other_branch_with_what_is_gone() {
    let (mut world, right) = left_and_right();
    let (from, left) = (world.follower.reader.cursor(), world.follower.seen.clone());
    let broker = broker(&right);
    assert_eq!(verdict(read(&mut world, &broker, 9, 9)), Verdict::Rewound);
    assert_eq!(world.follower.seen, left, "nothing is taken away before something is verified");
    let Some(Step::Accepted(accepted)) = read(&mut world, &broker, 9, 9) else { panic!("not accepted") };
    let rewound = accepted.rewound.expect("it is another branch");
    assert_eq!((rewound.from, rewound.gone, rewound.gone_count), (from, vec![path(3)], 1));
    // An update, a create and a delete; /record/1 is the same in both.
    assert_eq!((accepted.changes, &world.follower.seen), (3, &right.values));
}

/// [P-13] [P-14] A process that stops after each frame of a rewind goes on where it was; the verdict is said once.
#[test]
fn a_rewind_goes_on_after_a_crash_at_any_frame() {
    for stop in 1..8 {
        let (mut world, right) = left_and_right();
        let (left, broker) = (world.follower.seen.clone(), broker(&right));
        assert_eq!(verdict(read(&mut world, &broker, 1, 9)), Verdict::Rewound);
        world.follower.restart();
        let cut = read(&mut world, &broker, 1, stop);
        world.follower.restart();
        if cut.is_none() {
            assert_eq!(world.follower.seen, left);
            let Some(Step::Accepted(accepted)) = read(&mut world, &broker, 1, 99) else { panic!("not accepted after {stop} frames") };
            assert!(accepted.rewound.is_some());
        }
        assert_eq!(world.follower.seen, right.values);
    }
}

/// [P-14]
#[test]
fn the_branch_that_was_given_up_is_behind_from_the_verdict_on() {
    let (mut world, right) = left_and_right();
    assert_eq!(verdict(read(&mut world, &broker(&right), 9, 9)), Verdict::Rewound);
    world.owner.publish(&[(path(5), Some("more".into()))], None);
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Behind);
}

/// [P-14] While the reader was at the other branch, the owner came back to the first one, in a still higher term.
#[test]
fn a_reader_that_finds_its_head_again_in_the_middle_of_a_rewind_was_not_rewound() {
    let (mut world, right) = left_and_right();
    assert_eq!(verdict(read(&mut world, &broker(&right), 9, 9)), Verdict::Rewound);
    let _ = read(&mut world, &broker(&right), 1, 3);
    let mut again = world.owner.copied(2);
    again.open_term(right.writer.term(), NewTerm::on_found_head(right.writer.current_epoch()));
    again.publish(&[(path(1), None)], None);
    let broker = broker(&again);
    let step = match read(&mut world, &broker, 9, 99) {
        // What was staged of the other branch was dropped first.
        Some(Step::Restart(_)) => read(&mut world, &broker, 9, 99),
        step => step,
    };
    let Some(Step::Accepted(accepted)) = step else { panic!("{step:?}") };
    assert_eq!((accepted.rewound, &world.follower.seen), (None, &again.values));
}

/// [P-14]
#[test]
fn a_second_rewind_in_the_middle_of_one_is_told_as_one() {
    let mut first = None;
    let (mut world, right) = left_and_right_of(|owner| first = Some(owner.copied(3)));
    let from = world.follower.reader.cursor();
    assert_eq!(verdict(read(&mut world, &broker(&right), 9, 9)), Verdict::Rewound);
    assert!(read(&mut world, &broker(&right), 1, 3).is_none());
    let mut third = first.expect("a copy from before both");
    third.open_term(right.writer.term(), NewTerm::on_found_head(right.writer.current_epoch()));
    third.publish(&[(path(1), None), (path(6), Some("third".into()))], None);
    let broker = broker(&third);
    // What was staged of the second branch goes first.
    assert!(matches!(read(&mut world, &broker, 9, 99), Some(Step::Restart(_))));
    let Some(Step::Accepted(accepted)) = read(&mut world, &broker, 9, 99) else { panic!("not accepted") };
    let rewound = accepted.rewound.expect("another branch than the one held");
    assert_eq!((rewound.from, rewound.gone, &world.follower.seen), (from, vec![path(1), path(3)], &third.values));
}

/// [P-14] Two heads of one rank: the verdict stands until a higher term says which history goes on.
#[test]
fn a_fork_ends_with_a_higher_term_whatever_branch_that_is_of() {
    for keeps in [true, false] {
        let mut world = World::new(22, 0);
        world.owner.publish(&[(path(1), Some("one".into()))], None);
        let mut forger = world.owner.copied(1);
        world.owner.publish(&[(path(2), Some("left".into()))], None);
        world.remember_view();
        caught_up(&mut world);
        forger.publish(&[(path(2), Some("right".into()))], None);
        for _ in 0..2 {
            assert_eq!(verdict(read(&mut world, &broker(&forger), 9, 9)), Verdict::Forked);
        }
        let mut next = if keeps { world.owner.copied(2) } else { forger };
        next.open_term(Term::new(1), NewTerm::on_found_head(Epoch::new(1)));
        next.publish(&[(path(3), Some("after".into()))], None);
        let broker = broker(&next);
        if !keeps {
            assert_eq!(verdict(read(&mut world, &broker, 9, 9)), Verdict::Rewound);
        }
        let Some(Step::Accepted(accepted)) = read(&mut world, &broker, 9, 9) else { panic!("not accepted") };
        assert_eq!((accepted.rewound.is_none(), &world.follower.seen), (keeps, &next.values));
    }
}

/// [P-13] What was staged of a term goes on in the next one, if that one says that it goes on from there.
#[test]
fn staging_is_kept_if_the_new_terms_base_is_at_or_above_what_was_staged_and_dropped_otherwise() {
    for keeps in [true, false] {
        let mut world = World::new(23, 0);
        for number in 0..6 {
            world.owner.publish(&[(path(number), Some("value".into()))], None);
        }
        let before = world.owner.copied(4);
        world.owner.publish(&[(path(7), Some("last".into()))], None);
        assert!(read_owner(&mut world, 1, 5).is_none());
        let staged = world.follower.store.staged_count();
        assert!(staged > 2);
        let mut next = if keeps { world.owner.copied(5) } else { before };
        next.open_term(Term::new(1), NewTerm::ON_OWN_HEAD);
        next.publish(&[(path(8), Some("after".into()))], None);
        let step = read(&mut world, &broker(&next), 1, 1);
        assert_eq!((step.is_none(), world.follower.store.staged_count()), (keeps, if keeps { staged } else { 0 }));
        assert!(matches!(read(&mut world, &broker(&next), 9, 99), Some(Step::Accepted(_))));
        assert_eq!(world.follower.seen, next.values);
    }
}

/// [P-13] [P-17] A new term on the own head keeps the keys: a reader needs nothing but the head.
#[test]
fn a_new_term_on_the_owners_head_is_read_on_like_any_other_head() {
    let (mut world, _) = left_and_right();
    world.owner.open_term(Term::new(9), NewTerm::ON_OWN_HEAD);
    let signed = world.owner.publish(&[(path(1), None)], None);
    assert!(signed.attachments.is_empty() && signed.head.head().term > Term::new(9));
    let Some(Step::Accepted(accepted)) = read_owner(&mut world, 9, 9) else { panic!("not accepted") };
    assert_eq!((accepted.rewound, accepted.entries), (None, 1));
}

/// [P-13] [P-4]
#[test]
fn a_closed_head_is_told_and_only_a_new_term_goes_on_behind_it() {
    let (mut world, _) = left_and_right();
    let key = world.owner.key.clone();
    let closed = world.owner.writer.close(&key, Timestamp::new(9), &mut Entropy::new([9; 32])).expect("signed");
    world.owner.log.push(closed.publish());
    let Some(Step::Accepted(accepted)) = read_owner(&mut world, 9, 9) else { panic!("not accepted") };
    assert!(accepted.closed);
    let again = world.owner.writer.close(&key, Timestamp::new(9), &mut Entropy::new([9; 32]));
    assert!(matches!(again, Err(WriterError::Closed)));
    world.owner.open_term(Term::new(1), NewTerm::ON_OWN_HEAD);
    world.owner.publish(&[(path(6), Some("elsewhere".into()))], None);
    let Some(Step::Accepted(accepted)) = read_owner(&mut world, 9, 9) else { panic!("not accepted") };
    assert_eq!((accepted.closed, accepted.rewound, &world.follower.seen), (false, None, &world.owner.values));
}

/// [P-16] While another branch is read, a pulse of the one that was given up neither confirms nor asks for anything.
#[test]
fn a_pulse_of_the_branch_that_was_given_up_is_void_during_a_rewind() {
    use tidings_core::Pulse;
    use tidings_core::reader::PulseTaken;
    let (mut world, right) = left_and_right();
    let pulse = |owner: &Owner, time: u64| {
        let (head, time) = (owner.writer.head().expect("a head"), Timestamp::new(time));
        let pulse = Pulse { queue: owner.writer.queue(), rank: head.rank(), head: head.hash(), time, next: Timestamp::new(90_000) };
        pulse.sign(&owner.key)
    };
    let as_of = world.follower.reader.as_of();
    assert_eq!(verdict(read(&mut world, &broker(&right), 9, 9)), Verdict::Rewound);
    assert_eq!(world.follower.reader.as_of(), as_of, "the application still has that set");
    let old = pulse(&world.owner, 5_000);
    assert_eq!(world.follower.reader.on_pulse(&old, Timestamp::new(5_000)), PulseTaken::Void);
    let new = world.follower.reader.on_pulse(&pulse(&right, 6_000), Timestamp::new(6_000));
    assert_eq!(new, PulseTaken::Ahead(right.writer.head().expect("a head").rank()));
}

/// [P-14] [P-15] Rows are damaged in the middle of a rewind: both come to one end, and what the application saw is not lost.
#[test]
fn damage_in_the_middle_of_a_rewind_begins_the_reading_anew_and_the_rewind_stays_one() {
    let (mut world, right) = left_and_right();
    assert_eq!(verdict(read(&mut world, &broker(&right), 9, 9)), Verdict::Rewound);
    assert!(read(&mut world, &broker(&right), 1, 3).is_none());
    let step = world.follower.reader.rebuild(&mut world.follower.store).expect("memory does not fail");
    assert!(matches!(step, Step::LocalDamage) && world.follower.store.staged_count() == 0);
    world.follower.damaged = true;
    world.follower.restart();
    let Some(Step::Accepted(accepted)) = read(&mut world, &broker(&right), 9, 9) else { panic!("not accepted") };
    assert_eq!((accepted.rewound.map(|rewound| rewound.gone), &world.follower.seen), (Some(vec![path(3)]), &right.values));
}
