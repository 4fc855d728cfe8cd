//! A node whose home is on a full disk.

use std::fs::File;

use super::disk::Disk;
use super::full::eventually;
use crate::world::{Done, Running, World, json};

/// Room for the state of a node.
const HOME_MIB: u32 = 24;

/// A command of a node that must fail for want of space, and change nothing.
fn refused(world: &World, node: &str, arguments: &[&str]) -> Done {
    let done = world.run(node, arguments);
    assert_eq!(done.exit_and_effect(), (1, "none".to_owned()), "{arguments:?}: {done:?}");
    assert!(done.error().contains("No space left") || done.error().contains("no storage space"), "{arguments:?}: {done:?}");
    done
}

/// [P-3] Nothing is half saved: what a command could not save is not published later, and what was saved before is.
#[test]
fn an_owner_whose_disk_is_full_is_told_by_each_command_and_loses_nothing() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path("alice"), HOME_MIB) else { return };
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    let value = world.file("small", vec![b'x'; 3_000]);
    let lines = world.file("lines", "");
    assert!(!lines.is_empty());
    disk.fill();
    refused(&world, "alice", &["put", "/b", &value]);
    refused(&world, "alice", &["put", "/big", &world.file("big", vec![7; 3_000_000])]);
    refused(&world, "alice", &["rm", "/a"]);
    let applied = world.feed("alice", &["apply"], "{\"op\":\"put\",\"path\":\"/c\",\"value\":\"3\"}\n");
    assert_eq!((applied.code, json(&applied.out)["result"].as_str()), (1, Some("failed")), "{applied:?}");
    disk.free();
    world.put("/d", "4");
    let listed = world.ok("alice", &["ls"]);
    let paths: Vec<_> = listed.lines().map(|line| json(line)["path"].as_str().expect("a path").to_owned()).collect();
    assert_eq!(paths, ["/a", "/d"]);
    world.ok("alice", &["verify"]);
    assert_eq!(json(&world.ok("bob", &["get", "alice:/d", "--fresh"]))["value"], "4");
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
    let value = world.file("small", vec![b'x'; 3_000]);
    disk.fill();
    eventually("a put fails", || world.run("alice", &["--timeout", "10s", "put", "/b", &value]).code == 1);
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
    let value = world.file("small", vec![b'x'; 4_000]);
    for number in 0..40 {
        world.ok("alice", &["put", &format!("/more/{number}"), &value]);
    }
    world.put("/last", "2");
    let log = || std::fs::read_to_string(world.path("log")).expect("a log");
    eventually("the watch has met the full disk", || log().contains("the disk is full"));
    disk.free();
    let mut printed = std::collections::BTreeSet::new();
    while !printed.contains("/last") {
        printed.insert(watch.event("change")["path"].as_str().expect("a path").to_owned());
    }
    assert_eq!(printed.iter().filter(|path| path.starts_with("/more/")).count(), 40);
    assert_eq!(watch.end_with("TERM").code(), Some(0));
}
