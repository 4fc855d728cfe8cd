//! Each write, sync and name of the real program fails once: nothing that was acknowledged is lost, nothing that failed is called done,
//! the failure is named, nothing panics, and the next start without a failure is clean.

mod broker;
mod owner;
mod reader;
mod stage; // everybody, as they were before

use std::process::Command;

use serde_json::{Value, json};

use super::positions::{Position, chosen};
use super::strace::{self, Errno, Injection};
use crate::world::{Done, World};

/// What was tried, for the line that is printed.
#[derive(Debug, Default)]
struct Tally {
    found: usize,
    tried: usize,
    met: usize,
    refused: usize,
}

impl Tally {
    /// Prints it, and keeps it in the file that `TIDINGS_FAULTS_EVIDENCE` names.
    fn tell(&self, what: &str) {
        let tally = json!({ "positions": self.found, "tried": self.tried, "met": self.met, "failed": self.refused });
        println!("{what}: {tally}");
        assert!(self.met > 0, "no call that was to fail was met");
        if let Some(file) = std::env::var_os("TIDINGS_FAULTS_EVIDENCE") {
            let file = crate::world::repository().join(file);
            let kept = std::fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str(&text).ok());
            let mut all: serde_json::Map<String, Value> = kept.unwrap_or_default();
            all.insert(what.to_owned(), tally);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, format!("{:#}\n", Value::Object(all))).expect("evidence");
        }
    }
}

/// Every chosen position with each way to fail.
fn injections(all: Vec<Position>, count: usize, tally: &mut Tally) -> Vec<Injection> {
    tally.found = all.len();
    let each = |position: Position| [Errno::Eio, Errno::Enospc].map(|errno| Injection { position: position.clone(), errno });
    chosen(all, count).into_iter().flat_map(each).collect()
}

/// Runs a command of a node under strace, to its end.
fn run(world: &World, command: &Command, injection: Option<&Injection>) -> (Done, u32) {
    let log = world.path("strace");
    let _ = std::fs::remove_file(&log);
    let child = strace::traced(command, &log, injection)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = child.id();
    (Done::from(child.wait_with_output().expect("it ends")), pid)
}

/// What every ended command owes, however its disk failed: an exit code of its own, and words if it failed.
fn assert_orderly(story: &str, done: &Done) {
    assert!((0..=5).contains(&done.code), "{story}: {done:?}");
    assert!(!done.err.contains("panicked"), "{story}: {done:?}");
    if done.code != 0 {
        assert!(!done.error().is_empty() && !done.exit_and_effect().1.is_empty(), "{story}: {done:?}");
    }
}
