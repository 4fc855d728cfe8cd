//! The broker as a process.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use crate::failed;
use crate::world::{Running, World, json};

/// [P-3] What is saved is published later, once.
#[test]
fn a_write_without_a_broker_is_saved_and_the_next_command_publishes_it() {
    let world = World::new();
    let broker = world.alice_and_bob();
    let place = broker.place().to_owned();
    drop(broker);
    let value = world.file("value", "blue");
    let done = world.run("alice", &["--timeout", "1s", "put", "/a", &value]);
    assert_eq!(done.exit_and_effect(), (5, "done".to_owned()), "{}", done.err);
    let _broker = world.broker(&place, &[]);
    world.ok("alice", &["ls"]);
    assert_eq!(json(&world.ok("alice", &["ls", "--offline"]))["stage"], "receipted");
    assert_eq!(json(&world.ok("bob", &["get", "alice:/a", "--fresh"]))["value"], "blue");
}

/// [P-16] An old answer says of when it is; who must have a fresh one is told that there is none.
#[test]
fn without_a_broker_a_followed_record_is_answered_with_its_time_or_not_at_all() {
    let world = World::new();
    let broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("bob", &["watch", "--once"]);
    world.without_storage();
    drop(broker);
    let old = world.run("bob", &["--timeout", "1s", "get", "alice:/a"]);
    assert_eq!((old.code, json(&old.out)["value"].as_str(), old.err.starts_with("as of 2")), (0, Some("1"), true), "{old:?}");
    let fresh = world.run("bob", &["--timeout", "1s", "get", "alice:/a", "--fresh"]);
    assert_eq!((fresh.exit_and_effect(), fresh.out.as_str()), ((5, "none".to_owned()), ""));
}

/// A broker that came back gave connection ids under a new key, so it dropped the packets of old connections without a word,
/// and whoever was connected waited half a minute for the silence to be long enough.
#[test]
fn a_broker_that_was_killed_and_is_back_is_noticed_at_once() {
    let world = World::new();
    let broker = world.alice_and_bob();
    let mut apply = world.begin_fed("alice", &["apply"]);
    apply.feed(r#"{"op":"put","path":"/a","value":"1"}"#);
    assert_eq!(json(&apply.line())["result"], "receipted");
    let place = broker.place().to_owned();
    drop(broker);
    let _broker = world.broker(&place, &[]);
    let began = Instant::now();
    apply.feed(r#"{"op":"put","path":"/b","value":"2"}"#);
    assert_eq!((json(&apply.line())["result"].as_str(), began.elapsed() < Duration::from_secs(10)), (Some("receipted"), true));
}

#[test]
fn a_broker_prints_two_lines_and_drains_when_it_is_told_to_end() {
    let world = World::new();
    let mut broker = world.broker("127.0.0.1:0", &[]);
    assert!(broker.address.starts_with("tidings://127.0.0.1:") && broker.address.contains("?pin="));
    assert_eq!(broker.process.end_with("TERM").code(), Some(0));
    assert_eq!(broker.process.line(), "");
}

#[test]
fn two_brokers_do_not_share_a_folder() {
    let world = World::new();
    let _broker = world.broker("127.0.0.1:0", &[]);
    let data = world.path("broker").to_string_lossy().into_owned();
    assert_eq!(world.run("nobody", &["broker", "--data", &data, "--listen", "127.0.0.1:0"]).exit_and_effect(), failed("none"));
}

#[test]
fn an_owner_publishes_only_while_it_is_allowed() {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &["--admit", "list"]);
    let data = world.path("broker").to_string_lossy().into_owned();
    let did = json(&world.ok("alice", &["init", "--broker", &broker.address]))["did"].as_str().expect("a did").to_owned();
    let put = |path: &str| world.run("alice", &["--timeout", "10s", "put", path, &world.file("value", "1")]);
    assert_eq!(put("/a").exit_and_effect(), (3, "done".to_owned()));
    world.ok("nobody", &["broker", "allow", &did, "--data", &data]);
    assert_eq!(put("/b").code, 0);
    world.ok("nobody", &["broker", "deny", &did, "--data", &data]);
    assert_eq!(put("/c").exit_and_effect(), (3, "done".to_owned()));
}

#[test]
fn a_broker_takes_its_settings_from_a_file_and_the_command_line_goes_first() {
    let world = World::new();
    let data = world.path("broker").to_string_lossy().into_owned();
    let settings = format!("data = {data:?}\nlisten = \"[::1]:1\"\npublic = \"broker.example:4433\"\n");
    let mut broker = world.begin("nobody", &["broker", "--config", &world.file("broker.toml", settings), "--listen", "127.0.0.1:0"]);
    assert!(broker.line().starts_with("listening on 127.0.0.1:"));
    assert!(broker.line().starts_with("tidings://broker.example:4433?pin="));
}

/// [P-1] What the operator can read of it, at any level, names no record and no value.
#[test]
fn the_log_of_a_broker_holds_no_path_and_no_value() {
    let world = World::new();
    let data = world.path("broker").to_string_lossy().into_owned();
    let log = File::create(world.path("log")).expect("the folder is writable");
    let mut command = world.command("nobody", &["--log", "trace", "broker", "--data", &data, "--listen", "127.0.0.1:0"]);
    let mut broker = Running::begin_logged(&mut command, log);
    broker.line();
    world.ok("alice", &["init", "--broker", &broker.line()]);
    world.put("/favorites/color", "ultramarine");
    assert_eq!(broker.end_with("TERM").code(), Some(0));
    let log = fs::read_to_string(world.path("log")).expect("a log");
    assert!(log.contains("draining") && !log.contains("favorites") && !log.contains("ultramarine"));
}

/// A mistyped folder was once made, with an admission list that no broker read.
#[test]
fn who_may_publish_is_not_kept_in_a_folder_that_is_no_brokers() {
    let world = World::new();
    let did = json(&world.ok("alice", &["init"]))["did"].as_str().expect("a did").to_owned();
    let data = world.path("nowhere").to_string_lossy().into_owned();
    for decision in ["allow", "deny"] {
        let done = world.run("nobody", &["broker", decision, &did, "--data", &data]);
        assert_eq!((done.exit_and_effect(), done.error().contains("no broker's folder")), (failed("none"), true), "{}", done.err);
    }
    assert!(!world.path("nowhere").exists());
}

/// A broker on loopback is open if nobody says otherwise, and then a denial changes nothing.
#[test]
fn who_denies_an_owner_is_told_where_that_counts() {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &[]);
    let did = json(&world.ok("alice", &["init", "--broker", &broker.address]))["did"].as_str().expect("a did").to_owned();
    let data = world.path("broker").to_string_lossy().into_owned();
    let done = world.run("nobody", &["broker", "deny", &did, "--data", &data]);
    assert_eq!((done.code, done.err.contains("--admit list")), (0, true), "{}", done.err);
}
