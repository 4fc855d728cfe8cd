//! Folders as records, and back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::failed;
use crate::storage::{alter, files, objects, value};
use crate::world::{World, json};

/// Files of every kind of length.
const LENGTHS: [(&str, usize); 5] = [("a", 1), ("b/empty", 0), ("b/inline", 4096), ("b/c/large", 4097), ("d/two names", 300_000)];

/// A folder with these files, a link and a socket. Its path as an argument.
fn tree(world: &World) -> String {
    let folder = world.path("tree");
    for (name, bytes) in LENGTHS {
        fs::create_dir_all(folder.join(name).parent().expect("a folder")).expect("a folder");
        fs::write(folder.join(name), value(bytes)).expect("a file");
    }
    std::os::unix::fs::symlink("a", folder.join("link")).expect("a link");
    drop(UnixListener::bind(folder.join("socket")).expect("a socket"));
    folder.to_string_lossy().into_owned()
}

fn argument(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// How many lines say each result, and the last line.
fn results(printed: &str) -> (Vec<(String, usize)>, serde_json::Value) {
    let mut counts = std::collections::BTreeMap::new();
    let lines: Vec<_> = printed.lines().map(json).collect();
    for result in lines.iter().filter_map(|line| line["result"].as_str()) {
        *counts.entry(result.to_owned()).or_insert(0) += 1;
    }
    (counts.into_iter().collect(), lines.last().expect("a summary").clone())
}

fn counted(counts: &[(&str, usize)]) -> Vec<(String, usize)> {
    counts.iter().map(|(result, count)| ((*result).to_owned(), *count)).collect()
}

/// The files of the tree that can be records, as they must come out.
fn is_the_tree(folder: &Path) -> bool {
    let mut expected: Vec<_> = LENGTHS.map(|(name, bytes)| (PathBuf::from(name), value(bytes))).to_vec();
    expected.sort();
    let there = files(folder).into_iter().map(|file| {
        let content = fs::read(&file).expect("a file");
        (file.strip_prefix(folder).expect("it is below").to_owned(), content)
    });
    there.collect::<Vec<_>>() == expected
}

fn import_and_export(world: &World) {
    let tree = tree(world);
    let (counts, summary) = results(&world.ok("alice", &["import", &tree, "/t"]));
    assert_eq!(counts, counted(&[("receipted", 5), ("skipped", 2)]));
    assert_eq!((summary["imported"].as_u64(), summary["skipped"].as_u64()), (Some(5), Some(2)));
    assert_eq!(results(&world.ok("alice", &["import", &tree, "/t/"])).0, counted(&[("skipped", 2), ("unchanged", 5)]));
    for (node, place) in [("alice", "/t"), ("bob", "alice:/t")] {
        let folder = world.path(&format!("{node}-exported"));
        assert_eq!(results(&world.ok(node, &["export", place, argument(&folder)])).0, counted(&[("written", 5)]), "{node}");
        assert!(is_the_tree(&folder), "{node}");
        assert_eq!(results(&world.ok(node, &["export", place, argument(&folder)])).0, counted(&[("unchanged", 5)]), "{node}");
    }
}

#[test]
fn a_folder_that_is_imported_is_exported_as_it_was() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    import_and_export(&world);
}

#[test]
fn a_folder_that_is_imported_is_exported_as_it_was_beside_running_nodes() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = [world.up("alice"), world.up("bob")];
    import_and_export(&world);
}

#[test]
fn an_export_replaces_other_files_only_if_it_is_told_to() {
    let world = World::new();
    world.ok("alice", &["init"]);
    world.ok("alice", &["put", "/t/a", &world.file("value", "1"), "--no-wait"]);
    world.ok("alice", &["put", "/t/b", &world.file("value", "2"), "--no-wait"]);
    fs::create_dir(world.path("out")).expect("a folder");
    let a = world.file("out/a", "x");
    let out = world.path("out");
    let done = world.run("alice", &["export", "/t", argument(&out)]);
    assert_eq!((done.exit_and_effect(), fs::read_to_string(&a).expect("a file")), (failed("unknown"), "x".to_owned()));
    assert_eq!(results(&done.out).0, counted(&[("failed", 1), ("written", 1)]));
    world.ok("alice", &["export", "/t", argument(&out), "--force"]);
    assert_eq!(fs::read_to_string(&a).expect("a file"), "1");
}

/// An owner that names records after a link in somebody's folder writes nothing behind that link.
#[test]
fn an_export_follows_no_link_out_of_its_folder() {
    let world = World::new();
    world.ok("alice", &["init"]);
    world.ok("alice", &["put", "/out/secret", &world.file("value", "1"), "--no-wait"]);
    let (out, elsewhere) = (world.path("exported"), world.path("elsewhere"));
    fs::create_dir(&out).and_then(|()| fs::create_dir(&elsewhere)).expect("two folders");
    std::os::unix::fs::symlink(&elsewhere, out.join("out")).expect("a link");
    assert_eq!(world.run("alice", &["export", argument(&out), "--force"]).exit_and_effect(), failed("none"));
    assert_eq!(files(&elsewhere), Vec::<PathBuf>::new());
}

#[test]
fn a_record_that_is_a_folder_too_is_listed_and_the_others_are_exported() {
    let world = World::new();
    world.ok("alice", &["init"]);
    for path in ["/a", "/a/b"] {
        world.ok("alice", &["put", path, &world.file("value", path), "--no-wait"]);
    }
    let out = world.path("out");
    let (counts, summary) = results(&world.ok("alice", &["export", argument(&out)]));
    assert_eq!((counts, summary["skipped"].as_u64()), (counted(&[("skipped", 1), ("written", 1)]), Some(1)));
    assert_eq!(files(&out), [out.join("a/b")]);
}

#[test]
fn a_value_that_does_not_come_holds_up_no_other_one() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    for (name, bytes) in [("/t/1", 5_000), ("/t/2", 6_000), ("/t/3", 7_000)] {
        world.ok("alice", &["put", name, &world.file("value", value(bytes))]);
        if objects(&world).len() == 1 {
            alter(&objects(&world)[0]);
        }
    }
    let out = world.path("out");
    let done = world.run("bob", &["--timeout", "2s", "export", "alice:/t", argument(&out)]);
    assert_eq!((done.exit_and_effect().0, results(&done.out).0), (5, counted(&[("failed", 1), ("written", 2)])), "{}", done.out);
    assert_eq!(files(&out), [out.join("2"), out.join("3")]);
    let named = done.out.lines().map(json).find(|line| line["result"] == "failed").expect("it is named");
    assert!(named["reason"].as_str().is_some_and(|reason| reason.contains("not what the owner signed")), "{named}");
}

/// A power cut in the middle leaves nothing twice and nothing behind.
#[test]
fn an_import_that_was_killed_is_finished_by_the_next_one() {
    const FILES: usize = 600;
    let world = World::new();
    let _broker = world.alice_and_bob();
    let folder = world.path("many");
    fs::create_dir(&folder).expect("a folder");
    for file in 0..FILES {
        fs::write(folder.join(file.to_string()), value(8_000 + file)).expect("a file");
    }
    let mut command = world.command("alice", &["--progress", "always", "import", argument(&folder)]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut line).expect("it tells how far it is");
    child.kill().and_then(|()| child.wait()).expect("it is killed");
    assert!(line.starts_with("imported 1/600"), "{line}");
    let (counts, _) = results(&world.ok("alice", &["import", argument(&folder)]));
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), FILES, "{counts:?}");
    assert!(counts.iter().any(|(result, _)| result == "receipted") && counts.iter().any(|(result, _)| result == "unchanged"), "{counts:?}");
    let own = &json(&world.ok("alice", &["status"]))["own"];
    assert_eq!((own["offset"].as_u64(), objects(&world).len(), files(&world.path("alice/spool")).len()), (Some(FILES as u64), FILES, 0));
    assert_eq!(world.ok("bob", &["ls", "alice:", "--fresh"]).lines().count(), FILES);
}
