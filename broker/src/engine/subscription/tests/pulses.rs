//! What a subscription does with pulses. [P-16]

use super::*;

fn pulse(committed: &Committed, time: u64) -> Pulsed {
    let bytes = Bytes::copy_from_slice(&time.to_be_bytes());
    Pulsed { rank: committed.head.rank(), time: Timestamp::new(time), promise: None, bytes }
}

fn newest(world: &World) -> Arc<Committed> {
    world.newest.clone().expect("the world begins with a publish")
}

/// [P-16]
#[test]
fn a_pulse_comes_after_the_announcement_of_its_head() {
    let world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.on_pulse(pulse(&newest(&world), 1));
    assert_eq!(kinds(&world.drain(&mut subscription)), "gaCp");
}

#[test]
fn a_pulse_waits_for_the_head_it_names() {
    let mut world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    world.drain(&mut subscription);
    let committed = world.publish(puts(&[2]));
    subscription.on_pulse(pulse(&committed, 1));
    assert_eq!(subscription.next(), Next::Wait(subscription.announced.rank));
    subscription.on_committed(&committed);
    assert_eq!(kinds(&world.drain(&mut subscription)), "p");
}

#[test]
fn of_several_pulses_the_newest_is_sent() {
    let world = World::new(puts(&[1]));
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    world.drain(&mut subscription);
    let pulses = [1, 2].map(|time| pulse(&newest(&world), time));
    pulses.iter().cloned().for_each(|pulse| subscription.on_pulse(pulse));
    assert_eq!(world.drain(&mut subscription), [Reply::Pulse(pulses[1].bytes.clone())]);
}

/// [P-17]
#[test]
fn a_reader_that_lost_access_gets_no_pulse() {
    let mut world = World::new(Request { add: vec![7], ..puts(&[1]) });
    let mut subscription = world.subscribe(0, 0, Bytes::new());
    subscription.reader = world.owner.readers()[0];
    world.drain(&mut subscription);
    subscription.on_pulse(pulse(&newest(&world), 1));
    let revoked = world.publish(Request { remove: vec![subscription.reader], ..Request::default() });
    subscription.on_access_changed(revoked.head.rank());
    assert_eq!(kinds(&world.drain(&mut subscription)), "r");
}
