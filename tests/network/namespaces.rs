//! Three nodes behind three translating routers, as separate processes in networks of their own.

use std::time::{Duration, Instant};

use super::lab::SLACK;
use super::tunnels::{PUBLIC, Tunnels};
use crate::world::{Done, Running, World, json};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// The nodes, the broker on the public segment, and the network between them. Fields end in this order.
struct Site {
    _broker: Running,
    world: World,
    tunnels: Tunnels,
}

impl Site {
    /// All nodes follow each other. `None`, with a word about it, where this machine allows no such networks.
    fn build() -> Option<Self> {
        let tunnels = match Tunnels::make(NAMES.len()) {
            Ok(tunnels) => tunnels,
            Err(error) => {
                println!("skipped: 1 test, because networks within this machine cannot be made here: {error}");
                return None;
            }
        };
        let world = World::new();
        let data = world.path("broker").to_string_lossy().into_owned();
        let listen = format!("{PUBLIC}:0");
        let serve = world.command("nobody", &["broker", "--data", &data, "--listen", &listen, "--admit", "open"]);
        let mut broker = Running::begin(Tunnels::inside(&tunnels.public(), &serve));
        assert!(broker.line().starts_with("listening on "));
        let address = broker.line();
        let site = Self { _broker: broker, world, tunnels };
        for name in NAMES {
            site.ok(name, &["init", "--broker", &address]);
        }
        site.introduce();
        Some(site)
    }

    fn introduce(&self) {
        for (owner, reader) in pairs() {
            let card = json(&self.ok(reader, &["id"]))["card"].as_str().expect("a card").to_owned();
            let granted = json(&self.ok(owner, &["grant", &card, "--as", reader]));
            self.ok(reader, &["follow", granted["invitation"].as_str().expect("an invitation"), "--as", owner]);
        }
        // Only the broker can tell of anybody now.
        for name in NAMES {
            std::fs::remove_dir_all(self.world.path(name).join("storage")).expect("a storage in the home");
        }
    }

    fn ok(&self, name: &str, arguments: &[&str]) -> String {
        let command = self.world.command(name, &[&["--timeout", "60s"], arguments].concat());
        let done = Done::of(Tunnels::inside(&self.namespace(name), &command));
        assert_eq!(done.code, 0, "{name}: {arguments:?}: {}", done.err);
        done.out
    }

    fn begin(&self, name: &str, arguments: &[&str]) -> Running {
        Running::begin(Tunnels::inside(&self.namespace(name), &self.world.command(name, arguments)))
    }

    /// Writes a record; gives when that was done.
    fn put(&self, name: &str, path: &str, value: &str) -> Instant {
        self.ok(name, &["put", path, &self.world.file(&format!("value of {name}"), value)]);
        Instant::now()
    }

    /// A watch of bob that has caught up with alice and carol.
    fn watch(&self) -> Running {
        let mut watch = self.begin("bob", &["watch"]);
        watch.event("caught-up");
        watch.event("caught-up");
        watch
    }

    fn namespace(&self, name: &str) -> String {
        self.tunnels.node(NAMES.iter().position(|known| *known == name).expect("one of them"))
    }
}

/// Each owner with each reader.
fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.into_iter().flat_map(|owner| NAMES.into_iter().filter(move |reader| *reader != owner).map(move |reader| (owner, reader)))
}

#[test]
fn three_nodes_behind_three_nats_read_each_other() {
    let Some(site) = Site::build() else { return };
    for name in NAMES {
        site.put(name, "/name", name);
    }
    for (owner, reader) in pairs() {
        let record = json(&site.ok(reader, &["get", &format!("{owner}:/name"), "--fresh"]));
        assert_eq!(record["value"], owner, "{reader}");
    }
}

#[test]
fn a_nat_that_forgets_its_mappings_in_the_middle_of_a_stream_loses_nothing() {
    let Some(site) = Site::build() else { return };
    let bob = 1;
    let mut watch = site.watch();
    for number in 0..20 {
        if number % 5 == 2 {
            site.tunnels.forget_mappings(bob).expect("its own device");
        }
        site.put("alice", &format!("/{number}"), "here");
    }
    // Merged or not, each of them comes once.
    let mut paths: Vec<String> = (0..20).map(|_| watch.event("change")["path"].as_str().expect("a path").to_owned()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 20, "{paths:?}");
}

/// Mappings that are forgotten sooner than a client speaks, and later.
#[test]
fn an_idle_reader_behind_a_nat_hears_of_the_next_change() {
    let Some(site) = Site::build() else { return };
    let (bob, keep_alive) = (1, Duration::from_secs(15));
    for (kept, quiet, longest) in [(19, 22, SLACK), (4, 8, keep_alive + SLACK)] {
        site.tunnels.keep_mappings_for(bob, kept).expect("its own setting");
        let mut watch = site.watch();
        std::thread::sleep(Duration::from_secs(quiet));
        let written = site.put("alice", "/late", &format!("after {quiet} s"));
        watch.event("change");
        println!("mappings kept for {kept} s: heard {:?} after the receipt", written.elapsed());
        assert!(written.elapsed() < longest, "{:?} with mappings kept for {kept} s", written.elapsed());
    }
}
