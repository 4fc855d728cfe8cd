//! Pulses at a reader: what they confirm, what they promise, and what of them counts. [P-16]

use std::time::Duration;

use tidings_core::pulse::Pulse;
use tidings_core::reader::PulseTaken;
use tidings_core::{Cursor, NodeKey, Object, Reader, SignedHead};
use tidings_proto::{HeadHash, HeadRank, Term, Timestamp};

use crate::paper::path;
use crate::world::{End, World};

const AGE: Duration = Duration::from_secs(3_600);
const NOW: Timestamp = Timestamp::new(10_000_000);
const TOO_FAR: u64 = 5 * 60 * 1_000 + 1;

/// A reader that is caught up with its owner.
fn world() -> World {
    let mut world = World::new(3, 0);
    world.owner.publish(&[(path(1), Some("one".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    world
}

fn head(world: &World) -> SignedHead {
    world.owner.writer.head().expect("a head").clone()
}

fn pulse(head: &SignedHead, time: u64, next: u64) -> Pulse {
    Pulse { queue: head.head().queue, rank: head.rank(), head: head.hash(), time: Timestamp::new(time), next: Timestamp::new(next) }
}

/// What the reader makes of it at `NOW`.
fn takes(world: &mut World, pulse: &Pulse) -> PulseTaken {
    let signed = pulse.sign(&world.owner.key);
    world.follower.reader.on_pulse(&signed, NOW)
}

/// [P-16] Without pulses the view is as old as its head.
#[test]
fn a_pulse_for_the_verified_head_makes_the_view_as_young_as_the_pulse() {
    let mut world = world();
    let signed = head(&world);
    assert_eq!(world.follower.reader.as_of(), signed.head().time);
    assert_eq!(takes(&mut world, &pulse(&signed, 9_000_000, 0)), PulseTaken::Heard);
    assert_eq!(world.follower.reader.as_of(), Timestamp::new(9_000_000));
    assert_eq!(world.follower.reader.fresh_until(AGE), Timestamp::new(9_000_000 + 3_600_000));
}

/// [P-16] The owner's promise counts, longer or shorter than the reader's own maximum age.
#[test]
fn with_a_live_promise_the_view_is_fresh_until_the_next_pulse_is_due() {
    let mut world = world();
    let signed = head(&world);
    let _ = takes(&mut world, &pulse(&signed, 9_000_000, 9_180_000));
    assert_eq!(world.follower.reader.fresh_until(AGE), Timestamp::new(9_180_000));
    assert!(world.follower.reader.is_promised());
}

/// [P-16] An owner that stopped its pulses and went on publishing is not late for ever.
#[test]
fn a_head_signed_after_the_end_of_a_promise_counts_without_it() {
    let mut world = world();
    let signed = head(&world);
    let time = signed.head().time.value();
    let _ = takes(&mut world, &pulse(&signed, time, time + 1));
    world.owner.publish(&[(path(1), Some("two".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    let later = head(&world).head().time;
    assert!(!world.follower.reader.is_promised());
    assert_eq!(world.follower.reader.fresh_until(AGE), Timestamp::new(later.value() + 3_600_000));
}

/// [P-16] A broker that repeats an old pulse, or its promise, gains nothing.
#[test]
fn a_replayed_or_older_pulse_is_void() {
    let mut world = world();
    let signed = head(&world);
    let first = pulse(&signed, 8_000_000, 9_900_000);
    let _ = takes(&mut world, &first);
    let _ = takes(&mut world, &pulse(&signed, 9_000_000, 9_180_000));
    assert_eq!(takes(&mut world, &first), PulseTaken::Void);
    assert_eq!(takes(&mut world, &pulse(&signed, 9_000_000, 9_900_000)), PulseTaken::Void);
    assert_eq!(world.follower.reader.fresh_until(AGE), Timestamp::new(9_180_000));
}

/// [P-16] One pulse far in the future would make all later ones void.
#[test]
fn a_pulse_from_the_future_is_void() {
    let mut world = world();
    let signed = head(&world);
    assert_eq!(takes(&mut world, &pulse(&signed, NOW.value() + TOO_FAR, 0)), PulseTaken::Void);
    assert_eq!(takes(&mut world, &pulse(&signed, NOW.value() + TOO_FAR - 1, 0)), PulseTaken::Heard);
}

/// [P-16]
#[test]
fn a_pulse_of_another_key_or_queue_or_that_is_none_is_void() {
    let mut world = world();
    let good = pulse(&head(&world), 9_000_000, 0);
    let stranger = good.sign(&NodeKey::from_seed([5; 32]));
    assert_eq!(world.follower.reader.on_pulse(&stranger, NOW), PulseTaken::Void);
    let elsewhere = Pulse { queue: tidings_proto::QueueId::new([1; 32]), ..good };
    assert_eq!(takes(&mut world, &elsewhere), PulseTaken::Void);
    assert_eq!(world.follower.reader.on_pulse(b"no pulse", NOW), PulseTaken::Void);
    assert_eq!(takes(&mut world, &good), PulseTaken::Heard);
}

/// [P-16] A term that was given up promises nothing.
#[test]
fn a_pulse_of_an_older_term_than_the_verified_head_is_void() {
    let mut world = world();
    let signed = head(&world);
    let verified = world.follower.reader.cursor();
    let higher = Cursor { rank: HeadRank { term: Term::new(verified.rank.term.value() + 1), ..verified.rank }, ..verified };
    // Nobody here opens a term: the row of a reader that has verified a head of the next one.
    let row = replaced(&world.follower.reader.encode(), &verified.encode(), &higher.encode());
    world.follower.reader = Reader::decode(&row).expect("a row");
    assert_eq!(takes(&mut world, &pulse(&signed, 9_000_000, 9_180_000)), PulseTaken::Void);
}

fn replaced(row: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = row.windows(old.len()).position(|window| window == old).expect("it is in the row");
    [&row[..at], new, &row[at + old.len()..]].concat()
}

/// [P-16] Whoever passes on that there is more owes it, until it is verified.
#[test]
fn a_pulse_that_names_a_newer_head_says_what_is_owed() {
    let mut world = world();
    world.owner.publish(&[(path(1), Some("two".into()))], None);
    world.remember_view();
    let newer = head(&world);
    assert_eq!(takes(&mut world, &pulse(&newer, 9_000_000, 9_180_000)), PulseTaken::Ahead(newer.rank()));
    assert!(world.follower.reader.as_of() < Timestamp::new(9_000_000));
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    assert_eq!((world.follower.reader.owed(), world.follower.reader.as_of()), (None, Timestamp::new(9_000_000)));
}

/// [P-14] [P-16] Two heads of one rank would be a fork, but a pulse is not a head: it accuses nobody.
#[test]
fn a_pulse_that_names_another_head_of_a_known_number_is_told_apart_and_not_taken() {
    let mut world = world();
    let other = Pulse { head: HeadHash::new([9; 32]), ..pulse(&head(&world), 9_000_000, 9_180_000) };
    assert_eq!(takes(&mut world, &other), PulseTaken::Contradicts);
    assert!(!world.follower.reader.is_promised());
}

/// [P-16] The same, when the pulse was there before the head.
#[test]
fn a_head_that_is_not_the_one_its_pulse_named_is_told() {
    let mut world = world();
    world.owner.publish(&[(path(1), Some("two".into()))], None);
    world.remember_view();
    let other = Pulse { head: HeadHash::new([9; 32]), ..pulse(&head(&world), 9_000_000, 0) };
    let _ = takes(&mut world, &other);
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    assert!(world.follower.reader.is_contradicted());
    assert!(world.follower.reader.as_of() < Timestamp::new(9_000_000));
}

/// [P-16] A broker that is asked again after a restart must not get a longer silence than it had.
#[test]
fn a_promise_and_what_is_owed_survive_a_restart() {
    let mut world = world();
    world.owner.publish(&[(path(1), Some("two".into()))], None);
    let newer = head(&world);
    let _ = takes(&mut world, &pulse(&newer, 9_000_000, 9_180_000));
    world.follower.restart();
    assert_eq!(world.follower.reader.owed(), Some(newer.rank()));
    assert_eq!(world.follower.reader.fresh_until(AGE), Timestamp::new(9_180_000));
    assert_eq!(takes(&mut world, &pulse(&newer, 9_000_000, 9_180_000)), PulseTaken::Void);
}
