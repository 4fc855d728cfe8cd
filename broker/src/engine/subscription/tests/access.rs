//! Who is served, and who is told what instead. [P-17]

use super::*;

/// A world with one reader beside the owner, and that reader's subscription, up to date.
fn live_reader() -> (World, Pseudonym, Subscription) {
    let world = World::new(Request { add: vec![7], ..puts(&[1]) });
    let reader = world.owner.readers()[0];
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.reader = reader;
    world.drain(&mut subscription);
    (world, reader, subscription)
}

fn removes(reader: Pseudonym) -> Request {
    Request { remove: vec![reader], ..puts(&[3]) }
}

/// A task that was slow found both commits before it, took the first for the next step of a live reader and sent it, although the
/// owner had its receipt for the revocation. [P-17]
#[test]
fn a_commit_from_before_a_revocation_does_not_leave_after_it() {
    let (mut world, reader, mut subscription) = live_reader();
    let before = world.publish(puts(&[2]));
    let revoked = world.publish(removes(reader));
    subscription.on_access_changed(revoked.head.rank());
    assert_eq!(subscription.on_committed(&before), FanOut::Ask);
    assert_eq!(kinds(&world.drain(&mut subscription)), "r");
}

/// [P-17] A chunk waited behind its announcement while the reader took nothing.
#[test]
fn frames_that_were_read_before_a_revocation_do_not_leave_after_it() {
    let (mut world, reader, mut subscription) = live_reader();
    world.publish(puts(&[2]));
    let newest = world.publish(puts(&[4]));
    subscription.on_committed(&newest);
    let announced = loop {
        match subscription.next() {
            Next::Send(reply) => break reply,
            Next::Read(read) => subscription.on_answer(world.read(&read)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((kinds(&[announced]), subscription.out.len()), ("a".into(), 1));
    let revoked = world.publish(removes(reader));
    subscription.on_access_changed(revoked.head.rank());
    assert_eq!(kinds(&world.drain(&mut subscription)), "r");
}

/// [P-17] The row was read, then the list changed, then the answer came: it says nothing about the list of now.
#[test]
fn a_row_that_was_read_before_a_revocation_counts_for_nothing() {
    let (mut world, reader, mut subscription) = live_reader();
    let rotated = world.publish(Request { rotate: true, ..Request::default() });
    subscription.on_access_changed(rotated.head.rank());
    let Next::Read(read) = subscription.next() else { panic!("a doubt") };
    let stale = world.read(&read);
    let revoked = world.publish(removes(reader));
    subscription.on_access_changed(revoked.head.rank());
    subscription.on_answer(stale);
    assert!(subscription.is_doubted());
    assert_eq!(kinds(&world.drain(&mut subscription)), "r");
}

/// [P-17]
#[test]
fn an_idle_reader_is_refused_as_soon_as_the_revocation_is_heard_of() {
    let (mut world, reader, mut subscription) = live_reader();
    let revoked = world.publish(removes(reader));
    subscription.on_access_changed(revoked.head.rank());
    assert_eq!(kinds(&world.drain(&mut subscription)), "r");
}

#[test]
fn a_reader_that_stays_misses_nothing_when_another_goes() {
    let (mut world, reader, _) = live_reader();
    let mut owner = world.subscribe(0, 0, Bytes::new());
    world.drain(&mut owner);
    let before = world.publish(puts(&[2]));
    let revoked = world.publish(removes(reader));
    owner.on_access_changed(revoked.head.rank());
    owner.on_committed(&before);
    owner.on_committed(&revoked);
    assert_eq!(kinds(&world.drain(&mut owner)), "gaC");
    let next = world.publish(puts(&[4]));
    assert_eq!(owner.on_committed(&next), FanOut::Shared);
}

/// Whoever knows a queue's id can make a key and prove it: the list of its readers is not for them. [P-17]
#[test]
fn a_stranger_is_refused_without_head_and_rows() {
    let (world, _, _) = live_reader();
    let mut stranger = world.subscribe(0, 0, Bytes::new());
    stranger.reader = Pseudonym::new([9; 32]);
    let replies = world.drain(&mut stranger);
    let refusal = refusal(&replies);
    assert_eq!((refusal.code, refusal.head.len(), refusal.rows.len()), (RefusalCode::Denied, 0, 0));
}

/// [P-17]
#[test]
fn a_former_reader_that_comes_again_gets_the_proof() {
    let (mut world, reader, _) = live_reader();
    let revoked = world.publish(removes(reader));
    world.publish(puts(&[4]));
    let mut former = world.subscribe(0, 0, Bytes::new());
    former.reader = reader;
    let replies = world.drain(&mut former);
    let refusal = refusal(&replies);
    let head = SignedHead::parse(refusal.head.clone()).expect("a head");
    assert_eq!((kinds(&replies), refusal.rows.len()), ("r".into(), 1));
    assert!(head.rank() > revoked.head.rank());
}

/// A reader that is granted between the look at its row and the refusal is served.
#[test]
fn a_grant_overtakes_a_refusal() {
    let mut world = World::new(puts(&[1]));
    let mut other = World::new(Request { add: vec![7], ..puts(&[1]) });
    std::mem::swap(&mut world.store, &mut other.store);
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.reader = other.owner.readers()[0];
    let Next::Read(row) = subscription.next() else { panic!("a row to read") };
    assert_eq!(other.read(&row), Answer::Access(None));
    subscription.on_answer(Answer::Access(None));
    assert_eq!(kinds(&world.drain(&mut subscription)), "gaC");
}
