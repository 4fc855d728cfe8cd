//! Values that travel through storage, as a reader meets them: fetched and told, missing or altered and named, and the queue itself
//! when no broker is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::failed;
use crate::world::{Broker, World, json};

/// Far more than fits into the queue, in several pieces.
const LARGE: usize = 5 * 1024 * 1024;

/// A file of `size` bytes that repeat nowhere, told apart by `seed`.
fn file(world: &World, name: &str, size: usize, seed: u64) -> String {
    let mut state = seed;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    world.file(name, std::iter::repeat_with(byte).take(size).collect::<Vec<_>>())
}

fn put(world: &World, path: &str, size: usize, seed: u64) {
    world.ok("alice", &["put", path, &file(world, "large", size, seed)]);
}

/// Objects in alice's storage.
fn objects(world: &World) -> BTreeSet<PathBuf> {
    below(&world.path("alice/storage/objects"))
}

fn below(folder: &PathBuf) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries
        .flat_map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() { below(&path) } else { BTreeSet::from([path]) }
        })
        .collect()
}

/// The object that this puts into alice's storage.
fn object_of(world: &World, put: impl FnOnce()) -> PathBuf {
    let before = objects(world);
    put();
    objects(world).difference(&before).next().expect("an object").clone()
}

fn changes(printed: &str) -> Vec<(String, bool)> {
    let events = printed.lines().map(json).filter(|event| event["event"] == "change");
    events.map(|event| (event["path"].as_str().expect("a path").to_owned(), event["fetched"] == true)).collect()
}

fn unfetched(world: &World) -> Value {
    json(&world.ok("bob", &["status", "--offline"]))["follows"][0]["unfetched"].clone()
}

fn without_broker(mut broker: Broker) {
    assert_eq!(broker.process.end_with("TERM").code(), Some(0));
}

#[test]
fn what_is_too_large_for_the_queue_is_fetched_before_it_is_told() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    put(&world, "/large", LARGE, 1);
    assert_eq!(changes(&world.ok("bob", &["watch", "--once"])), [("/large".to_owned(), true)]);
    assert_eq!(unfetched(&world)["waiting"], 0);
}

#[test]
fn who_does_not_wait_for_values_is_told_of_changes_without_them() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let object = object_of(&world, || put(&world, "/large", LARGE, 1));
    fs::rename(&object, world.path("elsewhere")).expect("moved");
    assert_eq!(changes(&world.ok("bob", &["watch", "--once", "--no-fetch"])), [("/large".to_owned(), false)]);
}

/// Whoever has the storage can delete: that is named and holds up nothing else.
#[test]
fn a_missing_value_is_named_and_does_not_hold_up_the_others() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let object = object_of(&world, || put(&world, "/a", LARGE, 1));
    fs::remove_file(object).expect("removed");
    put(&world, "/b", LARGE, 2);
    world.put("/c", "inline");
    let told = changes(&world.ok("bob", &["watch", "--once"]));
    assert_eq!(
        told.into_iter().collect::<BTreeSet<_>>(),
        [("/a", false), ("/b", true), ("/c", true)].map(|(path, fetched)| (path.to_owned(), fetched)).into()
    );
    assert_eq!(unfetched(&world)["missing"], 1);
}

/// Whoever has the storage can alter: nothing of it is used.
#[test]
fn an_altered_value_is_named() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let object = object_of(&world, || put(&world, "/a", LARGE, 1));
    let mut bytes = fs::read(&object).expect("an object");
    bytes[LARGE / 2] ^= 1;
    fs::write(&object, bytes).expect("altered");
    assert_eq!(changes(&world.ok("bob", &["watch", "--once"])), [("/a".to_owned(), false)]);
    assert_eq!(unfetched(&world)["altered"], 1);
}

/// [P-21] The queue is in the storage too, from the receipt on.
#[test]
fn a_reader_without_any_broker_catches_up_from_the_storage() {
    let world = World::new();
    let broker = world.alice_and_bob();
    world.put("/a", "inline");
    put(&world, "/b", LARGE, 1);
    without_broker(broker);
    let printed = world.ok("bob", &["watch", "--once"]);
    assert_eq!(changes(&printed), [("/a".to_owned(), true), ("/b".to_owned(), true)]);
    let follow = json(&world.ok("bob", &["status", "--offline"]))["follows"][0].clone();
    assert_eq!((follow["verdict"].as_str(), follow["detail"].as_str()), (Some("up-to-date"), Some("from storage")), "{follow}");
}

/// [P-21] What is published while a node runs is in the storage while it runs.
#[test]
fn a_node_that_runs_keeps_its_storage_up_to_date() {
    let world = World::new();
    let broker = world.alice_and_bob();
    let _up = world.up("alice");
    world.put("/a", "inline");
    let is_shown = || json(&world.ok("alice", &["status"]))["own"]["storage"]["behind"] == 0;
    while !is_shown() {}
    without_broker(broker);
    assert_eq!(changes(&world.ok("bob", &["watch", "--once"])), [("/a".to_owned(), true)]);
}

/// [P-15] Each change is told once, whoever watches.
#[test]
fn two_watches_at_once_print_each_change_once() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("bob");
    let mut first = world.begin("bob", &["watch"]);
    first.event("caught-up");
    let mut second = world.begin("bob", &["watch"]);
    second.event("caught-up");
    for number in 0..4 {
        put(&world, &format!("/{number}"), LARGE / 8, number);
    }
    world.wait_until("bob", |follow| follow["offset"].as_u64() == Some(4) && follow["pending"].as_u64() == Some(0));
    assert!(first.end_with("INT").success() && second.end_with("INT").success());
    let mut told = changes(&[first.rest(), second.rest()].concat());
    told.sort();
    assert_eq!(told, ["/0", "/1", "/2", "/3"].map(|path| (path.to_owned(), true)));
}

#[test]
fn beside_running_nodes_values_come_as_they_do_alone() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let (_alice, _bob) = (world.up("alice"), world.up("bob"));
    let mut watch = world.begin("bob", &["watch"]);
    put(&world, "/large", LARGE, 1);
    let change = watch.event("change");
    assert_eq!((change["path"].as_str(), change["fetched"].as_bool()), (Some("/large"), Some(true)));
}

/// The owner's own disk is not every reader's: a reader may be told another place.
#[test]
fn a_reader_looks_for_values_where_it_was_told_to() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("carol", &["init"]);
    let copy = world.path("copy");
    let address = format!("file://{}", copy.display());
    world.ok("carol", &["follow", &world.invitation("carol"), "--as", "alice", "--storage", &address]);
    put(&world, "/large", LARGE, 1);
    fs::rename(world.path("alice/storage"), &copy).expect("moved");
    assert_eq!(changes(&world.ok("carol", &["watch", "--once"])), [("/large".to_owned(), true)]);
    let storage = json(&world.ok("carol", &["status", "--offline"]))["follows"][0]["storage"].clone();
    assert_eq!(storage, serde_json::json!([address]));
}

#[test]
fn a_storage_that_is_none_is_refused_where_it_is_named() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("carol", &["init"]);
    let invitation = world.invitation("carol");
    for address in ["memory:", "file://relative", "nonsense"] {
        let done = world.run("carol", &["follow", &invitation, "--storage", address]);
        assert_eq!(done.exit_and_effect(), (2, "none".to_owned()), "{address}");
    }
    world.ok("carol", &["follow", &invitation]);
}

#[test]
fn what_was_fetched_of_an_owner_is_gone_with_the_follow() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    put(&world, "/large", LARGE, 1);
    world.ok("bob", &["watch", "--once"]);
    assert_eq!(below(&world.path("bob/fetched")).len(), 1);
    world.ok("bob", &["unfollow", "alice"]);
    assert_eq!(below(&world.path("bob/fetched")), BTreeSet::new());
}

/// Also while somebody watches: the watch ends, the follow is forgotten.
#[test]
fn who_is_watched_can_be_unfollowed() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("bob");
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    world.ok("bob", &["unfollow", "alice"]);
    assert_eq!(world.run("bob", &["get", "alice:/a", "--offline"]).exit_and_effect(), failed("none"));
    assert!(watch.end_with("INT").success());
}

#[test]
fn a_followed_queue_is_checked_against_its_verified_head() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("bob", &["watch", "--once"]);
    let verified = json(&world.ok("bob", &["verify", "alice"]));
    assert_eq!((verified["matches"].as_bool(), verified["live"].as_u64()), (Some(true), Some(1)));
}
