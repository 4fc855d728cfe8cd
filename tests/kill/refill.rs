//! A broker that is killed while its owner fills it up again.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use tidings_broker::inspect::inspect;
use tidings_proto::{Offset, QueueId};

use super::chance::Chance;
use super::process::{LONG, Process};
use crate::world::{World, json};

/// Records of the owner.
const RECORDS: u64 = 12_000;
/// Kills in the middle of a transfer.
const KILLS: u64 = 6;
/// Bytes in the broker's folder that show that a transfer has begun, and how many there may be at the kill.
const BYTES: (u64, u64) = (300_000, 3_500_000);

struct Lab {
    world: World,
    place: String,
    queue: QueueId,
}

impl Lab {
    /// A broker with many records of alice, whom bob watches.
    fn new() -> Self {
        let world = World::new();
        let broker = world.alice_and_bob();
        let all: String = (0..RECORDS).map(|record| put(record, "first")).collect();
        world.ok("alice", &["apply", &world.file("lines", all)]);
        world.ok("bob", &["watch", "--once"]);
        let place = broker.place().to_owned();
        let queue = inspect(&world.path("broker")).expect("readable").queues().next().expect("a queue").expect("readable");
        Self { world, place, queue }
    }

    fn process(&self, node: &str, arguments: &[&str]) -> Process {
        Process::begin(self.world.command(node, arguments), &self.world.path(&format!("{node}.log")))
    }

    fn broker(&self) -> Process {
        let data = self.world.path("broker").to_string_lossy().into_owned();
        let broker = self.process("nobody", &["broker", "--data", &data, "--listen", &self.place]);
        assert!(broker.said().is_some() && broker.said().is_some(), "the broker does not come back");
        broker
    }

    /// Empties the broker while nobody runs it.
    fn empty(&self) {
        std::fs::remove_dir_all(self.world.path("broker/store")).expect("the folder can go");
    }

    /// What the dead broker shows of alice: nothing, or (whole) as many entries as her head counts.
    fn shows(&self) -> Option<(u64, u64)> {
        let inspection = inspect(&self.world.path("broker")).expect("readable");
        let seen = inspection.queue(&self.queue).expect("readable")?;
        let (mut count, mut after) = (0, Offset::ZERO);
        loop {
            let page = inspection.entries(&self.queue, after).expect("readable");
            let Some(last) = page.last() else { return Some((count, seen.live)) };
            after = last.offset;
            count += page.len() as u64;
        }
    }

    /// A broker is filled until so many bytes have come, and is killed then. Whether nothing of it shows.
    fn killed_at(&self, bytes: u64) -> bool {
        let mut broker = self.broker();
        let deadline = Instant::now() + LONG;
        while size(&self.world.path("broker/store")) < bytes && Instant::now() < deadline {
            std::thread::yield_now();
        }
        broker.kill();
        drop(broker.rest());
        match self.shows() {
            None => true,
            Some((found, counted)) => {
                assert_eq!(found, counted, "half a transfer shows");
                false
            }
        }
    }

    fn status(&self, node: &str) -> Value {
        json(&self.world.ok(node, &["status"]))
    }
}

fn put(record: u64, value: &str) -> String {
    format!("{{\"op\":\"put\",\"path\":\"/{record}\",\"value\":\"{value}\"}}\n")
}

fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    files
        .filter(|file| file.path().extension().is_some_and(|kind| kind == "log" || kind == "sst"))
        .filter_map(|file| file.metadata().ok())
        .map(|data| data.len())
        .sum()
}

/// [P-10] Of a transfer that was cut off by the end of the broker nothing shows, the next start takes it again, and what came before is
/// gone then: were it not, an entry that its owner replaced between two attempts would show beside the one that replaced it.
#[test]
fn a_broker_killed_while_it_is_refilled_shows_nothing_of_it_and_is_refilled_again() {
    let (lab, mut chance) = (Lab::new(), Chance::new(1));
    let mut watch = lab.process("bob", &["watch"]);
    let up = lab.process("alice", &["up"]);
    assert!(up.said().is_some(), "alice does not come up");
    lab.empty();
    let (mut cut_off, mut attempts) = (0, 0);
    while cut_off < KILLS {
        attempts += 1;
        assert!(attempts < 10 * KILLS, "{cut_off} of {attempts} kills met a transfer");
        match lab.killed_at(BYTES.0 + chance.below(BYTES.1 - BYTES.0)) {
            true => cut_off += 1,
            false => lab.empty(),
        }
        let again: String = (0..200).map(|number| put((attempts * 997 + number * 31) % RECORDS, &attempts.to_string())).collect();
        assert_eq!(lab.world.feed("alice", &["apply", "--no-wait"], &again).code, 0);
    }
    println!("{cut_off} of {attempts} kills met a transfer");
    let _broker = lab.broker();
    arrives(&lab);
    assert_eq!(lab.shows(), Some((RECORDS, RECORDS)));
    watch.kill();
    let verdicts = watch.rest().0.into_iter().map(|line| json(&line)).filter(|event| event["event"] == "verdict");
    let accusing: Vec<Value> = verdicts.filter(|event| !event["evidence"].is_null()).collect();
    assert_eq!(accusing, Vec::<Value>::new());
    let without_owner = |listed: String| -> Vec<(Value, Value)> {
        listed.lines().map(json).map(|mut record| (record["path"].take(), record["hash"].take())).collect()
    };
    let own = without_owner(lab.world.ok("alice", &["ls"]));
    assert_eq!(own.len() as u64, RECORDS);
    assert_eq!(without_owner(lab.world.ok("bob", &["ls", "alice:"])), own);
    lab.world.ok("carol", &["init"]);
    lab.world.ok("carol", &["follow", &lab.world.invitation("carol"), "--as", "alice"]);
    assert_eq!(without_owner(lab.world.ok("carol", &["ls", "alice:"])), own);
}

/// Waits until the broker has taken the transfer and everything after it.
fn arrives(lab: &Lab) {
    let deadline = Instant::now() + LONG;
    loop {
        let status = lab.status("alice");
        let own = &status["own"];
        let waits = own["unsigned"] != 0 || own["unreceipted"] != 0 || status["brokers"][0]["state"] != "connected";
        if !waits && own["receipt"]["number"] == own["number"] {
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
    }
}
