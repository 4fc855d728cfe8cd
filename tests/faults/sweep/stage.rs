//! Everybody, as they were before.

use std::path::Path;
use std::process::Command;

use crate::world::{Broker, World, json};

/// Who has a folder.
const WHO: [&str; 3] = ["broker", "alice", "bob"];

/// A broker, alice and bob, who can be put back to how they were.
pub(super) struct Stage {
    pub(super) world: World,
    place: String,
}

impl Stage {
    /// Alice has published a record, and bob has read it.
    pub(super) fn new() -> Self {
        let world = World::new();
        let mut broker = world.alice_and_bob();
        world.put("/seed", "1");
        world.ok("bob", &["watch", "--once"]);
        assert_eq!(broker.process.end_with("TERM").code(), Some(0));
        let stage = Self { place: broker.place().to_owned(), world };
        WHO.iter().for_each(|who| copy(&stage.world.path(who), &stage.world.path(&format!("{who}.before"))));
        stage
    }

    /// Puts everybody back.
    pub(super) fn reset(&self) {
        for who in WHO {
            std::fs::remove_dir_all(self.world.path(who)).expect("it was there");
            copy(&self.world.path(&format!("{who}.before")), &self.world.path(who));
        }
    }

    /// The broker, without anything that fails.
    pub(super) fn broker(&self) -> Broker {
        self.world.broker(&self.place, &[])
    }

    /// The broker, not begun.
    pub(super) fn broker_command(&self) -> Command {
        let data = self.world.path("broker").to_string_lossy().into_owned();
        self.world.command("nobody", &["broker", "--data", &data, "--listen", &self.place])
    }

    /// Number of the head that the broker's folder holds, read without a broker.
    pub(super) fn stands_at(&self) -> u64 {
        let data = self.world.path("broker").to_string_lossy().into_owned();
        let seen = self.world.ok("nobody", &["broker", "inspect", "--data", &data]);
        let queue = seen.lines().map(json).find(|line| line["seen"] == "queue").expect("alice's queue");
        queue["rank"]["number"].as_u64().expect("a number")
    }

    /// Nothing is left of the failure: alice publishes, all of hers is signed and whole, and bob reads it.
    pub(super) fn assert_clean(&self, story: &str) {
        let put = self.world.run("alice", &["put", "/end", &self.world.file("end", "end")]);
        assert_eq!(put.code, 0, "{story}: {put:?}");
        let verified = self.world.run("alice", &["verify"]);
        assert_eq!(verified.code, 0, "{story}: {verified:?}");
        let read = self.world.run("bob", &["get", "alice:/end", "--fresh"]);
        assert_eq!((read.code, read.out.contains("end")), (0, true), "{story}: {read:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().expect("cp").success());
}
