//! One key in two places. [P-4] [P-5]

use super::{are, bob_is_content, bobs, keep, mine, own, put};
use crate::world::{Broker, World, json};

/// Two machines with one home: both wrote `/x`, the first one later; the second one was taken over.
fn taken_over(world: &World) -> Broker {
    let broker = world.alice_and_bob();
    put(world, "alice", "/common", "c");
    world.copy("alice", "second");
    keep(world, "second", "/x", "of the second");
    keep(world, "second", "/only-second", "2");
    put(world, "alice", "/only-first", "1");
    put(world, "alice", "/x", "of the first");
    // The first one's state moved on, so the copy is the one that finds an unknown head.
    let stopped = world.feed("second", &["put", "/more", "-"], "m");
    assert_eq!(stopped.exit_and_effect(), (1, "done".to_owned()), "{}", stopped.err);
    assert!(stopped.failure()["action"].as_str().is_some_and(|action| action.contains("--take-over")), "{}", stopped.err);
    let taken = json(&world.ok("second", &["init", "--take-over"]));
    assert_eq!((taken["result"].as_str(), taken["writers"].as_array().map(Vec::len)), (Some("taken over"), Some(1)), "{taken}");
    broker
}

/// Of the one value of `/x` that lost.
fn rescued(world: &World, node: &str) -> String {
    let listed = world.ok(node, &["rescued", "ls"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let value = json(listed.lines().next().expect("a line"));
    assert_eq!(value["path"], "/x");
    value["id"].as_str().expect("an id").to_owned()
}

#[test]
fn the_second_of_two_copies_stops_and_nothing_of_either_is_lost() {
    let world = World::new();
    let _broker = taken_over(&world);
    let all = are(&[("/common", "c"), ("/more", "m"), ("/only-first", "1"), ("/only-second", "2"), ("/x", "of the first")]);
    assert_eq!(mine(&world, "second"), all);
    assert_eq!(bobs(&world), all);
    bob_is_content(&world);
    let id = rescued(&world, "second");
    assert_eq!(json(&world.ok("second", &["rescued", "get", &id[..8]]))["value"], "of the second");
    assert_eq!(own(&world, "second")["rescued"], 1);
}

/// What they told to do was about readers and brokers, not about the conflict; the log of a node that runs said nothing of it.
#[test]
fn what_a_conflict_stops_says_how_it_ends_and_is_not_saved() {
    let world = World::new();
    let broker = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    world.copy("alice", "second");
    put(&world, "alice", "/b", "2");
    world.ok("carol", &["init"]);
    let card = json(&world.ok("carol", &["id"]))["card"].as_str().expect("a card").to_owned();
    let commands: [&[&str]; 3] = [&["grant", &card], &["revoke", "bob"], &["brokers", "remove", broker.place()]];
    for arguments in commands {
        let stopped = world.run("second", arguments);
        assert_eq!(stopped.exit_and_effect(), (1, "none".to_owned()), "{arguments:?}: {}", stopped.err);
        assert!(stopped.failure()["action"].as_str().is_some_and(|action| action.contains("--take-over")), "{}", stopped.err);
    }
    let readers = world.run("second", &["readers"]);
    assert!(readers.code == 0 && readers.out.lines().count() == 1 && readers.err.contains("--take-over"), "{readers:?}");
    let log = std::fs::File::create(world.path("log")).expect("a log");
    let mut up = crate::world::Running::begin_logged(&mut world.command("second", &["up"]), log);
    assert!(up.line().contains("did:key:"));
    world.ok("second", &["init", "--take-over"]);
    assert_eq!(up.end_with("TERM").code(), Some(0));
    let log = std::fs::read_to_string(world.path("log")).expect("a log");
    let said = |words: &str| log.matches(words).count();
    assert_eq!((said("nothing is signed"), said("what waits is signed")), (1, 1), "{log}");
}

/// A person may also let the first one go on, after the second one did.
#[test]
fn either_copy_may_be_taken_over_in_turn() {
    let world = World::new();
    let _broker = taken_over(&world);
    let stopped = world.feed("alice", &["put", "/late", "-"], "l");
    assert_eq!(stopped.exit_and_effect(), (1, "done".to_owned()), "{}", stopped.err);
    world.ok("alice", &["init", "--take-over"]);
    let expected =
        are(&[("/common", "c"), ("/late", "l"), ("/more", "m"), ("/only-first", "1"), ("/only-second", "2"), ("/x", "of the first")]);
    assert_eq!(mine(&world, "alice"), expected);
    assert_eq!(bobs(&world), expected);
    rescued(&world, "alice");
    bob_is_content(&world);
}

#[test]
fn a_rescued_value_that_is_taken_is_the_value_of_its_record_everywhere() {
    let world = World::new();
    let _broker = taken_over(&world);
    let id = rescued(&world, "second");
    world.ok("second", &["rescued", "take", &id]);
    assert_eq!(world.ok("second", &["rescued", "ls"]), "");
    assert_eq!(bobs(&world)["/x"], "of the second");
}

/// Also where another process runs the node.
#[test]
fn a_rescued_value_that_is_dropped_is_gone_and_its_record_stays() {
    let world = World::new();
    let _broker = taken_over(&world);
    let _up = world.up("second");
    let id = rescued(&world, "second");
    world.ok("second", &["rescued", "drop", &id]);
    assert_eq!((world.ok("second", &["rescued", "ls"]), own(&world, "second")["rescued"].as_u64()), (String::new(), Some(0)));
    assert_eq!(bobs(&world)["/x"], "of the first");
    assert_eq!(world.run("second", &["rescued", "take", &id]).exit_and_effect(), (1, "none".to_owned()));
}

/// [P-5] What belongs to the programs is neither written nor listed by applications.
#[test]
fn the_reserved_place_is_nobodys_to_write_or_to_read() {
    let world = World::new();
    let _broker = taken_over(&world);
    let id = rescued(&world, "second");
    let path = format!("/.tidings/rescued/{id}");
    assert_eq!(world.feed("second", &["put", &path, "-"], "v").exit_and_effect().0, 2);
    world.ok("bob", &["watch", "--once"]);
    for listed in
        [world.ok("bob", &["ls", "alice:"]), world.ok("bob", &["watch", "--once", "--from", "start"]), world.ok("second", &["ls"])]
    {
        assert!(!listed.contains(".tidings"), "{listed}");
    }
}
