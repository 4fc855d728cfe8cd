//! The command end to end, with real processes: what scripts rely on, and that each documented failure loses nothing.

#[path = "command/world.rs"]
mod world;

use std::fs::{self, File};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;

use world::{Done, World, json};

fn failed(effect: &str) -> (i32, String) {
    (1, effect.to_owned())
}

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
fn a_deleted_record_is_gone_for_both() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("alice", &["rm", "/a"]);
    assert_eq!((world.ok("alice", &["ls"]), world.ok("bob", &["ls", "alice:", "--fresh"])), (String::new(), String::new()));
}

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
    assert_eq!(fs::read(&state).expect("the state is there"), b"no state");
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

#[test]
fn a_write_that_does_not_wait_is_durable_and_published_by_the_next_command() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let saved = json(&world.ok("alice", &["put", "/a", &world.file("value", "1"), "--no-wait"]));
    assert_eq!(
        (saved["result"].as_str(), json(&world.ok("alice", &["ls", "--offline"]))["stage"].as_str()),
        (Some("saved"), Some("waiting"))
    );
    world.ok("alice", &["ls"]);
    assert_eq!(json(&world.ok("alice", &["ls", "--offline"]))["stage"], "receipted");
}

/// [P-16] An old answer says of when it is; who must have a fresh one is told that there is none.
#[test]
fn without_a_broker_a_followed_record_is_answered_with_its_time_or_not_at_all() {
    let world = World::new();
    let broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("bob", &["watch", "--once"]);
    drop(broker);
    let old = world.run("bob", &["--timeout", "1s", "get", "alice:/a"]);
    assert_eq!((old.code, json(&old.out)["value"].as_str(), old.err.starts_with("as of 2")), (0, Some("1"), true), "{old:?}");
    let fresh = world.run("bob", &["--timeout", "1s", "get", "alice:/a", "--fresh"]);
    assert_eq!((fresh.exit_and_effect(), fresh.out.as_str()), ((5, "none".to_owned()), ""));
}

#[test]
fn a_watch_that_reaches_nobody_in_time_exits_with_5() {
    let world = World::new();
    let broker = world.alice_and_bob();
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
fn a_value_over_the_cap_changes_nothing() {
    let world = World::new();
    world.ok("alice", &["init"]);
    let value = world.file("value", "a".repeat(4097));
    assert_eq!(world.run("alice", &["put", "/a", &value]).exit_and_effect(), failed("none"));
    assert_eq!(world.ok("alice", &["ls"]), "");
}

#[test]
fn what_is_no_path_is_a_usage_error() {
    let world = World::new();
    world.ok("alice", &["init"]);
    for path in ["color", "/a/", "//a", "/a/../b", "/a\tb", "/e\u{301}"] {
        assert_eq!(world.run("alice", &["put", path, &world.file("value", "1")]).exit_and_effect(), (2, "none".to_owned()), "{path}");
    }
}

#[test]
fn a_wrong_option_is_a_usage_error_in_json_too() {
    let world = World::new();
    assert_eq!(world.run("alice", &["ls", "--nonsense"]).exit_and_effect(), (2, "none".to_owned()));
}

#[test]
fn a_storage_that_this_version_lacks_is_refused_and_nothing_is_made() {
    let world = World::new();
    for storage in ["file:///tmp/x", "s3://bucket/prefix", "memory:"] {
        assert_eq!(world.run("alice", &["init", "--storage", storage]).exit_and_effect(), (2, "none".to_owned()), "{storage}");
    }
    assert!(!world.path("alice").exists());
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
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    let done = world.run("bob", &["--timeout", "100ms", "ls"]);
    assert_eq!((done.exit_and_effect(), done.error().contains(&watch.pid().to_string())), (failed("none"), true), "{}", done.err);
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
fn apply_answers_each_line_in_order_and_fails_only_the_bad_ones() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let lines = concat!(
        "{\"op\":\"put\",\"path\":\"/a\",\"value\":\"1\"}\n",
        "{\"op\":\"rm\",\"path\":\"/never\"}\n",
        "nonsense\n\n",
        "{\"op\":\"put\",\"path\":\"/b\",\"value\":\"2\"}\n",
    );
    let done = world.feed("alice", &["apply"], lines);
    let results: Vec<_> =
        done.out.lines().map(|line| (json(line)["line"].as_u64(), json(line)["result"].as_str().map(str::to_owned))).collect();
    let expected = [(1, "receipted"), (2, "failed"), (3, "failed"), (5, "receipted")];
    assert_eq!(results, expected.map(|(line, result)| (Some(line), Some(result.to_owned()))));
    assert_eq!(done.exit_and_effect(), failed("done"));
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
fn every_shell_gets_its_completions() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(world.ok("nobody", &["completions", shell]).contains("unfollow"), "{shell}");
    }
}
