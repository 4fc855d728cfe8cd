//! Commands that another process carries out, since it runs the node.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::failed;
use crate::world::{Done, World, json};

#[test]
fn a_node_that_runs_ends_with_0_when_it_is_told_to_and_takes_its_socket_along() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let mut up = world.up("alice");
    let mode = fs::metadata(world.path("alice/control.sock")).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(up.end_with("TERM").code(), Some(0));
    assert!(!world.path("alice/control.sock").exists());
}

/// [P-3] What was saved while the broker was away needs no further command.
#[test]
fn a_node_that_runs_publishes_what_waits_when_the_broker_is_back() {
    let world = World::new();
    let broker = world.alice_and_bob();
    let place = broker.place().to_owned();
    drop(broker);
    let _up = world.up("alice");
    let done = world.run("alice", &["--timeout", "1s", "put", "/a", &world.file("value", "1")]);
    assert_eq!(done.exit_and_effect(), (5, "done".to_owned()), "{}", done.err);
    let _broker = world.broker(&place, &[]);
    assert_eq!(world.begin("bob", &["watch"]).event("change")["path"], "/a");
}

#[test]
fn a_second_node_in_one_home_is_told_who_runs_there() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let up = world.up("alice");
    let done = world.run("alice", &["--timeout", "100ms", "up"]);
    assert_eq!((done.exit_and_effect(), done.error().contains(&up.pid().to_string())), (failed("none"), true), "{}", done.err);
}

#[test]
fn the_socket_of_a_node_that_was_killed_is_in_nobodys_way() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    drop(world.up("alice"));
    assert!(world.path("alice/control.sock").exists());
    world.ok("alice", &["ls"]);
    let _up = world.up("alice");
    world.ok("alice", &["ls"]);
}

/// A command line of another version may mean something else.
#[test]
fn a_caller_of_another_version_is_told_so_and_nothing_is_carried_out() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("alice");
    let mut stream = UnixStream::connect(world.path("alice/control.sock")).expect("somebody listens");
    // A hello and a command: kind, length, body.
    stream.write_all(b"\x01\0\0\0\x05never\x02\0\0\0\x02{}").expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    assert_eq!((answer[0], &answer[5..]), (34, env!("CARGO_PKG_VERSION").as_bytes()));
}

/// Two terminals and a script at once: nothing is lost, nothing waits for a lock.
#[test]
fn many_writers_use_one_running_node_at_once() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("alice");
    let value = world.file("value", "1");
    let lines: String = (0..300).map(|number| format!("{{\"op\":\"put\",\"path\":\"/apply/{number}\",\"value\":\"1\"}}\n")).collect();
    let puts = |terminal: &str| {
        for number in 0..300 {
            world.ok("alice", &["put", &format!("/{terminal}/{number}"), &value]);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| puts("one"));
        scope.spawn(|| puts("two"));
        scope.spawn(|| assert_eq!(world.feed("alice", &["apply"], &lines).code, 0));
    });
    let listed: BTreeSet<_> = world.ok("alice", &["ls"]).lines().map(|line| json(line)["path"].to_string()).collect();
    assert_eq!(listed.len(), 900);
}

#[test]
fn a_watch_that_is_carried_out_elsewhere_ends_with_0_when_it_is_interrupted() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("bob");
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    assert_eq!(watch.end_with("INT").code(), Some(0));
    world.ok("bob", &["status"]);
}

#[test]
fn a_caller_that_stops_reading_holds_up_only_itself() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("alice");
    let lines: String = (0..600).map(|number| format!("{{\"op\":\"put\",\"path\":\"/{number}\",\"value\":\"1\"}}\n")).collect();
    assert_eq!(world.feed("alice", &["apply"], &lines).code, 0);
    // Much more than a pipe holds.
    let mut silent = world.begin("alice", &["ls"]);
    silent.line();
    world.put("/after", "1");
    assert_eq!(silent.rest().lines().count(), 599);
}

#[test]
fn an_apply_through_the_socket_answers_each_line_as_it_comes() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("alice");
    let mut apply = world.begin_fed("alice", &["apply"]);
    for path in ["/a", "/b"] {
        apply.feed(&format!(r#"{{"op":"put","path":"{path}","value":"1"}}"#));
        let line = json(&apply.line());
        assert_eq!((line["path"].as_str(), line["result"].as_str()), (Some(path), Some("receipted")));
    }
}

/// The caller's folder counts, not that of the process that runs the node.
#[test]
fn files_are_those_of_the_caller() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("alice");
    world.file("here", "mine");
    let folder = world.path("");
    let in_folder = |arguments: &[&str]| {
        let mut command = world.command("alice", arguments);
        command.current_dir(&folder);
        Done::of(command)
    };
    world.file("lines", r#"{"op":"put","path":"/b","file":"here"}"#);
    assert_eq!((in_folder(&["put", "/a", "here"]).code, in_folder(&["apply", "lines"]).code), (0, 0));
    let value = |path: &str| json(&world.ok("alice", &["get", path]))["value"].clone();
    assert_eq!((value("/a"), value("/b")), ("mine".into(), "mine".into()));
}

#[test]
fn a_put_whose_node_is_killed_may_have_taken_effect() {
    let world = World::new();
    let broker = world.alice_and_bob();
    drop(broker);
    let mut up = world.up("alice");
    let mut command = world.command("alice", &["put", "/a", &world.file("value", "1")]);
    let put = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    while world.ok("alice", &["ls", "--offline"]).is_empty() {}
    up.end_with("KILL");
    let done = Done::from(put.wait_with_output().expect("it ends"));
    assert_eq!(done.exit_and_effect(), failed("unknown"), "{}", done.err);
}

/// A value that was cut off is no value.
#[test]
fn an_apply_whose_caller_is_killed_writes_no_half_line() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let _up = world.up("alice");
    let mut apply = world.begin_fed("alice", &["apply"]);
    apply.feed(r#"{"op":"put","path":"/whole","value":"1"}"#);
    apply.line();
    apply.feed_part(r#"{"op":"rm","path":"/whole"}"#);
    apply.end_with("KILL");
    assert!(world.ok("alice", &["ls"]).contains("/whole"));
}

#[test]
fn who_is_followed_beside_a_running_node_is_read_at_once_and_forgotten_at_once() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.ok("bob", &["unfollow", "alice"]);
    let _up = world.up("bob");
    world.ok("bob", &["follow", &world.invitation("bob"), "--as", "alice"]);
    world.put("/a", "1");
    world.wait_for("bob", 1, 1);
    world.ok("bob", &["unfollow", "alice"]);
    assert_eq!(json(&world.ok("bob", &["status"]))["follows"].as_array().map(Vec::len), Some(0));
}

/// [P-15] Whoever prints a change prints it for the home.
#[test]
fn of_two_watches_each_change_is_printed_once() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let mut watches = [world.begin("bob", &["watch"]), world.begin("bob", &["watch"])];
    watches.iter_mut().for_each(|watch| drop(watch.event("caught-up")));
    for number in 0..20 {
        world.put(&format!("/{number}"), "1");
    }
    world.wait_for("bob", 20, 0);
    let mut paths = Vec::new();
    for watch in watches.iter_mut().rev() {
        assert_eq!(watch.end_with("INT").code(), Some(0));
        let changes = watch.rest().lines().map(json).filter(|event| event["event"] == "change").collect::<Vec<_>>();
        paths.extend(changes.into_iter().map(|change| change["path"].to_string()));
    }
    assert_eq!((paths.len(), paths.iter().collect::<BTreeSet<_>>().len()), (20, 20));
}

/// [P-15] What the caller could not write was not printed.
#[cfg(target_os = "linux")]
#[test]
fn changes_that_a_caller_could_not_print_come_again() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/a", "1");
    let _up = world.up("bob");
    world.wait_for("bob", 1, 1);
    let mut command = world.command("bob", &["watch", "--once"]);
    let done = command.stdout(fs::File::create("/dev/full").expect("a full device")).output().expect("it starts");
    assert_eq!(done.status.code(), Some(1));
    assert!(world.ok("bob", &["watch", "--once"]).contains(r#""path":"/a""#));
    assert!(!world.ok("bob", &["watch", "--once"]).contains(r#""path":"/a""#));
}
