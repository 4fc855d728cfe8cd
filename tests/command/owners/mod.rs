//! An owner whose brokers, state or machine go and come back: what was receipted is there afterwards, and nobody is accused who did not lie.

mod copies; // one key in two places
mod moves; // other brokers
mod parted; // whose fork nobody remembers
mod restores; // from the key alone
mod returns; // what comes back older than it went

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::{World, json};

/// What a node says of its own queue.
fn own(world: &World, node: &str) -> Value {
    json(&world.ok(node, &["status"]))["own"].clone()
}

/// Each record with its value.
fn records(world: &World, node: &str, owner: &str) -> BTreeMap<String, String> {
    let listed = world.ok(node, &["ls", owner]);
    let paths = listed.lines().map(|line| json(line)["path"].as_str().expect("a path").to_owned());
    let value = |path: &str| {
        let place = if owner == "/" { path.to_owned() } else { format!("{owner}{path}") };
        json(&world.ok(node, &["get", &place]))["value"].as_str().expect("a text").to_owned()
    };
    paths.map(|path| (path.clone(), value(&path))).collect()
}

/// The own records of a node.
fn mine(world: &World, node: &str) -> BTreeMap<String, String> {
    records(world, node, "/")
}

/// What bob sees of alice, caught up.
fn bobs(world: &World) -> BTreeMap<String, String> {
    records(world, "bob", "alice:")
}

/// Records as they are compared.
fn are(records: &[(&str, &str)]) -> BTreeMap<String, String> {
    records.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
}

/// Writes a record of any node.
fn put(world: &World, node: &str, path: &str, value: &str) {
    let done = world.feed(node, &["put", path, "-"], value);
    assert_eq!(done.code, 0, "{node}: {path}: {}", done.err);
}

/// Writes a record that nobody is told of yet.
fn keep(world: &World, node: &str, path: &str, value: &str) {
    let done = world.feed(node, &["put", "--no-wait", path, "-"], value);
    assert_eq!(done.code, 0, "{node}: {path}: {}", done.err);
}

/// Bob's view of alice after a catch-up: nobody is accused.
fn bob_is_content(world: &World) {
    let done = world.run("bob", &["watch", "--once"]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    assert!(!done.out.contains("\"forked\"") && !done.out.contains("\"withheld\"") && !done.out.contains("\"rewound\""), "{}", done.out);
}
