//! A broker, or a storage, whose disk is full.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use super::disk::Disk;
use crate::world::{Broker, Done, Running, World, json, port};

/// Room for the logs and tables of a broker. It starts to write again when 16 MiB are free.
const BROKER_MIB: u32 = 160;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(90);

/// A broker whose log is in the file `log`.
fn logged_broker(world: &World, listen: &str) -> Broker {
    let data = world.path("broker").to_string_lossy().into_owned();
    let log = File::options().create(true).append(true).open(world.path("log")).expect("a log");
    let mut process = Running::begin_logged(&mut world.command("nobody", &["broker", "--data", &data, "--listen", listen]), log);
    assert!(process.line().starts_with("listening on "));
    let address = process.line();
    Broker { process, address }
}

fn log(world: &World) -> String {
    fs::read_to_string(world.path("log")).expect("a log")
}

/// Until it is so.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// More publishes than fit into the log that a broker has reserved already. Gives the records that were receipted, and the failure.
fn publish_too_much(world: &World) -> (Vec<String>, Done) {
    let line = |number| format!("{{\"op\":\"put\",\"path\":\"/full/{number}\",\"value\":\"{}\"}}\n", "x".repeat(3_000));
    let done = world.feed("alice", &["--timeout", "10s", "apply"], &(0..3_000).map(line).collect::<String>());
    let receipted = done.out.lines().map(json).filter(|line| line["result"] == "receipted");
    (receipted.map(|line| line["path"].as_str().expect("a path").to_owned()).collect(), done)
}

/// [P-7] A publish that meets a full disk is refused with a reason, what was receipted is served meanwhile and afterwards, and the same
/// process takes publishes again when there is space.
#[test]
fn a_broker_whose_disk_is_full_refuses_serves_and_goes_on_when_there_is_space() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path("broker"), BROKER_MIB) else { return };
    let mut broker = logged_broker(&world, &format!("127.0.0.1:{}", port::steady()));
    world.ok("alice", &["init", "--broker", &broker.address]);
    world.ok("bob", &["init"]);
    world.ok("bob", &["follow", &world.invitation("bob"), "--as", "alice"]);
    world.put("/a", "1");
    disk.fill();
    let (receipted, refused) = publish_too_much(&world);
    assert_eq!((refused.exit_and_effect().1.as_str(), refused.code == 3 || refused.code == 5), ("done", true), "{refused:?}");
    assert!(refused.error().contains("disk is full") || refused.error().contains("not known whether"), "{refused:?}");
    let again = world.run("alice", &["--timeout", "10s", "put", "/again", &world.file("value", "2")]);
    assert!(again.code != 0 && again.error().contains("disk is full; nothing changed"), "{again:?}");
    world.without_storage();
    assert_eq!(json(&world.ok("bob", &["get", "alice:/a", "--fresh"]))["value"], "1");
    disk.free();
    eventually("publishes are taken again", || world.run("alice", &["--timeout", "5s", "put", "/b", &world.file("value", "3")]).code == 0);
    assert_eq!(json(&world.ok("bob", &["get", "alice:/b", "--fresh"]))["value"], "3");
    eventually("the operator is told", || log(&world).contains("there is space again"));
    let log = log(&world);
    assert!(log.contains("the disk is full: publishes"), "{log}");
    assert!(!log.contains("error=the disk is full"), "a full disk is told once, not for each publish: {log}");
    assert_eq!(broker.process.end_with("KILL").code(), None);
    let _broker = logged_broker(&world, broker.place());
    assert_eq!(json(&world.ok("bob", &["get", "alice:/again", "--fresh"]))["value"], "2");
    let listed = world.ok("bob", &["ls", "alice:/full"]);
    let listed: BTreeSet<_> = listed.lines().map(|line| json(line)["path"].as_str().expect("a path").to_owned()).collect();
    assert!(
        !receipted.is_empty() && receipted.iter().all(|path| listed.contains(path)),
        "{} receipted, {} there",
        receipted.len(),
        listed.len()
    );
}

/// A value that does not fit into the storage is not written, says so, and leaves nothing there.
#[test]
fn a_full_storage_refuses_a_value_whole_and_keeps_nothing_of_it() {
    let world = World::new();
    let broker = world.alice_and_bob();
    let Some(disk) = Disk::mount(&world.path("alice/storage"), 4) else { return };
    let big = world.file("big", vec![7; 300_000]);
    world.ok("alice", &["put", "/photo", &big]);
    let before = objects(&world);
    disk.fill();
    let refused = world.run("alice", &["put", "/photo", &world.file("bigger", vec![8; 600_000])]);
    assert_eq!(refused.exit_and_effect(), (3, "none".to_owned()), "{refused:?}");
    assert!(refused.error().contains("No space left"), "{refused:?}");
    assert_eq!(objects(&world), before);
    disk.free();
    let to = world.path("out").to_string_lossy().into_owned();
    world.ok("alice", &["get", "/photo", "--to", &to]);
    assert_eq!(fs::read(&to).expect("a value"), vec![7; 300_000]);
    world.ok("alice", &["put", "/photo", &world.file("bigger", vec![8; 600_000])]);
    drop(broker);
}

/// Names of all files in alice's storage but the one that fills it, and whether any is a draft.
fn objects(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![world.path("alice/storage")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => found.push(entry.display().to_string()),
            }
        }
    }
    // The queue in the storage may be written anew at any time; an object of a value never.
    found.retain(|name| name.contains("/objects/") || name.ends_with(".draft"));
    found.sort();
    found
}
