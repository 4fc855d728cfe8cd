//! Hostile bytes on the socket of a running node.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::attempt::{attempt, peak_kib};
use super::damage::random;
use crate::world::{World, json};

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

/// Begins to answer callers in the place of a node whose lock is held: it takes the command and says `bytes`, then nothing.
fn plays_node(home: &Path, bytes: &'static [u8]) -> File {
    let lock = File::options().read(true).write(true).open(home.join("lock")).expect("a lock");
    lock.lock().expect("nobody has it");
    let socket = home.join("control.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for caller in listener.incoming() {
            let mut caller = caller.expect("a caller");
            let _ = caller.read(&mut [0; 4_096]);
            let _ = caller.write_all(bytes);
            open.push(caller);
        }
    });
    lock
}

/// A caller once waited without end for a node that had welcomed it and said nothing more, and one that was told an exit code and no
/// reason gave none. A command that is really carried out says nothing for as long, and is waited for.
#[test]
fn a_node_that_says_nothing_any_more_is_not_waited_for_without_end() {
    let world = World::new();
    for node in ["silent", "short", "empty", "alice"] {
        world.ok(node, &["init"]);
    }
    let _node = world.up("alice");
    let mut apply = world.begin_fed("alice", &["apply", "--no-wait"]);
    apply.feed(r#"{"op":"put","path":"/a","value":"1"}"#);
    apply.line();
    let nodes: [(&str, &'static [u8], &str); 3] = [
        ("silent", b"\x21\0\0\0\0", "says nothing any more"),
        ("short", b"\x21\0\0\0\0\x27\0\0\0\x01\x01", "cannot be understood"),
        ("empty", b"\x21\0\0\0\0\x27\0\0\0\0", "cannot be understood"),
    ];
    for (node, bytes, error) in nodes {
        let _lock = plays_node(&world.path(node), bytes);
        let value = world.file("value", "1");
        let put = attempt(&mut world.command(node, &["put", "--no-wait", "/a", &value]), node);
        let failure = put.failure();
        assert_eq!((put.status.code(), &failure["effect"]), (Some(1), &"unknown".into()), "{node}: {failure}");
        assert!(failure["error"].as_str().is_some_and(|told| told.contains(error)), "{node}: {failure}");
    }
    apply.feed(r#"{"op":"put","path":"/b","value":"1"}"#);
    assert_eq!(json(&apply.line())["result"], "saved");
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
