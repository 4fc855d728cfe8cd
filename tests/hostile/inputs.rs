//! What a person hands to a command: evidence, cards, invitations, lines, folders.

use std::fs;

use super::attempt::attempt;
use super::damage::{Instead, everything, is_as_laid, lay, no_files, random};
use crate::world::{World, json};

/// The one value of `docs/vectors/evidence.txt`.
fn evidence() -> Vec<u8> {
    let text = fs::read_to_string("docs/vectors/evidence.txt").expect("the vectors are there");
    let value = text.lines().find_map(|line| line.strip_prefix("evidence = ")).expect("a value");
    data_encoding::HEXLOWER.decode(value.as_bytes()).expect("hex")
}

/// A pipe was waited for without end.
#[test]
fn a_file_that_is_no_evidence_is_named_and_left_alone() {
    let world = World::new();
    let path = world.path("evidence");
    for (name, instead) in everything(&evidence(), 64, 16) {
        lay(&path, &instead);
        let file = path.to_string_lossy().into_owned();
        let what = format!("evidence: {name}");
        let attempt = attempt(&mut world.command("nobody", &["verify", "--evidence", &file]), &what);
        assert!(is_as_laid(&path, &instead), "{what}");
        if !attempt.succeeded() {
            attempt.refused_naming("evidence", &what);
        }
        let is_whole = matches!(&instead, Instead::Bytes(bytes) if bytes.len() == evidence().len());
        assert!(!attempt.succeeded() || is_whole, "{what}: a part of it was taken for all");
    }
}

/// A line is taken whole or not at all: it is signed.
#[test]
fn a_card_and_an_invitation_are_taken_whole_or_not_at_all() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("carol", &["init"]);
    let card = json(&world.ok("carol", &["id"]))["card"].as_str().expect("a card").to_owned();
    let invitation = world.invitation("carol");
    for (node, command, line) in [("alice", "grant", card), ("carol", "follow", invitation)] {
        let path = world.path("line");
        // A pipe is waited for: `grant <(...)` is meant to.
        let files = everything(line.as_bytes(), 32, 8).into_iter().filter(|(_, instead)| !matches!(instead, Instead::Pipe));
        for (name, instead) in files {
            lay(&path, &instead);
            let what = format!("{command}: {name}");
            let attempt = attempt(&mut world.command(node, &[command, &path.to_string_lossy()]), &what);
            assert!(!attempt.succeeded(), "{what}: {}", attempt.out);
            assert_eq!(attempt.failure()["effect"], "none", "{what}");
            assert!(is_as_laid(&path, &instead), "{what}");
        }
        world.ok(node, &[command, &world.file("whole", &line)]);
    }
}

/// Each line is answered or named; what is right among them is done.
#[test]
fn lines_that_are_none_fail_alone() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let mut lines = b"{\"op\":\"put\",\"path\":\"/a\",\"value\":\"1\"}\n".to_vec();
    for line in [&random(300)[..], b"{", b"null", b"[]", b"{\"op\":\"put\"}", b"{\"op\":\"put\",\"path\":\"a\",\"value\":\"1\"}"] {
        let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'\n').collect();
        lines.extend_from_slice(&line);
        lines.push(b'\n');
    }
    lines.extend_from_slice(b"{\"op\":\"put\",\"path\":\"/b\",\"value\":\"2\"}\n");
    let file = world.file("lines", &lines);
    let attempt = attempt(&mut world.command("alice", &["apply", "--no-wait", &file]), "apply");
    assert_eq!(attempt.status.code(), Some(1), "{attempt:?}");
    let failed = attempt.out.lines().filter(|line| json(line)["result"] == "failed").count();
    assert_eq!((failed, world.ok("alice", &["ls", "--offline"]).lines().count()), (6, 2), "{}", attempt.out);
}

/// A line without an end was once to be held whole: it is refused at a cap.
#[test]
fn a_line_without_an_end_is_refused_at_a_cap() {
    let world = World::new();
    world.ok("alice", &["init"]);
    lay(&world.path("lines"), &Instead::Huge(b"{\"op\":\"put\",\"path\":\"/a\",\"value\":\"".to_vec()));
    let file = world.path("lines").to_string_lossy().into_owned();
    let attempt = attempt(&mut world.command("alice", &["apply", "--no-wait", &file]), "apply");
    assert!(!attempt.succeeded(), "{attempt:?}");
}

#[test]
fn a_folder_with_what_is_no_file_is_imported_without_it() {
    let world = World::new();
    world.ok("alice", &["init"]);
    fs::create_dir(world.path("tree")).expect("a folder");
    fs::write(world.path("tree/good"), "1").expect("a file");
    for (name, instead) in no_files() {
        lay(&world.path("tree").join(name.replace(' ', "-")), &instead);
    }
    lay(&world.path("tree/huge"), &Instead::Huge(Vec::new()));
    let tree = world.path("tree").to_string_lossy().into_owned();
    let attempt = attempt(&mut world.command("alice", &["import", "--no-wait", &tree]), "import");
    let last = json(attempt.out.lines().last().expect("a summary"));
    assert_eq!((last["imported"].as_u64(), last["skipped"].as_u64()), (Some(1), Some(3)), "{attempt:?}");
}
