//! What readers see, and what they are told when they cannot.

use std::fs::File;

use data_encoding::BASE64URL_NOPAD;

use crate::failed;
use crate::world::{World, json};

#[test]
fn what_alice_puts_bob_gets_verified() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/favorites/color", "blue");
    let record = json(&world.ok("bob", &["get", "alice:/favorites/color", "--fresh"]));
    assert_eq!((record["value"].as_str(), record["path"].as_str()), (Some("blue"), Some("/favorites/color")));
}

/// [P-17] The owner's readers are listed with what each has acknowledged.
#[test]
fn what_bob_has_seen_is_acknowledged_to_alice() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("bob", &["watch", "--once"]);
    let reader = json(&world.ok("alice", &["readers"]));
    assert_eq!(
        (reader["name"].as_str(), reader["acknowledged"]["offset"].as_u64(), reader["lag"].as_u64()),
        (Some("bob"), Some(1), Some(0))
    );
}

#[test]
fn a_watch_that_reaches_nobody_in_time_exits_with_5() {
    let world = World::new();
    let broker = world.alice_and_bob();
    world.without_storage();
    drop(broker);
    assert_eq!(world.run("bob", &["--timeout", "1s", "watch", "--once"]).exit_and_effect().0, 5);
}

/// [P-20] Another version is no forgery and no nonsense.
#[test]
fn an_invitation_of_another_version_is_told_apart_from_a_damaged_one() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("carol", &["init"]);
    let line = world.invitation("carol");
    let (prefix, body) = line.split_once(':').expect("a prefix");
    let mut bytes = BASE64URL_NOPAD.decode(body.as_bytes()).expect("base64url");
    let with = |bytes: &[u8]| world.run("carol", &["follow", &format!("{prefix}:{}", BASE64URL_NOPAD.encode(bytes))]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(with(&bytes).exit_and_effect(), (4, "none".to_owned()));
    bytes[last] ^= 1;
    bytes[0] = 2;
    let newer = with(&bytes);
    assert_eq!((newer.exit_and_effect(), newer.error().contains("version")), (failed("none"), true), "{}", newer.err);
    assert_eq!(with(&bytes[..bytes.len() / 2]).exit_and_effect(), failed("none"));
    world.ok("carol", &["follow", &line]);
}

#[test]
fn an_unknown_record_and_an_unknown_owner_are_named() {
    let world = World::new();
    world.ok("alice", &["init"]);
    for place in ["/nothing", "nobody:/a"] {
        assert_eq!(world.run("alice", &["get", place]).exit_and_effect(), failed("none"), "{place}");
    }
}

#[test]
fn a_watch_prints_a_change_as_it_happens_and_ends_with_0_when_interrupted() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    world.put("/favorites/color", "blue");
    let change = watch.event("change");
    assert_eq!((change["op"].as_str(), change["offset"].as_u64(), change["fetched"].as_bool()), (Some("create"), Some(1), Some(true)));
    assert_eq!(watch.end_with("INT").code(), Some(0));
}

/// [P-15] What was not printed is not acknowledged.
#[cfg(target_os = "linux")]
#[test]
fn changes_that_could_not_be_printed_come_again() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    let mut command = world.command("bob", &["watch", "--once"]);
    let done = command.stdout(File::create("/dev/full").expect("a full device")).output().expect("it starts");
    assert_eq!(done.status.code(), Some(1));
    let printed = world.ok("bob", &["watch", "--once"]);
    assert_eq!(printed.lines().filter(|line| line.contains(r#""path":"/a""#)).count(), 1);
    let again = world.ok("bob", &["watch", "--once"]);
    assert!(!again.contains(r#""event":"change""#), "{again}");
    assert!(world.ok("bob", &["watch", "--once", "--from", "start"]).contains(r#""path":"/a""#));
}

#[test]
fn who_is_unfollowed_is_forgotten() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("bob", &["watch", "--once"]);
    world.ok("bob", &["unfollow", "alice"]);
    assert_eq!(world.run("bob", &["get", "alice:/a", "--offline"]).code, 1);
}

#[test]
fn a_watch_goes_on_by_itself_when_the_broker_is_back() {
    let world = World::new();
    let mut broker = world.alice_and_bob();
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    world.without_storage();
    assert_eq!(broker.process.end_with("TERM").code(), Some(0));
    assert_eq!(watch.event("verdict")["verdict"], "up-to-date");
    // The storage answers too, and has nothing: that says nothing about the queue.
    assert_eq!(watch.event("verdict")["verdict"], "offline");
    let _broker = world.broker(broker.place(), &[]);
    world.put("/a", "1");
    assert_eq!(watch.event("change")["path"], "/a");
}

/// A script that read only standard output saw nothing at all.
#[test]
fn a_watch_that_reaches_nobody_prints_a_verdict() {
    let world = World::new();
    let broker = world.alice_and_bob();
    world.without_storage();
    drop(broker);
    let done = world.run("bob", &["--timeout", "1s", "watch", "--once"]);
    let last = json(done.out.lines().last().expect("a line"));
    assert_eq!((last["event"].as_str(), last["verdict"].as_str()), (Some("verdict"), Some("offline")), "{last}");
}

#[test]
fn who_follows_an_owner_twice_is_told_so_and_follows_once() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let again = json(&world.ok("bob", &["follow", &world.invitation("bob"), "--as", "alice"]));
    assert_eq!(again["result"], "renewed");
    assert_eq!(json(&world.ok("bob", &["status"]))["follows"].as_array().map(Vec::len), Some(1));
}

/// [P-17] From the receipt on, the broker serves that reader no more.
#[test]
fn a_revoked_reader_is_denied() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("bob", &["watch", "--once"]);
    let revoked = json(&world.ok("alice", &["revoke", "bob"]));
    assert_eq!(revoked["result"], "receipted");
    assert_eq!(world.ok("alice", &["readers"]), "");
    assert_eq!(world.run("bob", &["watch", "--once"]).exit_and_effect().0, 3);
    assert_eq!(world.run("alice", &["revoke", "bob"]).exit_and_effect(), failed("none"));
}
