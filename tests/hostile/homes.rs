//! Files of a home.

use std::fs;
use std::path::{Path, PathBuf};

use super::attempt::{Attempt, attempt};
use super::damage::{Instead, clear, everything, is_as_laid, lay, no_files, random};
use crate::world::{World, json};

/// A home with a file that is spoiled in every way; gives each to `check` with what the command said.
fn spoiled(world: &World, file: &str, [cuts, flips]: [usize; 2], arguments: &[&str], check: impl Fn(&str, &Instead, &Attempt)) {
    let path = world.path("alice").join(file);
    let good = fs::read(&path).expect("the file is there");
    for (name, instead) in everything(&good, cuts, flips as u64) {
        lay(&path, &instead);
        let what = format!("{file}: {name}: {arguments:?}");
        let attempt = attempt(&mut world.command("alice", arguments), &what);
        if !attempt.succeeded() {
            attempt.refused_naming(file, &what);
            assert!(is_as_laid(&path, &instead), "{what}: it was changed");
        }
        check(&what, &instead, &attempt);
    }
    clear(&path);
    fs::write(&path, good).expect("the folder is writable");
}

fn with_records() -> World {
    let world = World::new();
    world.ok("alice", &["init"]);
    for number in 0..3 {
        world.ok("alice", &["put", "--no-wait", &format!("/favorites/{number}"), &world.file("value", "blue")]);
    }
    world
}

/// A key file was read whole whatever its length, a pipe in its place was waited for without end, and where a link that led nowhere stood
/// for it, `init` made another node.
#[test]
fn a_key_file_is_read_as_it_was_written_or_named() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let id = world.ok("alice", &["id"]);
    spoiled(&world, "node.key", [64, 16], &["id"], |what, _, attempt| {
        assert!(!attempt.succeeded() || attempt.out == id, "{what}: another key was read");
    });
    for (name, instead) in no_files() {
        lay(&world.path("alice/node.key"), &instead);
        attempt(&mut world.command("alice", &["init"]), &name).refused_naming("alice", &name);
        assert!(is_as_laid(&world.path("alice/node.key"), &instead), "{name}: another key was made");
    }
}

/// Settings were read whole whatever their length, and a pipe in their place was waited for without end.
#[test]
fn settings_are_read_or_named() {
    let world = World::new();
    world.ok("alice", &["init"]);
    spoiled(&world, "config.toml", [16, 16], &["status", "--offline"], |what, instead, attempt| {
        let is_text = matches!(instead, Instead::Bytes(_));
        assert!(!attempt.succeeded() || is_text, "{what}: what is no settings was taken for some");
        assert!(is_text || !attempt.err.contains("that line"), "{what}: there is none: {}", attempt.err);
    });
}

#[test]
fn a_state_is_opened_as_it_was_written_or_named() {
    let world = with_records();
    let good = fs::read(world.path("alice/state.redb")).expect("the state is there");
    let listed = world.ok("alice", &["ls", "--offline"]);
    for (name, instead) in everything(&good, 16, 16) {
        let path = world.path("alice/state.redb");
        lay(&path, &instead);
        let attempt = attempt(&mut world.command("alice", &["ls", "--offline"]), &name);
        match attempt.succeeded() {
            true => assert_eq!(attempt.out, listed, "state.redb: {name}"),
            false => attempt.refused_naming("state", &name),
        }
        // What is no state at all is left as it is; one that is repaired may be written to.
        assert!(matches!(instead, Instead::Bytes(_) | Instead::Huge(_)) || is_as_laid(&path, &instead), "state.redb: {name}");
    }
}

/// A pipe in its place was waited for without end, one of 10 GB was read whole, and for a folder the state was blamed.
#[test]
fn a_mark_is_read_or_named() {
    let world = with_records();
    let path = world.path("alice/state.mark");
    let (listed, good) = (world.ok("alice", &["ls", "--offline"]), fs::read(&path).expect("the mark is there"));
    for (name, instead) in everything(&good, 2, 2) {
        lay(&path, &instead);
        let attempt = attempt(&mut world.command("alice", &["ls", "--offline"]), &name);
        match attempt.succeeded() {
            true => assert_eq!(attempt.out, listed, "{name}"),
            false => attempt.refused_naming("state.mark", &name),
        }
    }
}

/// A pipe in the place of a fetched value was waited for without end, whatever `--timeout` said, and of one that rotted the owner's
/// storage was blamed.
#[test]
fn a_fetched_value_is_read_as_it_was_or_named_and_fetched_again() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let whole = "blue ".repeat(4_000);
    world.put("/long", &whole);
    world.ok("bob", &["watch", "--once"]);
    let path = only_file(&world.path("bob/fetched/objects"));
    let good = fs::read(&path).expect("it was fetched");
    let get =
        |more: &[&str], what: &str| attempt(&mut world.command("bob", &[&["--timeout", "20s", "get", "alice:/long"], more].concat()), what);
    for (name, instead) in everything(&good, 2, 1) {
        lay(&path, &instead);
        let offline = get(&["--offline"], &name);
        offline.refused_naming("fetched", &name);
        assert!(offline.failure()["action"].as_str().is_some_and(|action| action.contains("--offline")), "{name}: {}", offline.err);
        assert!(is_as_laid(&path, &instead), "{name}: it was changed");
        let folder = world.path("exported").to_string_lossy().into_owned();
        let export = attempt(&mut world.command("bob", &["--timeout", "5s", "export", "alice:/", &folder, "--offline"]), &name);
        assert!(!export.succeeded() && !world.path("exported/long").exists(), "{name}: {export:?}");
        let online = get(&[], &name);
        match instead {
            Instead::Folder => online.refused_naming("fetched", &name),
            _ => assert_eq!(
                online.out.lines().next().map(json).map(|line| line["value"] == whole.as_str()),
                Some(true),
                "{name}: {online:?}"
            ),
        }
    }
}

fn only_file(folder: &Path) -> PathBuf {
    let mut path = folder.to_owned();
    while path.is_dir() {
        path = fs::read_dir(&path).expect("a folder").next().expect("not empty").expect("an entry").path();
    }
    path
}

/// Its text is for people: whatever it is, the lock is had.
#[test]
fn a_lock_is_taken_whatever_it_says_or_named() {
    let world = World::new();
    world.ok("alice", &["init"]);
    for bytes in [Vec::new(), random(4_096), b"18446744073709551616".to_vec()] {
        lay(&world.path("alice/lock"), &Instead::Bytes(bytes));
        world.ok("alice", &["ls", "--offline"]);
    }
    for (name, instead) in no_files() {
        lay(&world.path("alice/lock"), &instead);
        attempt(&mut world.command("alice", &["ls", "--offline"]), &name).refused_naming("lock", &name);
        assert!(is_as_laid(&world.path("alice/lock"), &instead), "{name}");
    }
}

/// Nobody listens there: the command carries itself out.
#[test]
fn what_is_no_socket_is_in_nobodys_way() {
    let world = with_records();
    let listed = world.ok("alice", &["ls", "--offline"]);
    let others = [("random".to_owned(), Instead::Bytes(random(512))), ("empty".to_owned(), Instead::Bytes(Vec::new()))];
    for (name, instead) in no_files().into_iter().chain(others) {
        let path = world.path("alice/control.sock");
        lay(&path, &instead);
        let attempt = attempt(&mut world.command("alice", &["ls", "--offline"]), &name);
        assert_eq!((attempt.succeeded(), attempt.out.as_str()), (true, listed.as_str()), "{name}: {}", attempt.err);
        assert!(is_as_laid(&path, &instead), "{name}");
    }
}
