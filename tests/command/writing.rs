//! What owners write, and what becomes of it.

use crate::failed;
use crate::world::{World, json};

#[test]
fn a_deleted_record_is_gone_for_both() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    world.ok("alice", &["rm", "/a"]);
    assert_eq!((world.ok("alice", &["ls"]), world.ok("bob", &["ls", "alice:", "--fresh"])), (String::new(), String::new()));
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
    for arguments in [["ls", "--nonsense"], ["put", "--no-wait"], ["init", "--broker=https://broker.example"]] {
        assert_eq!(world.run("alice", &arguments).exit_and_effect(), (2, "none".to_owned()), "{arguments:?}");
    }
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
    assert_eq!(world.feed("alice", &["apply"], "nonsense\n").exit_and_effect(), failed("none"));
}

#[test]
fn every_byte_of_a_value_comes_out_as_it_went_in() {
    let world = World::new();
    let value: Vec<u8> = (0..=255).collect();
    let home = world.path("alice");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.env("TIDINGS_HOME", &home).args(arguments).output().expect("it starts")
    };
    run(&["init"]);
    run(&["put", "/a", &world.file("value", &value), "--no-wait"]);
    assert_eq!(run(&["get", "/a", "--offline"]).stdout, value);
}

/// `revoke` and listings know readers by their names.
#[test]
fn two_readers_do_not_share_a_name() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("carol", &["init"]);
    let card = |node: &str| json(&world.ok(node, &["id"]))["card"].as_str().expect("a card").to_owned();
    assert_eq!(world.run("alice", &["grant", &card("carol"), "--as", "bob"]).exit_and_effect(), (2, "none".to_owned()));
    world.ok("alice", &["grant", &card("bob"), "--as", "bob"]);
}

#[test]
fn the_own_entries_match_the_signed_head() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    world.put("/b", "2");
    let verified = json(&world.ok("alice", &["verify"]));
    assert_eq!((verified["matches"].as_bool(), verified["live"].as_u64()), (Some(true), Some(2)), "{verified}");
}

#[test]
fn what_is_no_evidence_is_told_apart() {
    let world = World::new();
    let file = world.file("nothing.evidence", "nothing");
    assert_eq!(world.run("nobody", &["verify", "--evidence", &file]).exit_and_effect(), failed("none"));
}

#[test]
fn a_doctor_names_a_broker_that_is_away() {
    let world = World::new();
    let broker = world.alice_and_bob();
    let well = world.ok("alice", &["doctor"]);
    assert!(well.lines().all(|line| json(line)["ok"] == true), "{well}");
    drop(broker);
    let ill = world.run("alice", &["--timeout", "1s", "doctor"]);
    let broker = ill.out.lines().map(json).find(|check| check["check"] == "broker").expect("a check");
    assert_eq!((ill.exit_and_effect().0, broker["ok"].as_bool()), (5, Some(false)), "{broker}");
}

#[test]
fn there_is_a_page_for_every_command() {
    let world = World::new();
    assert!(world.ok("nobody", &["man"]).contains("unfollow"));
    assert!(world.ok("nobody", &["man", "apply"]).contains("JSON lines"));
    assert_eq!(world.run("nobody", &["man", "nonsense"]).exit_and_effect().0, 2);
}

#[test]
fn every_shell_gets_its_completions() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(world.ok("nobody", &["completions", shell]).contains("unfollow"), "{shell}");
    }
}
