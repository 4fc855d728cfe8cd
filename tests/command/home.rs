//! A home: its key, its state, its settings, its lock.

use std::fs;
use std::time::{Duration, Instant};

use crate::failed;
use crate::world::{Done, World, json};

#[test]
fn a_damaged_key_is_named_and_left_alone() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let key = world.path("alice/node.key");
    let good = fs::read(&key).expect("the key is there");
    let bad = &good[..good.len() / 2];
    fs::write(&key, bad).expect("the folder is writable");
    let done = world.run("alice", &["ls"]);
    assert_eq!((done.exit_and_effect(), done.error().contains("node.key")), (failed("none"), true), "{}", done.err);
    assert_eq!(fs::read(&key).expect("the key is there"), bad);
    fs::write(&key, good).expect("the folder is writable");
    world.ok("alice", &["ls"]);
}

#[test]
fn a_damaged_state_is_named_and_left_alone() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let state = world.path("alice/state.redb");
    fs::write(&state, "no state").expect("the folder is writable");
    let done = world.run("alice", &["ls"]);
    assert_eq!((done.exit_and_effect(), done.error().contains("state.redb")), (failed("none"), true), "{}", done.err);
    let action = done.failure()["action"].to_string();
    assert!(action.contains("--restore") && action.contains("--take-over"), "{action}");
    assert_eq!(fs::read(&state).expect("the state is there"), b"no state");
}

/// A command that ends lets go of the lock of its home a moment before it lets go of the state. Whoever had waited for the lock, an `up`
/// that was begun beside it, ended with "state.redb is in use by another process".
#[test]
fn a_state_that_another_process_is_letting_go_of_is_waited_for() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let state = tidings_client::State::open(&world.path("alice/state.redb")).expect("nobody has it");
    let mut listing = world.command("alice", &["ls"]).spawn().expect("it starts");
    let listing_id = listing.id();
    let has_lock = || fs::read_to_string(world.path("alice/lock")).is_ok_and(|text| text.trim() == listing_id.to_string());
    while !has_lock() {}
    // Long enough for somebody who does not wait to fail.
    let locked = Instant::now();
    while locked.elapsed() < Duration::from_millis(500) && listing.try_wait().expect("ours").is_none() {}
    drop(state);
    assert!(listing.wait().expect("it ends").success());
}

/// [P-3] A missing state was once made anew in silence: the node would have signed its first head a second time.
#[test]
fn a_missing_state_is_not_made_anew() {
    let world = World::new();
    world.ok("alice", &["init"]);
    fs::remove_file(world.path("alice/state.redb")).expect("the folder is writable");
    for arguments in [["ls"].as_slice(), &["put", "/a", "-"]] {
        let done = world.feed("alice", arguments, "value");
        assert_eq!((done.exit_and_effect(), done.error().contains("is missing")), (failed("none"), true), "{}", done.err);
    }
    assert!(!world.path("alice/state.redb").exists());
}

#[test]
fn no_new_key_is_made_beside_the_state_of_another() {
    let world = World::new();
    world.ok("alice", &["init"]);
    fs::remove_file(world.path("alice/node.key")).expect("the folder is writable");
    assert_eq!(world.run("alice", &["init"]).exit_and_effect(), failed("none"));
    assert!(!world.path("alice/node.key").exists());
}

#[test]
fn a_broker_without_a_pin_is_a_usage_error_and_nothing_is_made() {
    let world = World::new();
    let done = world.run("alice", &["init", "--broker", "tidings://127.0.0.1:4433"]);
    assert_eq!(done.exit_and_effect().0, 2, "{}", done.err);
    assert!(!world.path("alice/node.key").exists());
}

#[test]
fn a_second_init_replaces_no_key() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let key = fs::read(world.path("alice/node.key")).expect("the key is there");
    assert_eq!(world.run("alice", &["init"]).exit_and_effect(), failed("none"));
    assert_eq!(fs::read(world.path("alice/node.key")).expect("the key is there"), key);
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_the_key() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.ok("alice", &["init"]);
    for name in ["alice/node.key", "alice/state.redb"] {
        let mode = fs::metadata(world.path(name)).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// A key that a copy or a backup had opened to everybody was used without a word.
#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.ok("alice", &["init"]);
    let key = world.path("alice/node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let done = world.run("alice", &["id"]);
    let action = done.failure()["action"].as_str().expect("text").to_owned();
    assert_eq!((done.exit_and_effect(), action.contains("chmod 600")), (failed("none"), true), "{}", done.err);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    world.ok("alice", &["id"]);
}

#[test]
fn a_sealed_key_opens_only_with_its_passphrase() {
    let world = World::new();
    let with = |passphrase: &str, arguments: &[&str]| {
        let mut command = world.command("alice", arguments);
        command.env("TIDINGS_PASSPHRASE_FILE", world.file("passphrase", passphrase));
        Done::of(command)
    };
    assert_eq!(with("correct horse\n", &["init"]).code, 0);
    assert_eq!(with("correct horse\n", &["id"]).code, 0);
    let wrong = with("battery staple\n", &["id"]);
    assert_eq!((wrong.exit_and_effect(), wrong.error().contains("passphrase is wrong")), (failed("none"), true), "{}", wrong.err);
}

#[test]
fn a_storage_that_is_none_or_does_not_last_is_refused_and_nothing_is_made() {
    let world = World::new();
    let long = format!("file:///{}", "x".repeat(512));
    for storage in ["memory:", "ftp://host/x", "file://relative", &long] {
        assert_eq!(world.run("alice", &["init", "--storage", storage]).exit_and_effect(), (2, "none".to_owned()), "{storage}");
    }
    assert!(!world.path("alice").exists());
}

#[test]
fn storages_that_were_named_are_kept_in_the_settings_and_used() {
    let world = World::new();
    let places = ["first", "second"].map(|name| format!("file://{}", world.path(name).display()));
    world.ok("alice", &["init", "--storage", &places[0], "--storage", &places[1]]);
    let status = json(&world.ok("alice", &["status", "--offline"]));
    assert_eq!(status["own"]["storage"]["addresses"], serde_json::json!(places));
}

/// `init` once wrote over the settings of a folder whose key was missing, or was never there.
#[test]
fn settings_in_a_folder_without_a_key_are_not_written_over() {
    let world = World::new();
    let settings = world.path("alice/config.toml");
    fs::create_dir(world.path("alice")).expect("a folder");
    fs::write(&settings, "brokers = []\nstorage = [\"file:///somewhere\"]\n").expect("the folder is writable");
    let before = fs::read(&settings).expect("the settings are there");
    let done = world.run("alice", &["init"]);
    assert_eq!((done.exit_and_effect(), done.error().contains("config.toml")), (failed("none"), true), "{}", done.err);
    assert_eq!((fs::read(&settings).expect("the settings are there"), world.path("alice/node.key").exists()), (before, false));
    // What an interrupted `init` left is no reason to refuse the same one.
    fs::write(&settings, "brokers = []\nstorage = []\n").expect("the folder is writable");
    world.ok("alice", &["init"]);
}

#[test]
fn an_unknown_key_in_the_settings_is_an_error_that_names_its_line() {
    let world = World::new();
    world.ok("alice", &["init"]);
    fs::write(world.path("alice/config.toml"), "brokers = []\nstorrage = 1\n").expect("the folder is writable");
    let done = world.run("alice", &["ls"]);
    assert_eq!((done.exit_and_effect(), done.error().contains("line 2")), (failed("none"), true), "{}", done.err);
}

#[test]
fn a_fingerprint_that_differs_is_named_and_nothing_is_granted() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let (alice, bob) = (json(&world.ok("alice", &["id"])), json(&world.ok("bob", &["id"])));
    let (fingerprint, card) = (alice["fingerprint"].as_str().expect("text"), bob["card"].as_str().expect("text"));
    world.ok("alice", &["id", "--check", fingerprint]);
    assert_eq!(world.run("alice", &["grant", card, "--check", fingerprint]).exit_and_effect(), (4, "none".to_owned()));
}

#[test]
fn a_second_command_waits_and_then_names_the_process() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let mut apply = world.begin_fed("alice", &["apply"]);
    apply.feed(r#"{"op":"put","path":"/a","value":"1"}"#);
    apply.line();
    let done = world.run("alice", &["--timeout", "100ms", "ls"]);
    assert_eq!((done.exit_and_effect(), done.error().contains(&apply.pid().to_string())), (failed("none"), true), "{}", done.err);
}
