//! A command with a deadline and a bound of memory.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::json;

/// Longest life of a command that has nothing to wait for: far more than a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(90);
/// Most memory of any command here, KiB. Ordinary ones use a twentieth of it; a file that is read whole would be twenty times as large.
const MEMORY_KIB: u64 = 512 * 1024;
/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end. It must not hang, not grow, not panic and not be ended by a signal.
pub(crate) fn attempt(command: &mut Command, what: &str) -> Attempt {
    let (out, err) = (scratch(), scratch());
    command.stdout(out.try_clone().expect("a file")).stderr(err.try_clone().expect("a file"));
    let status = watched(command.spawn().expect("it starts"), what);
    let attempt = Attempt { status, out: text(out), err: text(err) };
    let code = attempt.status.code().unwrap_or_else(|| panic!("{what}: ended by a signal: {attempt:?}"));
    assert!((0..=5).contains(&code), "{what}: {attempt:?}");
    attempt
}

fn watched(mut child: Child, what: &str) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        let memory = peak_kib(child.id());
        let is_late = Instant::now() > deadline;
        if is_late || memory > MEMORY_KIB {
            child.kill().expect("a child");
            child.wait().expect("a child");
            panic!("{what}: late: {is_late}, {memory} KiB");
        }
        // Paces the look at its memory; nothing is waited for here.
        std::thread::park_timeout(GLANCE);
    }
}

/// Most memory that a process had at once, KiB; 0 once it ended.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

fn scratch() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn text(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a readable file");
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Attempt {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// The failure on standard error: its last line.
    pub(crate) fn failure(&self) -> Value {
        json(self.err.lines().last().unwrap_or_else(|| panic!("no failure: {self:?}")))
    }

    /// It failed with a clear error that names this file, and changed nothing.
    pub(crate) fn refused_naming(&self, file: &str, what: &str) {
        let failure = self.failure();
        assert_eq!(failure["exit"].as_i64(), self.status.code().map(i64::from), "{what}: {failure}");
        assert_eq!(failure["effect"], "none", "{what}: {failure}");
        assert!(failure["error"].as_str().is_some_and(|error| error.contains(file)), "{what}: {failure}");
    }
}
