//! Values that live in storage, one at a time.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failed;
use crate::world::{World, json};

/// A value of this many bytes that no part of the way can take for another.
pub(crate) fn value(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().expect("a kind") {
            kind if kind.is_dir() => found.append(&mut files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// The sealed values in the storage of alice.
pub(crate) fn objects(world: &World) -> Vec<PathBuf> {
    files(&world.path("alice/storage/objects"))
}

/// Flips a bit in the middle of a file.
pub(crate) fn alter(file: &Path) {
    let mut file = File::options().read(true).write(true).open(file).expect("a file");
    let middle = file.metadata().expect("its length").len() / 2;
    let mut byte = [0];
    file.seek(SeekFrom::Start(middle)).and_then(|_| file.read_exact(&mut byte)).expect("a byte");
    byte[0] ^= 1;
    file.seek(SeekFrom::Start(middle)).and_then(|_| file.write_all(&byte)).expect("a byte");
}

/// A command of a node for people, whose output is no text.
fn plain(world: &World, node: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.env("TIDINGS_HOME", world.path(node)).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writing = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let done = child.wait_with_output().expect("it ends");
    writing.join().expect("it is written");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Alice puts through a pipe, both read.
fn put_and_get(world: &World) {
    let value = value(5 * 1024 * 1024);
    plain(world, "alice", &["put", "/big"], &value);
    assert!(plain(world, "alice", &["get", "/big"], b"") == value);
    assert!(plain(world, "bob", &["get", "alice:/big", "--fresh"], b"") == value);
}

#[test]
fn a_large_value_comes_out_at_both_as_it_went_in() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    put_and_get(&world);
    let [object] = objects(&world).try_into().expect("one object");
    assert!(fs::metadata(object).expect("an object").len() > 5 * 1024 * 1024);
}

#[test]
fn a_large_value_comes_out_at_both_as_it_went_in_beside_running_nodes() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = [world.up("alice"), world.up("bob")];
    put_and_get(&world);
}

#[test]
fn a_value_too_long_for_a_line_is_left_out_of_it_and_can_be_put_into_a_file() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let (short, long) = (vec![b'a'; 64 * 1024], vec![b'a'; 64 * 1024 + 1]);
    for (path, value) in [("/short", &short), ("/long", &long)] {
        world.ok("alice", &["put", path, &world.file("value", value), "--no-wait"]);
    }
    let get = |path: &str| json(&world.ok("alice", &["get", path]));
    assert_eq!((get("/short")["value"].as_str().map(str::len), get("/long")["value"].is_null()), (Some(short.len()), true));
    let to = world.file("to", "something else");
    world.ok("alice", &["get", "/long", "--to", &to]);
    assert!(fs::read(to).expect("a file") == long);
}

/// A file that is named without its folder is in the folder of whoever gave the command.
#[test]
fn beside_a_running_node_files_are_those_of_the_caller() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("alice");
    let here = world.path("here");
    fs::create_dir_all(here.join("tree")).expect("a folder");
    fs::write(here.join("tree/a"), value(10_000)).expect("a file");
    for arguments in [&["import", "tree", "/t"][..], &["get", "/t/a", "--to", "got"], &["export", "/t", "exported"]] {
        let done = world.command("alice", arguments).current_dir(&here).output().expect("it starts");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let read = |name: &str| fs::read(here.join(name)).expect(name);
    assert!(read("got") == read("tree/a") && read("exported/a") == read("tree/a"));
}

#[test]
fn a_value_over_the_cap_changes_nothing() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let huge = world.file("huge", "");
    File::options().write(true).open(&huge).expect("a file").set_len(64 * 1024 * 1024 + 1).expect("a longer one");
    let named = world.run("alice", &["put", "/a", &huge]);
    let mut piped = world.command("alice", &["put", "/a"]);
    let piped = crate::world::Done::of({
        piped.stdin(File::open(&huge).expect("a file"));
        piped
    });
    assert_eq!([named.exit_and_effect(), piped.exit_and_effect()], [(2, "none".to_owned()), (2, "none".to_owned())]);
    assert!(named.error().contains("64 MiB"), "{}", named.err);
    assert_eq!((world.ok("alice", &["ls"]), files(&world.path("alice/spool")), objects(&world)), (String::new(), vec![], vec![]));
}

/// [P-9] Not a byte of it comes out, and it is said what is wrong.
#[test]
fn an_altered_value_is_named_and_not_printed() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("alice", &["put", "/big", &world.file("value", value(300_000))]);
    alter(&objects(&world)[0]);
    for arguments in [["alice", "/big"], ["bob", "alice:/big"]] {
        let done = world.run(arguments[0], &["--timeout", "1s", "get", arguments[1]]);
        assert_eq!((done.exit_and_effect(), done.out.as_str()), ((5, "none".to_owned()), ""), "{arguments:?}");
        assert!(done.error().contains("is not what the owner") || done.error().contains("something else"), "{}", done.err);
    }
    assert_eq!(json(&world.ok("bob", &["ls", "alice:"]))["fetched"], false);
}

#[test]
fn a_missing_value_is_waited_for_only_so_long() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("alice", &["put", "/big", &world.file("value", value(300_000))]);
    let object = objects(&world).remove(0);
    fs::rename(&object, world.path("aside")).expect("it is moved");
    let done = world.run("bob", &["--timeout", "1s", "get", "alice:/big"]);
    assert_eq!(done.exit_and_effect(), (5, "none".to_owned()));
    assert!(done.error().contains("does not have the value"), "{}", done.err);
    fs::rename(world.path("aside"), &object).expect("it is back");
    world.ok("bob", &["get", "alice:/big"]);
    assert_eq!(json(&world.ok("bob", &["ls", "alice:", "--offline"]))["fetched"], true);
}

#[test]
fn a_write_that_the_storage_does_not_take_changes_nothing() {
    let world = World::new();
    let blocked = world.file("blocked", "no folder");
    world.ok("alice", &["init", "--storage", &format!("file://{blocked}")]);
    let done = world.run("alice", &["put", "/big", &world.file("value", value(5_000)), "--no-wait"]);
    assert_eq!((done.exit_and_effect().1, world.ok("alice", &["ls"])), ("none".to_owned(), String::new()), "{}", done.err);
    world.ok("alice", &["put", "/small", &world.file("value", "1"), "--no-wait"]);
    let checks = world.run("alice", &["doctor"]);
    let storage = checks.out.lines().map(json).find(|check| check["check"] == "storage").expect("a check");
    assert_eq!((checks.code != 0, storage["ok"].as_bool()), (true, Some(false)), "{storage}");
}

#[test]
fn a_doctor_finds_the_storages_of_both() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("alice", &["put", "/big", &world.file("value", value(5_000))]);
    world.ok("bob", &["ls", "alice:"]);
    let checks = |done: &str| done.lines().map(json).filter(|check| check["check"] == "storage" && check["ok"] == true).count();
    assert_eq!((checks(&world.ok("alice", &["doctor"])), checks(&world.run("bob", &["doctor"]).out)), (1, 2));
    assert_eq!(objects(&world).len(), files(&world.path("alice/storage/objects")).len());
    assert_eq!(files(&world.path("alice/storage/probes")), Vec::<PathBuf>::new());
}

/// Of one record the last line counts, however long the values are.
#[test]
fn apply_takes_values_of_every_length_in_their_order() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.file("large", value(10_000));
    let long = "a".repeat(5_000);
    let lines = [
        r#"{"op":"put","path":"/a","value":"short"}"#.to_owned(),
        r#"{"op":"put","path":"/a","file":"large"}"#.to_owned(),
        format!(r#"{{"op":"put","path":"/b","value":"{long}"}}"#),
        r#"{"op":"put","path":"/b","value":"short"}"#.to_owned(),
        r#"{"op":"put","path":"/c","file":"no-file"}"#.to_owned(),
        r#"{"op":"put","path":"/d","file":"large"}"#.to_owned(),
        r#"{"op":"rm","path":"/d"}"#.to_owned(),
        r#"{"op":"put","path":"/e","value":"short"}"#.to_owned(),
        r#"{"op":"put","path":"/e","file":"large"}"#.to_owned(),
    ];
    let file = world.file("lines", lines.join("\n"));
    let done = crate::world::Done::of({
        let mut command = world.command("alice", &["apply", &file]);
        command.current_dir(world.path("."));
        command
    });
    assert_eq!(done.exit_and_effect(), failed("done"), "{}", done.out);
    let results: Vec<_> = done.out.lines().map(json).map(|line| (line["line"].as_u64(), line["result"] == "failed")).collect();
    assert_eq!(results, (1..=9).map(|line| (Some(line), line == 5)).collect::<Vec<_>>());
    let listed: Vec<_> = world.ok("bob", &["ls", "alice:", "--fresh"]).lines().map(|line| json(line)["size"].as_u64()).collect();
    assert_eq!(listed, [Some(10_000), Some(5), Some(10_000)]);
}
