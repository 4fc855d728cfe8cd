//! A broker or a home that is put back from a copy.

use std::collections::BTreeMap;

use super::{are, bob_is_content, bobs, keep, mine, own, put};
use crate::world::{World, json};

/// [P-4] Who compared with everybody goes on in its term.
#[test]
fn an_owner_that_finds_its_own_head_everywhere_goes_on_in_its_term() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    let before = own(&world, "alice");
    put(&world, "alice", "/b", "2");
    let after = own(&world, "alice");
    assert_eq!((&before["term"], &before["writer"]), (&after["term"], &after["writer"]));
    assert_eq!(after["merged"].as_array().map(Vec::len), Some(0));
    bob_is_content(&world);
}

/// [P-3] [P-7] The process is killed with publishes on their way: what it said is receipted is there, and nothing is there twice.
#[test]
fn what_was_receipted_before_a_kill_is_there_and_what_was_sent_is_there_once() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let mut apply = world.begin_fed("alice", &["apply"]);
    for number in 0..300 {
        apply.feed(&format!(r#"{{"op":"put","path":"/{number:03}","value":"{number}"}}"#));
    }
    let mut receipted = 0;
    while receipted < 40 {
        receipted += usize::from(apply.line().contains("receipted"));
    }
    apply.end_with("KILL");
    put(&world, "alice", "/last", "of all");
    let (mine, bobs) = (hashes(&world, "alice", "/"), hashes(&world, "bob", "alice:"));
    assert!(mine.len() > 40 && mine == bobs, "{} and {}", mine.len(), bobs.len());
    assert!((0..40).all(|number| mine.contains_key(&format!("/{number:03}"))));
    let own = own(&world, "alice");
    // The first offset is that of the first record: each was signed once.
    assert_eq!((own["offset"].as_u64(), own["live"].as_u64()), (Some(mine.len() as u64), Some(mine.len() as u64)));
    bob_is_content(&world);
}

/// Each record with the hash of its value.
fn hashes(world: &World, node: &str, place: &str) -> BTreeMap<String, String> {
    let listed = world.ok(node, &["ls", place]);
    let text = |line: &serde_json::Value, field: &str| line[field].as_str().expect("a text").to_owned();
    listed.lines().map(json).map(|line| (text(&line, "path"), text(&line, "hash"))).collect()
}

/// [P-10] A broker that lost what it receipted is named and refilled; its readers hear of nothing.
#[test]
fn a_broker_that_is_put_back_from_a_copy_is_refilled_and_the_loss_is_named() {
    let world = World::new();
    let mut broker = world.alice_and_bob();
    let place = broker.place().to_owned();
    put(&world, "alice", "/a", "1");
    broker.process.end_with("TERM");
    world.copy("broker", "copy");
    let mut broker = world.broker(&place, &[]);
    put(&world, "alice", "/b", "2");
    put(&world, "alice", "/a", "3");
    bob_is_content(&world);
    broker.process.end_with("KILL");
    world.copy("copy", "broker");
    let _broker = world.broker(&place, &[]);
    put(&world, "alice", "/c", "4");
    let own = own(&world, "alice");
    assert_eq!(own["losses"].as_array().map(Vec::len), Some(1), "{own}");
    bob_is_content(&world);
    assert_eq!(bobs(&world), are(&[("/a", "3"), ("/b", "2"), ("/c", "4")]));
}

/// [P-4] A home that was put back from a copy would sign heads a second time. It says so, and after a person decided, what the lost
/// state had published is there again, beside what is new and what waited in the copy.
#[test]
fn a_home_that_is_put_back_from_a_copy_stops_and_after_a_decision_has_everything() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    keep(&world, "alice", "/waits", "w");
    keep(&world, "alice", "/both", "older");
    world.copy("alice", "copy");
    put(&world, "alice", "/b", "2");
    put(&world, "alice", "/both", "newer");
    let lost = own(&world, "alice");
    bob_is_content(&world);
    world.copy("copy", "alice");
    let done = world.feed("alice", &["put", "/c", "-"], "3");
    assert_eq!(done.exit_and_effect(), (1, "done".to_owned()), "{}", done.err);
    assert!(!own(&world, "alice")["conflict"].is_null());
    world.ok("alice", &["init", "--take-over"]);
    let own = own(&world, "alice");
    assert!(own["conflict"].is_null() && own["term"].as_u64() > lost["term"].as_u64() && own["writer"] != lost["writer"], "{own}");
    let all = are(&[("/a", "1"), ("/b", "2"), ("/both", "newer"), ("/c", "3"), ("/waits", "w")]);
    assert_eq!(mine(&world, "alice"), all);
    assert_eq!(bobs(&world), all);
    bob_is_content(&world);
}

/// [P-4] The same where nothing waits: there is nothing to decide about but who goes on.
#[test]
fn a_decision_where_there_is_no_conflict_is_refused() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    let done = world.run("alice", &["init", "--take-over"]);
    assert_eq!(done.exit_and_effect(), (1, "none".to_owned()), "{}", done.err);
}
