//! A broker's disk goes wrong, or somebody changes it: who is told what, and who reads on. [P-10, P-11, P-14]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tidings_broker::inspect::inspect;
use tidings_broker::store::rocksdb::rewrite_entry;
use tidings_broker::store::{RocksStore, ScanLimit, Store};
use tidings_proto::{Offset, QueueId};

use super::nodes::LONG;
use super::search::files;
use crate::world::{Broker, Done, World, json};

/// Records of a queue that takes several blocks of a table, and the length of their values.
const RECORDS: usize = 60;
const VALUE_BYTES: usize = 1_000;

/// Alice and her readers at a broker whose disk is in other hands while it is stopped.
struct Lab {
    world: World,
    broker: Option<Broker>,
    place: String,
}

impl Lab {
    /// Alice has a queue, and bob follows her.
    fn new() -> Self {
        let world = World::new();
        let broker = world.alice_and_bob();
        let place = broker.place().to_owned();
        Self { world, broker: Some(broker), place }
    }

    fn start(&mut self) {
        self.broker = Some(self.world.broker(&self.place, &[]));
    }

    /// Ends the broker in order.
    fn stop(&mut self) {
        let mut broker = self.broker.take().expect("it runs");
        assert_eq!(broker.process.end_with("TERM").code(), Some(0));
    }

    /// Ends the broker as a power cut does.
    fn kill(&mut self) {
        self.broker = None;
    }

    fn address(&self) -> &str {
        &self.broker.as_ref().expect("it runs").address
    }

    fn store(&self) -> PathBuf {
        self.world.path("broker/store")
    }

    /// A new node that follows an owner.
    fn follow(&self, node: &str, owner: &str) {
        let world = &self.world;
        world.ok(node, &["init"]);
        let card = json(&world.ok(node, &["id"]))["card"].as_str().expect("a card").to_owned();
        let granted = json(&world.ok(owner, &["grant", &card, "--as", node]));
        world.ok(node, &["follow", granted["invitation"].as_str().expect("an invitation"), "--as", owner]);
    }

    /// Writes records of an owner that are too many for one block.
    fn fill(&self, owner: &str) {
        let value = "x".repeat(VALUE_BYTES);
        let line = |at| format!("{{\"op\":\"put\",\"path\":\"/filling/{at}\",\"value\":\"{at} {value}\"}}\n");
        let done = self.world.feed(owner, &["apply"], &(0..RECORDS).map(line).collect::<String>());
        assert_eq!(done.code, 0, "{done:?}");
    }

    /// The queue of an owner, as the operator sees it.
    fn queue(&self, owner: &str) -> QueueId {
        let did = json(&self.world.ok(owner, &["id"]))["did"].as_str().expect("a did").to_owned();
        let inspection = inspect(&self.world.path("broker")).expect("readable");
        let is_of_owner = |queue: &QueueId| inspection.queue(queue).expect("readable").expect("there").owner.to_string() == did;
        inspection.queues().map(|queue| queue.expect("readable")).find(is_of_owner).expect("a queue")
    }

    /// Brings what is in the log into tables and waits until those are compacted, as tables are after a while: while one is compacted,
    /// damage stops all writing, and that is known. Gives a piece of what is in them. The broker has ended then.
    fn settle(&mut self) -> Vec<u8> {
        self.stop();
        self.start();
        let piece = middle(&self.store(), &self.queue("alice"));
        let table = || place_of(&self.store(), &piece).map(|(table, _)| table);
        let fresh = table().expect("it is in a table");
        // What was read at one moment and is read no more lets the store forget when it was written, which it does by a compaction.
        assert_eq!(self.watch("bob").0.code, 0);
        let deadline = Instant::now() + LONG;
        while table().is_none_or(|table| table == fresh) || fresh.exists() {
            assert!(Instant::now() < deadline, "it was never compacted");
            std::thread::yield_now();
        }
        self.stop();
        piece
    }

    /// Follows once to the end.
    fn watch(&self, node: &str) -> Watched {
        Watched(self.world.run(node, &["--timeout", "10s", "watch", "--once"]))
    }

    /// The same while alice's storage is away: what somebody finds out is about the broker, and comes from nowhere else.
    fn watch_broker(&self, node: &str) -> Watched {
        let (storage, away) = (self.world.path("alice/storage"), self.world.path("alice/storage-away"));
        fs::rename(&storage, &away).expect("renamed");
        let watched = self.watch(node);
        fs::rename(&away, &storage).expect("renamed");
        watched
    }

    /// What is known of the first broker that had less than it had receipted.
    fn loss(&self) -> Value {
        json(&self.world.ok("alice", &["status"]))["own"]["losses"][0].clone()
    }
}

/// A watch that has ended.
#[derive(Debug)]
struct Watched(Done);

impl Watched {
    fn events(&self) -> Vec<Value> {
        self.0.out.lines().map(json).collect()
    }

    /// Records that were printed as changed, sorted.
    fn changed(&self) -> Vec<String> {
        let events = self.events().into_iter().filter(|event| event["event"] == "change");
        let mut paths: Vec<_> = events.map(|event| event["path"].as_str().expect("a path").to_owned()).collect();
        paths.sort();
        paths
    }

    /// Exit code, and what was changed.
    fn outcome(&self) -> (i32, Vec<String>) {
        (self.0.code, self.changed())
    }

    /// The first verdict that accuses somebody.
    fn accusation(&self) -> Option<Value> {
        self.events().into_iter().find(|event| ["withheld", "forked", "rewound"].iter().any(|word| event["verdict"] == *word))
    }
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn flip(file: &Path, place: usize) {
    let mut bytes = fs::read(file).expect("readable");
    bytes[place] ^= 0x40;
    fs::write(file, bytes).expect("writable");
}

/// The file of a store with this extension that is the longest.
fn longest(store: &Path, extension: &str) -> PathBuf {
    let found = files(store).into_iter().filter(|file| file.extension().is_some_and(|it| it == extension));
    found.max_by_key(|file| fs::metadata(file).expect("a file").len()).expect("one at least")
}

/// A piece of the sealed bytes of an entry in the middle of a queue.
fn middle(store: &Path, queue: &QueueId) -> Vec<u8> {
    let store = RocksStore::open_read_only(store).expect("it opens");
    let limit = ScanLimit { entries: 1_024, bytes: 1 << 24 };
    let entries = store.scan(queue, Offset::ZERO, limit).expect("readable").expect("there").entries;
    let (_, bytes) = &entries[entries.len() / 2];
    bytes[bytes.len() - 64..].to_vec()
}

/// The table that holds a piece, and where in it. A broker that runs may remove a table for a newer one at any time.
fn place_of(store: &Path, piece: &[u8]) -> Option<(PathBuf, usize)> {
    let tables = files(store).into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "sst"));
    let place = |file: &PathBuf| fs::read(file).ok()?.windows(piece.len()).position(|window| window == piece);
    tables.filter_map(|file| place(&file).map(|place| (file, place))).max()
}

/// [P-14] The broker itself says so, and only of this queue.
#[test]
fn a_flipped_byte_in_a_table_file_is_named_and_the_other_queue_is_served() {
    let mut lab = Lab::new();
    lab.world.ok("carol", &["init", "--broker", lab.address()]);
    lab.follow("dave", "carol");
    ["alice", "carol"].iter().for_each(|owner| lab.fill(owner));
    lab.follow("eve", "alice");
    let piece = lab.settle();
    let (table, place) = place_of(&lab.store(), &piece).expect("it is in a table");
    flip(&table, place);

    lab.start();
    let watched = lab.watch_broker("eve");
    let accusation = watched.accusation().unwrap_or_else(|| panic!("{watched:?}"));
    let detail = accusation["detail"].as_str().expect("words");
    assert_eq!((watched.0.code, accusation["verdict"].as_str()), (4, Some("withheld")), "{watched:?}");
    assert!(detail.contains("broker") && detail.contains("storage") && detail.contains("damaged"), "{detail}");

    lab.world.ok("carol", &["put", "/after", &lab.world.file("value", "1")]);
    let watched = lab.watch("dave");
    assert_eq!((watched.0.code, watched.changed().len()), (0, RECORDS + 1), "{watched:?}");
}

/// [P-11, P-14] No checksum of the disk tells: the owner's signature does.
#[test]
fn an_entry_that_was_rewritten_with_a_valid_checksum_is_named_with_evidence() {
    let mut lab = Lab::new();
    lab.world.put("/a", "1");
    lab.world.put("/b", "1");
    assert_eq!(lab.watch("bob").outcome(), (0, paths(&["/a", "/b"])));
    lab.follow("eve", "alice");
    let queue = lab.queue("alice");
    lab.stop();
    rewrite_entry(&lab.store(), &queue, Offset::new(1), |bytes| *bytes.last_mut().expect("bytes") ^= 1).expect("rewritten");

    lab.start();
    let watched = lab.watch_broker("eve");
    let accusation = watched.accusation().unwrap_or_else(|| panic!("{watched:?}"));
    assert_eq!((watched.0.code, accusation["verdict"].as_str(), watched.changed()), (4, Some("withheld"), Vec::new()), "{watched:?}");
    let evidence = accusation["evidence"].as_str().expect("evidence");
    assert!(Path::new(evidence).is_file(), "{evidence}");
    let checked = json(&lab.world.ok("frank", &["verify", "--evidence", evidence]));
    assert_eq!(checked["verdict"], "withheld", "{checked}");

    lab.world.put("/b", "2");
    let watched = lab.watch("bob");
    assert_eq!((watched.outcome(), watched.accusation()), ((0, paths(&["/b"])), None), "{watched:?}");
    assert_eq!(json(&lab.world.ok("bob", &["get", "alice:/a"]))["value"], "1");
    // What replaces the record replaces what was rewritten.
    lab.world.put("/a", "2");
    lab.follow("grace", "alice");
    let watched = lab.watch_broker("grace");
    assert_eq!(watched.outcome(), (0, paths(&["/a", "/b"])), "{watched:?}");
}

/// [P-10] The operator is told, and puts the queues aside: owners bring them back.
#[test]
fn a_log_with_a_flipped_byte_is_refused_and_the_emptied_broker_is_refilled() {
    let mut lab = Lab::new();
    lab.fill("alice");
    lab.world.put("/a", "1");
    assert_eq!(lab.watch("bob").changed().len(), RECORDS + 1);
    lab.kill();
    let log = longest(&lab.store(), "log");
    flip(&log, usize::try_from(fs::metadata(&log).expect("a file").len()).expect("small") / 2);

    let data = lab.world.path("broker").to_string_lossy().into_owned();
    let refused = lab.world.run("nobody", &["broker", "--data", &data, "--listen", &lab.place]);
    assert_eq!((refused.code, refused.error().contains("damaged")), (1, true), "{}", refused.err);
    fs::rename(lab.store(), lab.world.path("broker/store-aside")).expect("renamed");
    lab.start();
    let watched = lab.watch_broker("bob");
    assert_eq!((watched.0.code, watched.accusation()), (5, None), "{watched:?}");

    lab.world.put("/b", "1");
    let loss = lab.loss();
    assert!(loss["standing"]["number"] == 0 && loss["receipted"]["number"].as_u64() > Some(1), "{loss}");
    let watched = lab.watch("bob");
    assert_eq!((watched.outcome(), watched.accusation()), ((0, paths(&["/b"])), None), "{watched:?}");
    lab.follow("eve", "alice");
    let watched = lab.watch("eve");
    assert_eq!((watched.0.code, watched.changed().len()), (0, RECORDS + 2), "{watched:?}");
}

/// [P-10] A disk that said it had what it had not.
#[test]
fn a_log_that_lost_its_end_is_refilled() {
    let mut lab = Lab::new();
    lab.world.put("/a", "1");
    lab.watch("bob");
    lab.kill();
    lab.start();
    let log = longest(&lab.store(), "log");
    let before = fs::metadata(&log).expect("a file").len();
    lab.world.put("/a", "2");
    lab.world.put("/b", "1");
    assert_eq!(lab.watch("bob").outcome(), (0, paths(&["/a", "/b"])));
    lab.kill();
    File::options().write(true).open(&log).and_then(|file| file.set_len(before + 100)).expect("cut");

    lab.start();
    let watched = lab.watch_broker("bob");
    assert_eq!((watched.0.code, watched.accusation()), (5, None), "{watched:?}");
    lab.world.put("/c", "1");
    let loss = lab.loss();
    assert!(
        loss["standing"]["number"].as_u64() > Some(0) && loss["receipted"]["number"].as_u64() > loss["standing"]["number"].as_u64(),
        "{loss}"
    );
    let watched = lab.watch("bob");
    assert_eq!((watched.outcome(), watched.accusation()), ((0, paths(&["/c"])), None), "{watched:?}");
    lab.follow("eve", "alice");
    assert_eq!(lab.watch("eve").outcome(), (0, paths(&["/a", "/b", "/c"])));
}
