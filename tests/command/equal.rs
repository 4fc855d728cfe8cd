//! A command prints the same and ends the same, whether it runs the node itself or another process does.

use serde_json::Value;

use crate::world::{Done, Running, World, json};

/// Names, addresses and times differ between two worlds; what a delta carried depends on when it was asked for, and when a tombstone
/// is purged on when its readers were heard of.
const DIFFERENT: [&str; 27] = [
    "address",
    "about",
    "acknowledged",
    "as_of",
    "bytes",
    "card",
    "detail",
    "did",
    "entries",
    "fingerprint",
    "floor",
    "home",
    "invitation",
    "lag",
    "live",
    "number",
    "owner",
    "pending",
    "queue",
    "reader",
    "since",
    "storage",
    "unreceipted",
    "writer",
    "written",
    "evidence",
    "action",
];

/// Each command with the node whose it is and its standard input.
const COMMANDS: [(&str, &str, &[&str]); 33] = [
    ("alice", "blue", &["put", "/favorites/color", "-"]),
    ("alice", "", &["get", "/favorites/color"]),
    ("alice", "", &["get", "/nothing"]),
    ("alice", "", &["get", "nobody:/a"]),
    ("alice", "", &["put", "no-path", "-"]),
    ("alice", "", &["put", "/a", "no-file"]),
    ("alice", "text", &["put", "/typed", "--content-type", "text/plain"]),
    ("alice", "{\"op\":\"put\",\"path\":\"/a\",\"value\":\"1\"}\nnonsense\n{\"op\":\"rm\",\"path\":\"/never\"}\n", &["apply"]),
    ("alice", "", &["apply", "no-file"]),
    ("alice", "", &["rm", "/typed"]),
    ("alice", "", &["rm", "/typed"]),
    ("alice", "", &["ls"]),
    ("alice", "", &["ls", "/favorites"]),
    ("alice", "", &["ls", "prefix"]),
    ("alice", "", &["readers"]),
    ("alice", "", &["status"]),
    ("alice", "", &["verify"]),
    ("alice", "", &["doctor"]),
    ("alice", "", &["grant", "no-card"]),
    ("alice", "", &["unfollow", "nobody"]),
    ("bob", "", &["follow", "no-invitation"]),
    ("bob", "", &["ls", "alice:"]),
    ("bob", "", &["ls", "alice:", "--offline"]),
    ("bob", "", &["get", "alice:/favorites/color", "--fresh"]),
    ("bob", "", &["get", "alice:/nothing"]),
    ("bob", "", &["watch", "--once"]),
    ("bob", "", &["watch", "--once", "--from", "start"]),
    ("bob", "", &["status"]),
    ("bob", "", &["verify", "alice"]),
    ("bob", "", &["verify", "nobody"]),
    ("alice", "", &["revoke", "nobody"]),
    ("alice", "", &["revoke", "bob"]),
    ("bob", "", &["unfollow", "alice"]),
];

/// What a command printed to both streams, and its exit code, without what differs between two worlds.
fn seen(done: &Done) -> (i32, Vec<Value>, Vec<Value>) {
    let lines = |text: &str| text.lines().filter(|line| line.starts_with('{')).map(|line| masked(json(line))).collect::<Vec<_>>();
    // Verdicts on the way to the last one come and go with the time that a connection takes.
    let out = lines(&done.out).into_iter().filter(|line| line["event"] != "verdict").collect();
    (done.code, out, lines(&done.err))
}

fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !DIFFERENT.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name, masked(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(masked).collect()),
        value => value,
    }
}

/// All commands, one after the other; `up` gives the nodes that run meanwhile.
fn play(up: impl FnOnce(&World) -> Vec<Running>) -> Vec<(i32, Vec<Value>, Vec<Value>)> {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let running = up(&world);
    let mut results = Vec::new();
    for (node, input, arguments) in COMMANDS {
        if node == "bob" && !running.is_empty() && arguments[0] != "unfollow" {
            // A running node hears of a change a moment after the receipt.
            let offset = json(&world.ok("alice", &["status"]))["own"]["offset"].as_u64().expect("an offset");
            world.wait_until("bob", |follow| follow["offset"].as_u64() == Some(offset));
        }
        results.push(seen(&world.feed(node, arguments, input)));
    }
    results
}

#[test]
fn beside_a_running_node_every_command_prints_and_ends_as_it_does_alone() {
    let alone = play(|_| Vec::new());
    let beside = play(|world| vec![world.up("alice"), world.up("bob")]);
    for ((alone, beside), command) in alone.iter().zip(&beside).zip(COMMANDS) {
        assert_eq!(alone, beside, "{command:?}");
    }
}

/// Byte for byte, with nothing to hide: a value, and a listing for people.
#[test]
fn beside_a_running_node_every_byte_comes_out_as_it_went_in() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let value: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let file = world.file("value", &value);
    world.ok("alice", &["put", "/a", &file]);
    let home = world.path("alice");
    let get = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.env("TIDINGS_HOME", &home).args(["get", "/a"]).output().expect("it starts").stdout
    };
    let alone = get();
    let _up = world.up("alice");
    assert_eq!((alone, get()), (value.clone(), value));
}
