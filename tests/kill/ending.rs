//! The end of a world: everybody lives, and everything that was promised is compared.

use std::time::Instant;

use serde_json::Value;

use super::load;
use super::process::LONG;
use super::scene::{Scene, rank};
use super::written::Records;
use crate::world::json;

/// Values that are compared byte by byte.
const VALUES: u64 = 8;

/// Ends the load, waits until everything has arrived, and compares what was written, what is here and there, and what was printed.
pub(crate) fn end(scene: &mut Scene) -> Vec<String> {
    scene.finish_lines();
    let own = published(scene);
    let expected = scene.records("alice", &["ls"]);
    scene.written.found("the owner in the end", &expected);
    arrived(scene, &own);
    scene.finish_watch();
    let mut faults = Vec::new();
    if own["losses"].as_array().is_none_or(|losses| !losses.is_empty()) {
        faults.push(format!("the broker lost what it had receipted: {}", own["losses"]));
    }
    faults.extend(differences("what the watch printed", &scene.printed.records(), &expected));
    faults.extend(differences("the reader's view", &scene.records("bob", &["ls", "alice:"]), &expected));
    faults.extend(differences("the view of a reader from nothing", &new_reader(scene), &expected));
    faults.extend(values(scene, &expected));
    for (node, arguments) in [("alice", vec!["verify"]), ("bob", vec!["verify", "alice"])] {
        let done = scene.world.run(node, &arguments);
        if done.code != 0 {
            faults.push(format!("{node} does not verify: {}", done.err));
        }
    }
    let acknowledged =
        scene.inspection().0.readers(&scene.queue).expect("readable").into_iter().find(|reader| reader.pseudonym == scene.bob);
    scene.witnessed.acknowledged("bob at the broker", acknowledged.and_then(|reader| reader.acknowledged).unwrap_or_default());
    faults.extend(scene.written.violations.drain(..).chain(scene.printed.violations.drain(..)).chain(scene.witnessed.violations.drain(..)));
    faults
}

/// Waits until nothing of the owner waits; what it says of itself.
fn published(scene: &mut Scene) -> Value {
    let own = until(scene, "alice", &["status"], |status| {
        let own = &status["own"];
        ["unsigned", "unreceipted", "staged"].iter().all(|field| own[field] == 0) && own["storage"]["behind"] == 0
    });
    let own = own["own"].clone();
    let (_, seen) = scene.inspection();
    if seen.rank < rank(&own) {
        scene.written.violations.push(format!("the broker stands at {}, the owner at {own}", seen.rank));
    }
    own
}

/// Waits until the reader has printed everything. The owner may sign heads without entries by itself. [P-6]
fn arrived(scene: &Scene, own: &Value) {
    until(scene, "bob", &["status"], |status| {
        let follow = &status["follows"][0];
        follow["offset"] == own["offset"] && follow["pending"] == 0 && follow["unfetched"]["waiting"] == 0
    });
}

/// Waits until a command prints what is wanted.
fn until(scene: &Scene, node: &str, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + LONG;
    loop {
        let line = json(&scene.world.ok(node, arguments));
        if is_so(&line) {
            return line;
        }
        assert!(Instant::now() < deadline, "{node} does not get there: {line}");
    }
}

/// Carol, who may have been granted and revoked before, follows for the first time. [P-17]
fn new_reader(scene: &Scene) -> Records {
    scene.world.ok("carol", &["follow", &scene.world.invitation("carol"), "--as", "alice"]);
    scene.records("carol", &["ls", "alice:"])
}

/// Some values as the reader gives them out, those in storage first.
fn values(scene: &Scene, expected: &Records) -> Vec<String> {
    let large = expected.iter().filter(|(path, _)| load::may_be_large(path));
    let some = large.chain(expected.iter().filter(|(path, _)| !load::may_be_large(path))).take(VALUES as usize);
    let differs = |(path, hash): (&String, &String)| {
        let done = scene.world.run("bob", &["get", &format!("alice:{path}")]);
        let value = done.out.lines().next().map(json);
        let found = value.and_then(|record| record["value"].as_str().map(load::hash_of));
        (found.as_ref() != Some(hash)).then(|| format!("the value of {path} is another one or is not here: {}", done.err))
    };
    some.filter_map(differs).collect()
}

fn differences(who: &str, found: &Records, expected: &Records) -> Vec<String> {
    let paths = found.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>();
    let differing = paths.into_iter().filter(|path| found.get(*path) != expected.get(*path));
    differing.map(|path| format!("{who}: {path} is {:?}, the owner has {:?}", found.get(path), expected.get(path))).collect()
}
