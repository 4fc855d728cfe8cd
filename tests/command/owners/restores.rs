//! A node that has nothing left but its key. [P-4] [P-5]

use std::time::{Duration, Instant};

use super::{are, bob_is_content, bobs, mine, own, put};
use crate::world::{Broker, Done, World, json};

/// A copy of alice's key outside of her home.
pub(super) fn key(world: &World) -> String {
    let key = world.path("kept.key");
    std::fs::copy(world.path("alice/node.key"), &key).expect("it is there");
    key.to_string_lossy().into_owned()
}

pub(super) fn lose_everything(world: &World) {
    std::fs::remove_dir_all(world.path("alice")).expect("it is there");
}

fn restore(world: &World, sources: &[&str]) -> Done {
    let key = world.path("kept.key").to_string_lossy().into_owned();
    world.run("alice", &[&["init", "--restore", &key], sources].concat())
}

fn restored(world: &World, sources: &[&str]) -> serde_json::Value {
    let done = restore(world, sources);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("followed"), "that follows are gone is said: {}", done.err);
    json(&done.out)
}

#[test]
fn a_node_is_restored_from_its_broker_and_its_readers_follow_on() {
    let world = World::new();
    let broker = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    put(&world, "alice", "/b", "2");
    world.ok("alice", &["rm", "/b"]);
    bob_is_content(&world);
    let (did, before) = (json(&world.ok("alice", &["id"]))["did"].clone(), own(&world, "alice"));
    key(&world);
    lose_everything(&world);
    let told = restored(&world, &["--broker", &broker.address]);
    assert_eq!((&told["did"], told["records"].as_u64(), told["readers"].as_u64()), (&did, Some(1), Some(1)));
    assert_eq!((&told["missing"], told["sources"].as_array().map(Vec::len)), (&serde_json::json!([]), Some(1)));
    put(&world, "alice", "/c", "3");
    let after = own(&world, "alice");
    assert!(after["term"].as_u64() > before["term"].as_u64() && after["writer"] != before["writer"], "{after}");
    bob_is_content(&world);
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/c", "3")]));
    assert_eq!(mine(&world, "alice"), bobs(&world));
}

/// Values and queue come from the storage; the broker is a new one.
#[test]
fn a_node_is_restored_from_its_storage_and_fills_a_new_broker() {
    let world = World::new();
    let mut broker = world.broker("127.0.0.1:0", &[]);
    let storage = format!("file://{}", world.path("storage").display());
    world.ok("alice", &["init", "--broker", &broker.address, "--storage", &storage]);
    world.ok("bob", &["init"]);
    world.ok("bob", &["follow", &world.invitation("bob"), "--as", "alice"]);
    let long = "long ".repeat(2_000);
    put(&world, "alice", "/small", "1");
    put(&world, "alice", "/long", &long);
    key(&world);
    lose_everything(&world);
    broker.process.end_with("KILL");
    let other = world.broker_in("other", "127.0.0.1:0", &[]);
    restored(&world, &["--broker", &other.address, "--storage", &storage]);
    assert_eq!(mine(&world, "alice"), are(&[("/long", &long), ("/small", "1")]));
    put(&world, "alice", "/new", "2");
    // Bob hears of the new broker by the storage that he was told of.
    world.ok("bob", &["watch", "--once"]);
    assert_eq!(bobs(&world), are(&[("/long", &long), ("/new", "2"), ("/small", "1")]));
}

/// [P-5] A revocation is not undone, whoever forgot it: the broker was put back to before it, the storage was not.
#[test]
fn a_revocation_that_only_one_source_knows_is_not_undone() {
    let world = World::new();
    let mut broker = world.broker("127.0.0.1:0", &[]);
    let place = broker.place().to_owned();
    let storage = format!("file://{}", world.path("storage").display());
    world.ok("alice", &["init", "--broker", &broker.address, "--storage", &storage]);
    world.ok("bob", &["init"]);
    world.ok("bob", &["follow", &world.invitation("bob"), "--as", "alice"]);
    put(&world, "alice", "/a", "1");
    world.ok("bob", &["watch", "--once"]);
    broker.process.end_with("TERM");
    world.copy("broker", "copy");
    let mut broker = world.broker(&place, &[]);
    world.ok("alice", &["revoke", "bob"]);
    put(&world, "alice", "/secret", "2");
    key(&world);
    lose_everything(&world);
    broker.process.end_with("TERM");
    world.copy("copy", "broker");
    let broker = world.broker(&place, &[]);
    let told = restored(&world, &["--broker", &broker.address, "--storage", &storage]);
    assert_eq!((told["records"].as_u64(), told["readers"].as_u64()), (Some(2), Some(0)), "{told}");
    put(&world, "alice", "/later", "3");
    let done = world.run("bob", &["watch", "--once"]);
    assert_eq!(done.code, 3, "{}{}", done.out, done.err);
    assert_eq!(super::records(&world, "alice", "/"), are(&[("/a", "1"), ("/later", "3"), ("/secret", "2")]));
    let bobs = world.ok("bob", &["ls", "alice:", "--offline"]);
    assert!(bobs.contains("/a") && !bobs.contains("/secret") && !bobs.contains("/later"), "{bobs}");
}

/// [P-14] Where all that is left is an old copy at the broker, nobody can know better but a reader that saw more: it says so, names
/// what is gone, and goes on.
#[test]
fn a_reader_that_saw_more_than_the_restored_owner_names_it_rewound() {
    let world = World::new();
    let _broker = goes_back(&world);
    let done = world.run("bob", &["watch", "--once"]);
    let events: Vec<_> = done.out.lines().map(json).collect();
    assert!(events.iter().any(|event| rewound(event) && event["evidence"].is_string()), "{}", done.out);
    names_what_is_gone(&done);
    let change = |path: &str| events.iter().find(|event| event["path"] == path).map(|event| event["op"].clone());
    assert_eq!((change("/seen"), change("/b")), (Some("delete".into()), Some("create".into())), "{}", done.out);
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/b", "3")]));
}

/// [P-14] It was verified by a node that nobody watched, and that was killed: whoever watches next is told.
#[test]
fn what_a_rewind_took_away_is_told_once_somebody_watches() {
    let world = World::new();
    let _broker = goes_back(&world);
    let mut up = world.up("bob");
    let began = Instant::now();
    while !world.run("bob", &["ls", "alice:", "--offline"]).out.contains("/b") {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", world.ok("bob", &["status"]));
    }
    up.end_with("KILL");
    names_what_is_gone(&world.run("bob", &["watch", "--once"]));
    let again = world.run("bob", &["watch", "--once"]);
    assert!(again.out.lines().map(json).all(|event| !rewound(&event)), "{}", again.out);
}

fn rewound(event: &serde_json::Value) -> bool {
    event["verdict"] == "rewound"
}

fn names_what_is_gone(done: &Done) {
    let told = done.out.lines().map(json).find(|event| rewound(event) && event["gone_count"].is_u64());
    let gone = told.unwrap_or_else(|| panic!("{}{}", done.out, done.err));
    assert_eq!((&gone["gone"], &gone["gone_count"]), (&serde_json::json!(["/seen"]), &1.into()));
}

/// Alice has `/a` and `/b`, restored from an old copy at the broker; bob has seen `/a` and `/seen`.
fn goes_back(world: &World) -> Broker {
    let mut broker = world.alice_and_bob();
    let place = broker.place().to_owned();
    put(world, "alice", "/a", "1");
    broker.process.end_with("TERM");
    world.copy("broker", "copy");
    let mut broker = world.broker(&place, &[]);
    put(world, "alice", "/seen", "2");
    bob_is_content(world);
    key(world);
    lose_everything(world);
    broker.process.end_with("TERM");
    world.copy("copy", "broker");
    let broker = world.broker(&place, &[]);
    let told = restored(world, &["--broker", &broker.address]);
    assert_eq!(told["records"], 1, "{told}");
    put(world, "alice", "/b", "3");
    broker
}

#[test]
fn what_cannot_be_restored_is_said_and_nothing_is_replaced() {
    let world = World::new();
    let mut broker = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    key(&world);
    let taken = restore(&world, &["--broker", &broker.address]);
    assert_eq!(taken.exit_and_effect(), (1, "none".to_owned()), "a home that is there: {}", taken.err);
    let did = json(&world.ok("alice", &["id"]))["did"].as_str().expect("a did").to_owned();
    assert!(taken.error().contains(&did), "{}", taken.err);
    // A key that nobody published with.
    let other = world.path("bob/node.key").to_string_lossy().into_owned();
    let nothing = world.run("carol", &["init", "--restore", &other, "--broker", &broker.address]);
    assert_eq!(nothing.exit_and_effect(), (1, "none".to_owned()), "{}", nothing.err);
    // Nobody answers: the home stays, and the same command goes on when somebody does.
    lose_everything(&world);
    let place = broker.place().to_owned();
    broker.process.end_with("TERM");
    let nowhere = restore(&world, &[]);
    assert_eq!((nowhere.exit_and_effect().0, nowhere.error().contains("no place")), (2, true), "{}", nowhere.err);
    let silent = restore(&world, &["--broker", &broker.address, "--timeout", "2s"]);
    assert_eq!(silent.exit_and_effect(), (5, "none".to_owned()), "{}", silent.err);
    assert_eq!(own(&world, "alice")["restoring"], true, "an empty queue is not all that there is");
    let again = world.broker(&place, &[]);
    restored(&world, &["--broker", &again.address]);
    assert_eq!(own(&world, "alice")["restoring"], false);
    assert_eq!(mine(&world, "alice"), are(&[("/a", "1")]));
}
