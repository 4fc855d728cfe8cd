//! A node whose home is on a full disk.

use std::collections::BTreeSet;
use std::fs::File;

use serde_json::Value;

use super::disk::Disk;
use super::full::eventually;
use crate::world::{Running, World, json};

/// Room for the state of a node.
const HOME_MIB: u32 = 64;
/// More lines than fit into what a state has taken of the disk already.
const LINES: usize = 1_500;

/// Lines for `apply`: records of 3 KB.
fn flood() -> String {
    let line = |number| format!("{{\"op\":\"put\",\"path\":\"/flood/{number}\",\"value\":\"{}\"}}\n", "x".repeat(3_000));
    (0..LINES).map(line).collect()
}

/// Paths in what a command printed.
fn paths<'l>(lines: impl Iterator<Item = &'l Value>) -> BTreeSet<String> {
    lines.map(|line| line["path"].as_str().expect("a path").to_owned()).collect()
}

/// A small write needs no new space, or else it says that there is none. Whether it was taken, or saved.
fn is_taken(world: &World, arguments: &[&str]) -> bool {
    let done = world.run("alice", arguments);
    if done.code == 0 {
        return true;
    }
    let (code, effect) = done.exit_and_effect();
    assert!(code == 1 && ["No space left", "no storage space"].iter().any(|words| done.error().contains(words)), "{arguments:?}: {done:?}");
    // It may be saved and have no room to be signed.
    effect == "done"
}

/// [P-3] Nothing is half saved: what a command could not save is not published later, and what was saved before is.
#[test]
fn an_owner_whose_disk_is_full_is_told_by_each_command_and_loses_nothing() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path("alice"), HOME_MIB) else { return };
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    disk.fill();
    let flooded = world.feed("alice", &["apply"], &flood());
    let lines: Vec<_> = flooded.out.lines().map(json).collect();
    let (kept, failed): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["result"] != "failed");
    assert_eq!((flooded.code, lines.len(), failed.is_empty()), (1, LINES, false), "{}", flooded.err);
    assert!(!is_taken(&world, &["put", "/big", &world.file("big", vec![7; 3_000_000])]));
    let mut expected = paths(kept.into_iter());
    expected.insert("/a".to_owned());
    let small = world.file("small", "2");
    for path in ["/b", "/c", "/d"] {
        if is_taken(&world, &["put", path, &small]) {
            expected.insert(path.to_owned());
        }
    }
    if is_taken(&world, &["rm", "/a"]) {
        expected.remove("/a");
    }
    disk.free();
    world.put("/e", "4");
    expected.insert("/e".to_owned());
    let listed: Vec<_> = world.ok("alice", &["ls"]).lines().map(json).collect();
    assert_eq!(paths(listed.iter()), expected);
    world.ok("alice", &["verify"]);
    world.ok("bob", &["watch", "--once"]);
    let listed: Vec<_> = world.ok("bob", &["ls", "alice:"]).lines().map(json).collect();
    assert_eq!(paths(listed.iter()), expected);
}

/// `init` once left a key without a state where the disk was nearly full: nothing worked there, and no other node could be made.
#[test]
fn a_node_that_could_not_be_made_leaves_nothing_behind() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path("alice"), HOME_MIB) else { return };
    let mut failed = 0;
    for pages in 0..64 {
        disk.fill_but(pages * 4096);
        let done = world.run("alice", &["init"]);
        disk.free();
        if done.code == 0 {
            break;
        }
        failed += 1;
        assert_eq!(done.exit_and_effect(), (1, "none".to_owned()), "{pages}: {}", done.err);
        let action = done.failure()["action"].to_string();
        assert!(action.contains("space"), "{pages}: {action}");
        let left = std::fs::read_dir(world.path("alice")).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        assert!(left.into_iter().all(|name| name == "lock"), "{pages}: {done:?}");
    }
    assert!(failed > 1, "the disk was never full");
    world.run("alice", &["init"]);
    world.ok("alice", &["put", "--no-wait", "/a", &world.file("small", "1")]);
}

/// Begins a command of a node whose log is in a file.
fn logged(world: &World, node: &str, arguments: &[&str]) -> Running {
    let log = File::options().create(true).append(true).open(world.path("log")).expect("a log");
    Running::begin_logged(&mut world.command(node, arguments), log)
}

#[test]
fn a_node_that_stays_goes_on_when_its_disk_has_space_again() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path("alice"), HOME_MIB) else { return };
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    let mut up = logged(&world, "alice", &["up"]);
    assert!(up.line().contains("did:key:"));
    let value = world.file("small", "2");
    disk.fill();
    assert_eq!(world.feed("alice", &["--timeout", "10s", "apply"], &flood()).code, 1);
    disk.free();
    eventually("a put is receipted", || world.run("alice", &["--timeout", "10s", "put", "/c", &value]).code == 0);
    assert_eq!(up.end_with("TERM").code(), Some(0), "{}", std::fs::read_to_string(world.path("log")).expect("a log"));
    assert_eq!(world.run("bob", &["get", "alice:/c", "--fresh"]).code, 0);
    world.ok("alice", &["verify"]);
}

/// [P-15] What could not be kept is not printed, and is printed when it could be.
#[test]
fn a_watch_whose_disk_is_full_prints_everything_when_there_is_space() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path("bob"), HOME_MIB) else { return };
    let _broker = world.alice_and_bob();
    let mut watch = logged(&world, "bob", &["watch"]);
    world.put("/a", "1");
    watch.event("change");
    disk.fill();
    assert_eq!(world.feed("alice", &["apply"], &flood()).code, 0);
    world.put("/last", "2");
    while watch.event("verdict")["verdict"] != "local-damage" {}
    disk.free();
    let mut printed = BTreeSet::new();
    while !printed.contains("/last") {
        printed.insert(watch.event("change")["path"].as_str().expect("a path").to_owned());
    }
    assert_eq!(printed.iter().filter(|path| path.starts_with("/flood/")).count(), LINES);
    assert_eq!(watch.end_with("TERM").code(), Some(0));
}
