//! Whoever holds the broker's folder, its log, the storage or the wire reads nothing. [P-1]

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::PathBuf;

use super::capture::Capture;
use super::search::{Secrets, files};
use super::tree;
use crate::world::{Running, World, json};

/// A path, a value and a name that stand nowhere else.
const MARKS: [&str; 3] = ["/marked/unmistakable-path-of-a-record", "an unmistakable value in the clear", "unmistakable-reader"];

/// What is in other hands than the nodes': everything that is searched.
struct Elsewhere {
    world: World,
    capture: Capture,
    broker: Running,
    address: String,
}

impl Elsewhere {
    /// A broker that logs everything it can, reached through the capture only.
    fn start() -> Self {
        let (world, capture) = (World::new(), Capture::start());
        let log = File::create(world.path("broker.log")).expect("writable");
        let (data, public) = (world.path("broker").to_string_lossy().into_owned(), capture.place().to_string());
        let serve = ["--log", "trace", "broker", "--data", &data, "--listen", "127.0.0.1:0", "--public", &public];
        let mut broker = Running::begin_logged(&mut world.command("nobody", &serve), log);
        let listening = broker.line();
        capture.lead_to(listening.trim_start_matches("listening on ").parse().expect("an address"));
        let address = broker.line();
        Self { world, capture, broker, address }
    }

    /// Alice, with this broker and a storage of her own.
    fn meet_alice(&self) {
        let storage = format!("file://{}", self.storage().display());
        self.world.ok("alice", &["init", "--broker", &self.address, "--storage", &storage]);
    }

    fn storage(&self) -> PathBuf {
        self.world.path("storage")
    }

    /// All of it, one behind the other.
    fn all(&self) -> Vec<u8> {
        let folders = [self.world.path("broker"), self.storage()];
        let files = folders.iter().filter(|folder| folder.exists()).flat_map(|folder| files(folder));
        let mut all: Vec<u8> = files.flat_map(|file| fs::read(file).expect("readable")).collect();
        all.extend(fs::read(self.world.path("broker.log")).expect("a log"));
        all.extend(self.capture.seen());
        all
    }

    /// Where a piece of a secret is, and which.
    fn found(&self, secrets: &Secrets) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for folder in [self.world.path("broker"), self.storage()] {
            found.extend(secrets.found_below(&folder).into_iter().map(|(path, from)| (path.display().to_string(), from)));
        }
        let log = fs::read(self.world.path("broker.log")).expect("a log");
        found.extend(secrets.found_in_words(&log).map(|from| ("the log".to_owned(), from)));
        found.extend(secrets.found_in(&self.capture.seen()).map(|from| ("the wire".to_owned(), from)));
        found
    }
}

/// Pieces of everything that alice imports, of its paths and of the marks; without what stands in the same places where none of it
/// was ever written.
fn secrets(imported: &[(String, Vec<u8>)]) -> Secrets {
    let mut secrets = Secrets::default();
    for (path, content) in imported {
        secrets.add(path, content);
        secrets.add_disguised(path, path.as_bytes());
    }
    MARKS.iter().for_each(|mark| secrets.add_disguised(mark, mark.as_bytes()));
    let other = Elsewhere::start();
    other.meet_alice();
    other.world.put("/a", "b");
    secrets.forget_those_in(&other.all());
    // How objects are called is no secret, and the documents show such names.
    let names: String = (0..=u8::MAX).map(|byte| format!("objects/{byte:02x}/{byte:02x} ")).collect();
    secrets.forget_those_in(names.as_bytes());
    secrets
}

/// [P-1] A real import, a reader that comes and goes, and a revocation; then everything that others hold is searched, with a search
/// that finds what is planted.
#[test]
fn no_path_no_name_and_no_content_stands_in_the_clear_anywhere_but_at_the_nodes() {
    let elsewhere = Elsewhere::start();
    let (world, [path, value, name]) = (&elsewhere.world, MARKS);
    elsewhere.meet_alice();
    let (sources, imported) = tree::plant(&world.path("alice-disk"));
    world.ok("alice", &["import", &sources.to_string_lossy(), "/sources"]);
    world.put(path, value);
    world.ok("bob", &["init"]);
    let card = json(&world.ok("bob", &["id"]))["card"].as_str().expect("a card").to_owned();
    let granted = json(&world.ok("alice", &["grant", &card, "--as", name]));
    world.ok("bob", &["follow", granted["invitation"].as_str().expect("an invitation"), "--as", "alice"]);
    world.ok("bob", &["watch", "--once"]);
    assert_eq!(json(&world.ok("bob", &["get", &format!("alice:{path}")]))["value"], value);
    world.ok("alice", &["revoke", name]);
    world.put("/after", value);
    world.ok("alice", &["rm", path]);

    let secrets = secrets(&imported);
    assert!(imported.len() > 50 && secrets.count() > 100_000, "{} files, {} pieces", imported.len(), secrets.count());
    assert_eq!(elsewhere.found(&secrets), []);

    let planted = elsewhere.world.path("broker/planted");
    fs::write(&planted, value).expect("writable");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    stranger.send_to(value.as_bytes(), elsewhere.capture.place()).expect("sent");
    let places = || elsewhere.found(&secrets).into_iter().map(|(place, _)| place).collect::<Vec<_>>();
    let expected = [planted.display().to_string(), "the wire".to_owned()];
    while places().len() < expected.len() {
        std::thread::yield_now();
    }
    assert_eq!(places(), expected);
    drop(elsewhere.broker);
}
