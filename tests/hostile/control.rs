//! Hostile bytes on the socket of a running node.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::attempt::peak_kib;
use super::damage::random;
use crate::world::World;

/// What a caller may make a node hold: a command at its cap for each of the 64 callers, and what belongs to their threads.
const GROWTH_KIB: u64 = 192 * 1024;
/// Longest wait of an honest caller: callers that say nothing are sent away after 5 s.
const SERVED: Duration = Duration::from_secs(60);

/// Bytes that are no call, each in its own way: kind, length, body.
fn nonsense() -> Vec<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let hello = [&[1, 0, 0, 0, version.len() as u8], version].concat();
    let with = |rest: &[u8]| [hello.as_slice(), rest].concat();
    vec![
        Vec::new(),
        vec![1],
        vec![1, 0xff, 0xff, 0xff, 0xff],
        vec![0; 64],
        vec![0xff; 4_096],
        random(4_096),
        hello.repeat(3),
        with(&[2, 0xff, 0xff, 0xff, 0xff]),
        with(&[2, 0, 0x10, 0, 0, b'{']),
        with(b"\x02\0\0\0\x02{}"),
        with(b"\x02\0\0\0\x04null"),
        with(&[&[2, 0, 0, 0x10, 0][..], &[b'['; 4_096]].concat()),
        with(&[39, 0, 0, 0, 1, 0]),
        with(&[5, 0, 1, 0, 0]),
    ]
}

#[test]
fn hostile_callers_of_a_running_node_cost_little_and_hold_up_nobody_for_long() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let node = world.up("alice");
    let socket = world.path("alice/control.sock");
    world.ok("alice", &["ls"]);
    let before = peak_kib(node.pid());
    let mut silent = Vec::new();
    for round in 0..12 {
        for bytes in nonsense() {
            let mut caller = UnixStream::connect(&socket).expect("somebody listens");
            // It may have been sent away already.
            let _ = caller.write_all(&bytes);
            if round < 6 {
                silent.push(caller);
            }
        }
    }
    let began = Instant::now();
    while world.run("alice", &["--timeout", "1s", "ls"]).code != 0 {
        assert!(began.elapsed() < SERVED, "honest callers are not served");
    }
    let grown = peak_kib(node.pid()).saturating_sub(before);
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    println!("served after {:?}, {grown} KiB more for {} callers", began.elapsed(), 12 * nonsense().len());
}

/// One that takes its time is waited for only so long, and then its place is free.
#[test]
fn a_caller_that_says_nothing_is_sent_away() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let _node = world.up("alice");
    let mut silent = UnixStream::connect(world.path("alice/control.sock")).expect("somebody listens");
    silent.set_read_timeout(Some(SERVED)).expect("a socket");
    assert_eq!(silent.read(&mut [0; 16]).expect("it ends"), 0);
}
