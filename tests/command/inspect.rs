//! What an operator is shown.

use crate::failed;
use crate::world::{World, json};

/// [P-1] Beside the running broker, which goes on; no path and no value is among it.
#[test]
fn an_operator_sees_who_publishes_and_how_much_but_not_what() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    world.put("/favorites/color", "blue");
    let data = world.path("broker").to_string_lossy().into_owned();
    let printed = world.ok("nobody", &["broker", "inspect", "--data", &data, "--entries"]);
    let lines: Vec<_> = printed.lines().map(json).collect();
    let seen: Vec<_> = lines.iter().map(|line| line["seen"].as_str().expect("what it is of")).collect();
    assert_eq!(seen, ["queue", "class", "reader", "reader", "entry"]);
    assert_eq!((lines[0]["owner"].as_str(), lines[0]["live"].as_u64()), (json(&world.ok("alice", &["id"]))["did"].as_str(), Some(1)));
    assert_eq!((lines[1]["padded_bytes"].as_u64(), lines[1]["entries"].as_u64()), (Some(256), Some(1)));
    assert!(!printed.contains("favorites") && !printed.contains("blue") && !printed.contains("bob"), "{printed}");
    world.put("/favorites/color", "green");
}

#[test]
fn an_operator_sees_who_was_allowed() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    let did = json(&world.ok("bob", &["id"]))["did"].as_str().expect("a name").to_owned();
    let data = world.path("broker").to_string_lossy().into_owned();
    world.ok("nobody", &["broker", "allow", &did, "--data", &data]);
    let printed = world.ok("nobody", &["broker", "inspect", "--data", &data]);
    assert!(printed.lines().map(json).any(|line| line["seen"] == "admitted" && line["did"] == did.as_str()), "{printed}");
}

#[test]
fn what_is_no_brokers_folder_is_not_made_one() {
    let world = World::new();
    let nothing = world.path("nothing").to_string_lossy().into_owned();
    assert_eq!(world.run("nobody", &["broker", "inspect", "--data", &nothing]).exit_and_effect(), failed("none"));
    assert!(!world.path("nothing").exists());
}
