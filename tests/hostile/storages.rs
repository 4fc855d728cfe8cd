//! Objects in a storage that somebody else can write to.

use std::fs;
use std::path::{Path, PathBuf};

use super::attempt::attempt;
use super::damage::{everything, lay};
use crate::world::{World, json};

/// Alice with a long value in her storage, and bob who has nothing of it yet and no broker to ask.
fn only_storage() -> World {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/long", &"blue ".repeat(4_000));
    world.put("/short", "blue");
    world
}

/// Every object below a folder, by its path.
fn objects(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { objects(&path, found) } else { found.push(path) }
    }
}

/// A pipe in the place of an object was waited for without end. What is not what the owner signed is named or not there; it is never
/// printed.
#[test]
fn an_object_that_is_not_the_owners_is_never_printed() {
    let world = only_storage();
    let mut all = Vec::new();
    objects(&world.path("alice/storage"), &mut all);
    let kinds = ["/head", "/index/", "/live/", "/history/", "/access/", "/objects/"];
    let pristine = world.path("bob");
    let get = |node: &str, timeout: &str, what: &str| {
        attempt(&mut world.command(node, &["--timeout", timeout, "get", "alice:/long", "--fresh"]), what)
    };
    let whole = "blue ".repeat(4_000);
    for kind in kinds {
        let Some(object) = all.iter().find(|path| path.to_string_lossy().contains(kind)) else { panic!("no {kind}") };
        let good = fs::read(object).expect("an object");
        for (name, instead) in everything(&good, 2, 1) {
            let bob = world.path("bob-copy");
            let _ = fs::remove_dir_all(&bob);
            assert!(std::process::Command::new("cp").arg("-a").arg(&pristine).arg(&bob).status().expect("cp").success());
            lay(object, &instead);
            let what = format!("{kind}: {name}");
            // Nobody else has it: waiting longer brings nothing.
            let attempt = get("bob-copy", "300ms", &what);
            let printed = attempt.out.lines().next().map(json);
            let value = printed.as_ref().and_then(|line| line["value"].as_str());
            assert!(value.is_none_or(|value| value == whole), "{what}");
            assert!(kind != "/objects/" || !attempt.succeeded(), "{what}: what is not the object was taken for it");
        }
        super::damage::clear(object);
        fs::write(object, good).expect("the storage is writable");
    }
    assert_eq!(json(&get("bob", "60s", "as it was").out)["value"].as_str(), Some(whole.as_str()));
}
