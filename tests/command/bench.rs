//! `tidings bench`, with small counts: what it says adds up, and it leaves out nobody who waited.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Broker, Running, World, json};

/// A seed that nobody else has.
const SEED: &str = "5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed5eed";

/// A broker to measure.
fn measured() -> (World, Broker) {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &[]);
    (world, broker)
}

/// Lines that a workload prints; it must succeed.
fn printed(world: &World, broker: &Broker, arguments: &[&str]) -> Vec<Value> {
    world.ok("nobody", &[&["bench"], arguments, &["--broker", &broker.address]].concat()).lines().map(json).collect()
}

/// Its last line.
fn summary(world: &World, broker: &Broker, arguments: &[&str]) -> Value {
    printed(world, broker, arguments).pop().expect("a summary")
}

fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("{name}: {summary}"))
}

fn latency(summary: &Value, name: &str) -> u64 {
    count(&summary["latency_us"], name)
}

/// Every workload tells the same things, and they do not contradict each other.
fn adds_up(summary: &Value) {
    let seconds = summary["seconds"].as_f64().expect("seconds");
    let expected = count(summary, "messages") as f64 / seconds;
    let told = summary["per_second"].as_f64().expect("a rate");
    assert!(seconds > 0.0 && (told - expected).abs() <= 0.1 + expected / 1_000.0, "{summary}");
    let ascending = ["p50", "p90", "p99", "p999", "max"].map(|name| latency(summary, name));
    assert!(ascending[0] > 0 && ascending.is_sorted(), "{summary}");
    assert!(count(summary, "sent_bytes") > 0 && count(summary, "received_bytes") > 0, "{summary}");
    assert_eq!((summary["interrupted"].as_bool(), summary["tidings"].as_str()), (Some(false), Some(env!("CARGO_PKG_VERSION"))));
}

/// A workload whose progress is read here.
struct Measuring {
    process: Running,
    progress: BufReader<PipeReader>,
}

impl Measuring {
    fn begin(world: &World, broker: &Broker, arguments: &[&str]) -> Self {
        let (progress, told) = std::io::pipe().expect("a pipe");
        let mut command =
            world.command("nobody", &[&["bench"], arguments, &["--broker", &broker.address, "--progress", "always"]].concat());
        let process = Running::begin_logged(&mut command, File::from(OwnedFd::from(told)));
        Self { process, progress: BufReader::new(progress) }
    }

    /// Waits until it says this.
    fn says(&mut self, progress: &str) {
        let mut line = String::new();
        while line.trim_end() != progress {
            line.clear();
            assert!(self.progress.read_line(&mut line).expect("it tells") > 0, "it ended before {progress}");
        }
    }
}

/// Sends a signal and does not wait.
fn signal(process: &Running, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", process.pid())).status().expect("a shell");
    assert!(sent.success());
}

#[test]
fn what_was_published_adds_up() {
    let (world, broker) = measured();
    let arguments =
        ["publish", "--owners", "2", "--size", "300", "--in-flight", "8", "--batch", "2", "--count", "61", "--warm-up", "100ms"];
    let summary = summary(&world, &broker, &arguments);
    adds_up(&summary);
    assert_eq!((count(&summary, "messages"), latency(&summary, "n"), summary["workload"].as_str()), (61, 61, Some("publish")), "{summary}");
    let told = ["owners", "size", "records", "in_flight", "batch", "count", "unanswered", "missed"].map(|name| count(&summary, name));
    assert_eq!(told, [2, 300, 1_000, 8, 2, 61, 0, 0]);
    assert!(count(&summary, "sent_bytes") > 61 * 300 && count(&summary, "rss_max_bytes") > 0, "{summary}");
}

/// Writes that no owner was free to begin count with the time that they waited.
#[test]
fn a_rate_that_nobody_can_keep_is_told_and_no_write_that_was_due_is_left_out() {
    let (world, broker) = measured();
    let summary = summary(&world, &broker, &["publish", "--rate", "1000000", "--duration", "250ms", "--warm-up", "0s"]);
    adds_up(&summary);
    assert_eq!(summary["rate_kept"], false, "{summary}");
    let all = ["messages", "missed", "unanswered"].map(|name| count(&summary, name)).iter().sum::<u64>();
    assert_eq!((all, latency(&summary, "n")), (250_000, 250_000), "{summary}");
    assert!(latency(&summary, "p90") > 200_000, "{summary}");
}

/// With one write at a time, whoever measures from when a write is begun sees one slow write and hundreds that were never due: the broker
/// would look fast.
#[test]
fn whoever_had_to_wait_while_the_broker_stalled_is_counted() {
    let (world, broker) = measured();
    let arguments = ["publish", "--rate", "50", "--in-flight", "1", "--duration", "5s", "--warm-up", "0s"];
    let mut measuring = Measuring::begin(&world, &broker, &arguments);
    measuring.says("publishing 1/5");
    signal(&broker.process, "STOP");
    // This is the stall, not a wait for something.
    thread::sleep(Duration::from_millis(1_500));
    signal(&broker.process, "CONT");
    let summary = json(&measuring.process.line());
    // 75 of 250 were due in that time.
    assert_eq!(latency(&summary, "n"), 250, "{summary}");
    assert!(latency(&summary, "p90") >= 700_000 && latency(&summary, "max") >= 1_400_000, "{summary}");
}

#[test]
fn interrupted_it_tells_what_was_measured_so_far() {
    let (world, broker) = measured();
    let mut measuring = Measuring::begin(&world, &broker, &["publish", "--duration", "60s", "--warm-up", "0s"]);
    measuring.says("publishing 6/60");
    assert_eq!(measuring.process.end_with("INT").code(), Some(0));
    let summary = json(&measuring.process.line());
    assert_eq!((summary["interrupted"].as_bool(), latency(&summary, "n") > 0), (Some(true), true), "{summary}");
    assert!(summary["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{summary}");
}

#[test]
fn a_broker_that_is_away_is_the_usual_failure() {
    let (world, broker) = measured();
    let address = broker.address.clone();
    drop(broker);
    for workload in ["publish", "live", "catch-up", "idle"] {
        let done = world.run("nobody", &["--timeout", "1s", "bench", workload, "--broker", &address]);
        assert_eq!((done.exit_and_effect(), done.out.as_str()), ((5, "none".to_owned()), ""), "{workload}: {}", done.err);
    }
}

/// What was not receipted is told twice: in the figures, and by the exit code.
#[test]
fn a_broker_that_goes_away_for_good_is_a_failure_after_the_figures() {
    let (world, mut broker) = measured();
    let mut measuring = Measuring::begin(&world, &broker, &["--timeout", "2s", "publish", "--duration", "10s", "--warm-up", "0s"]);
    measuring.says("publishing 1/10");
    broker.process.end_with("KILL");
    let summary = json(&measuring.process.line());
    assert_eq!((count(&summary, "unanswered"), latency(&summary, "n")), (1, count(&summary, "messages") + 1), "{summary}");
    assert!(latency(&summary, "max") >= 2_000_000, "{summary}");
    assert_eq!(measuring.process.wait().code(), Some(5));
}

#[test]
fn every_reader_takes_every_change() {
    let (world, broker) = measured();
    let summary = summary(&world, &broker, &["live", "--readers", "3", "--rate", "20", "--duration", "1s"]);
    adds_up(&summary);
    let told = ["messages", "published", "unheard", "unanswered", "missed"].map(|name| count(&summary, name));
    assert_eq!((told, latency(&summary, "n")), ([60, 20, 0, 0, 0], 60), "{summary}");
    assert_eq!((count(&summary["receipt_latency_us"], "n"), summary["state"].as_str()), (20, Some("owners")), "{summary}");
}

/// A reader gets what lives, not what was written.
#[test]
fn readers_catch_up_with_what_lives() {
    let (world, broker) = measured();
    let arguments = ["catch-up", "--mutations", "300", "--records", "100", "--readers", "2", "--times", "2"];
    let lines = printed(&world, &broker, &arguments);
    let phases: Vec<_> = lines.iter().map(|line| line["phase"].as_str().unwrap_or("")).collect();
    assert_eq!(phases, ["publish", "catch-up", "catch-up", ""]);
    let summary = lines.last().expect("a summary");
    adds_up(summary);
    assert_eq!((count(summary, "messages"), latency(summary, "n"), summary["rounds"].as_array().map(Vec::len)), (400, 4, Some(2)));
    for round in &lines[1..3] {
        assert_eq!(count(round, "entries"), 200);
        assert!(count(round, "received_bytes") > count(round, "entry_bytes") && count(round, "entry_bytes") > 200 * 256, "{round}");
    }
}

#[test]
fn readers_are_idle_and_then_hear_of_one_change_each() {
    let (world, broker) = measured();
    let lines = printed(&world, &broker, &["idle", "--readers", "7", "--owners", "2", "--hold", "200ms"]);
    let [quiet, summary] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((quiet["phase"].as_str(), count(quiet, "connections"), count(quiet, "owners")), (Some("idle"), 7, 2));
    adds_up(summary);
    assert_eq!((count(summary, "messages"), count(summary, "unheard"), latency(summary, "n")), (7, 0, 7), "{summary}");
}

/// The second run with a seed finds the queues of the first one.
#[test]
fn the_owners_of_a_seed_can_be_allowed_and_come_again() {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &["--admit", "list"]);
    let data = world.path("broker").to_string_lossy().into_owned();
    let arguments = ["bench", "publish", "--count", "4", "--warm-up", "0s", "--owners", "2", "--seed", SEED, "--broker", &broker.address];
    let refused = world.run("nobody", &arguments);
    assert_eq!(refused.exit_and_effect(), (3, "none".to_owned()), "{}", refused.err);
    assert!(refused.failure()["action"].as_str().is_some_and(|action| action.contains("bench ids --seed")), "{}", refused.err);
    for line in world.ok("nobody", &["bench", "ids", "--seed", SEED, "--owners", "2"]).lines() {
        world.ok("nobody", &["broker", "allow", json(line)["did"].as_str().expect("a did"), "--data", &data]);
    }
    for _ in 0..2 {
        assert_eq!(count(&json(world.ok("nobody", &arguments).trim_end()), "messages"), 4);
    }
}

/// The home only says which broker is meant: whoever measures does not write into his own queue.
#[test]
fn a_home_names_the_broker_and_nothing_of_it_is_used() {
    let (world, broker) = measured();
    world.ok("alice", &["init", "--broker", &broker.address]);
    let folder = world.path("temporary");
    fs::create_dir(&folder).expect("the folder is writable");
    let before = json(&world.ok("alice", &["status"]))["head"].clone();
    let arguments = ["bench", "publish", "--count", "3", "--warm-up", "0s", "--folder", &folder.to_string_lossy()];
    assert_eq!(count(&json(world.ok("alice", &arguments).trim_end()), "messages"), 3);
    assert_eq!(json(&world.ok("alice", &["status"]))["head"], before);
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
    let nobody = world.run("nobody", &["bench", "publish"]);
    assert_eq!((nobody.exit_and_effect(), nobody.error().contains("no broker")), ((2, "none".to_owned()), true), "{}", nobody.err);
    let unpinned = world.run("nobody", &["bench", "publish", "--broker", "tidings://127.0.0.1:9"]);
    assert_eq!((unpinned.exit_and_effect(), unpinned.error().contains("no pin")), ((2, "none".to_owned()), true), "{}", unpinned.err);
}
