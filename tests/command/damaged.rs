//! What an operator is told when what a broker stored is damaged.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::failed;
use crate::world::{Done, Running, World, json};

/// Where alice's broker serves, and the ids of the queues of two owners in it, ascending. It is not running, and all is in tables.
fn two_queues() -> (World, String, [String; 2]) {
    let world = World::new();
    let mut broker = world.broker("127.0.0.1:0", &[]);
    for owner in ["alice", "carol"] {
        world.ok(owner, &["init", "--broker", &broker.address]);
        world.ok(owner, &["put", "/a", &world.file("value", "blue")]);
    }
    assert_eq!(broker.process.end_with("TERM").code(), Some(0));
    // What was in the log is in tables then.
    let mut again = world.broker(broker.place(), &[]);
    assert_eq!(again.process.end_with("TERM").code(), Some(0));
    let lines: Vec<Value> = inspect(&world).out.lines().map(json).collect();
    let queues: Vec<_> =
        lines.iter().filter(|line| line["seen"] == "queue").map(|line| line["queue"].as_str().expect("an id").to_owned()).collect();
    let place = broker.place().to_owned();
    (world, place, queues.try_into().expect("two queues"))
}

fn inspect(world: &World) -> Done {
    world.run("nobody", &["broker", "inspect", "--data", &world.path("broker").to_string_lossy()])
}

/// Files of the store that end so.
fn files(world: &World, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(world.path("broker/store")).expect("a store").map(|file| file.expect("a file").path());
    all.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

/// Flips a bit in the first block of every table of `queues`.
fn damage_the_first_queue(world: &World) {
    // Each table holds the name of its column family.
    let needle = b"queues";
    let is_of_queues = |path: &PathBuf| fs::read(path).expect("a table").windows(needle.len()).any(|part| part == needle);
    let tables: Vec<_> = files(world, ".sst").into_iter().filter(is_of_queues).collect();
    assert!(!tables.is_empty());
    tables.iter().for_each(|table| flip(table, 50));
}

fn flip(path: &PathBuf, place: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).expect("so long");
    file.write_all_at(&[byte[0] ^ 8], place).expect("writable");
}

/// Begins the broker with its log in a file.
fn logged(world: &World, listen: &str) -> Running {
    let data = world.path("broker").to_string_lossy().into_owned();
    let log = File::create(world.path("log")).expect("the folder is writable");
    let mut broker = Running::begin_logged(&mut world.command("nobody", &["broker", "--data", &data, "--listen", listen]), log);
    assert!(broker.line().starts_with("listening"), "{}", log_of(world));
    broker.line();
    broker
}

fn log_of(world: &World) -> String {
    fs::read_to_string(world.path("log")).expect("a log")
}

/// Publishes and readers were refused, and the broker's log stayed empty to the end, with exit code 0.
#[test]
fn a_broker_that_meets_damage_tells_its_operator_once_and_with_its_exit_code() {
    let (world, place, [first, _]) = two_queues();
    damage_the_first_queue(&world);
    let mut broker = logged(&world, &place);
    let refused = |owner| {
        let done = world.run(owner, &["--timeout", "5s", "put", "/b", &world.file("value", "red")]);
        // A compaction that meets the block ends all writing.
        done.code != 0 && done.err.contains("Damaged")
    };
    assert_eq!(["alice", "carol", "alice", "carol"].map(refused).iter().filter(|refused| **refused).count(), 2);
    assert_eq!(broker.end_with("TERM").code(), Some(1));
    let log = log_of(&world);
    let told: Vec<_> = log.lines().filter(|line| line.contains("ERROR") && line.contains("stored data of this queue is damaged")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains(&first[..8]) && told[0].contains(".sst") && told[0].contains("identity"), "{log}");
    let failure = json(log.lines().last().expect("a failure"));
    assert!(failure["exit"] == 1 && failure["action"].as_str().is_some_and(|action| action.contains("identity")), "{failure}");
}

/// Nothing was printed, and the operator was told to name another folder.
#[test]
fn what_is_damaged_is_seen_beside_what_is_not() {
    let (world, _, [first, second]) = two_queues();
    damage_the_first_queue(&world);
    let seen = inspect(&world);
    assert_eq!(seen.exit_and_effect(), failed("none"));
    let lines: Vec<Value> = seen.out.lines().map(json).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["seen"] == kind).map(|line| line["queue"].as_str()).collect::<Vec<_>>();
    assert_eq!((of("unreadable"), of("queue")), (vec![Some(first.as_str()), None], vec![Some(second.as_str())]), "{lines:?}");
    assert!(
        lines
            .iter()
            .filter(|line| line["seen"] == "unreadable")
            .all(|line| line["error"].as_str().is_some_and(|error| error.contains(".sst")))
    );
    assert!(seen.failure()["action"].as_str().is_some_and(|action| action.contains("identity")), "{}", seen.err);
}

/// A broker that was killed, and the log that it left.
fn killed() -> (World, PathBuf) {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &[]);
    world.ok("alice", &["init", "--broker", &broker.address]);
    for number in 0..4 {
        world.put(&format!("/{number}"), "blue");
    }
    drop(broker);
    let log = files(&world, ".log").into_iter().max_by_key(|log| log.metadata().expect("a log").len()).expect("a log");
    (world, log)
}

/// The end of a log was left out without a word.
#[test]
fn a_broker_that_starts_without_the_end_of_its_log_says_so() {
    let (world, log) = killed();
    let length = log.metadata().expect("the log").len();
    let file = OpenOptions::new().write(true).open(&log).expect("the log");
    file.write_all_at(&vec![0; (length * 7 / 10) as usize], length - length * 7 / 10).expect("writable");
    assert_eq!(logged(&world, "127.0.0.1:0").end_with("TERM").code(), Some(0));
    let (told, name) = (log_of(&world), log.file_name().expect("a name").to_string_lossy().into_owned());
    let warned: Vec<_> = told.lines().filter(|line| line.contains("WARN")).collect();
    assert!(
        matches!(&warned[..], [line] if line.contains(&name) && line.contains("bytes=") && line.contains("its owner brings again")),
        "{told}"
    );
    assert_eq!(logged(&world, "127.0.0.1:0").end_with("TERM").code(), Some(0));
    assert!(!log_of(&world).contains("WARN"), "said again");
}

/// The text came twice, named no file, and the action hid that owners fill an empty folder.
#[test]
fn a_damaged_log_is_named_with_what_to_do() {
    let (world, log) = killed();
    flip(&log, log.metadata().expect("the log").len() / 3);
    let mut command: Command = world.command("nobody", &["broker", "--listen", "127.0.0.1:0"]);
    command.arg("--data").arg(world.path("broker"));
    let done = Done::of(command);
    assert_eq!(done.exit_and_effect(), failed("none"));
    let name = log.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(done.error().contains(&name) && done.error().matches("Corruption").count() == 1, "{}", done.error());
    assert!(done.failure()["action"].as_str().is_some_and(|action| action.contains("identity")), "{}", done.err);
}
