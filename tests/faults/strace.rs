//! Commands whose system calls are counted, or made to fail, by strace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::positions::Position;

/// What writes, syncs, or gives a name.
const CALLS: &str =
    "write,pwrite64,writev,fsync,fdatasync,sync_file_range,ftruncate,fallocate,rename,renameat,renameat2,link,linkat,openat";

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    /// The disk failed.
    Eio,
    /// The disk is full.
    Enospc,
}

impl Errno {
    pub(crate) fn name(self) -> &'static str {
        if self == Self::Eio { "EIO" } else { "ENOSPC" }
    }

    /// What the system says of it.
    pub(crate) fn text(self) -> &'static str {
        if self == Self::Eio { "Input/output error" } else { "No space left on device" }
    }
}

/// One call that fails.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub(crate) position: Position,
    pub(crate) errno: Errno,
}

/// Whether strace can be had here; if not, that is said and counted in the output.
pub(crate) fn is_there() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped 1 test: there is no strace that may trace here");
    }
    works
}

/// The same command under strace, which keeps what it saw in `log`. The process is the command's own: it is signalled and waited for
/// as without.
pub(crate) fn traced(command: &Command, log: &Path, injection: Option<&Injection>) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-q", "-y", "-s", "0", "-e", "signal=none", "-o"]).arg(log);
    match injection {
        None => traced.args(["-e", &format!("trace={CALLS}")]),
        Some(Injection { position, errno }) => {
            let inject = format!("inject={}:error={}:when={}", position.call, errno.name(), position.turn);
            traced.args(["-e", &format!("trace={}", position.call), "-e", &inject, "-P"]).arg(&position.path)
        }
    };
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

/// What strace saw of a process that has ended: waits until it has written all of it.
fn seen(log: &Path, pid: u32) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    let thread = pid.to_string();
    let ends = |line: &str| line.split_once(' ').is_some_and(|(of, rest)| of == thread && rest.trim_start().starts_with("+++ "));
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.lines().any(ends) {
            return text;
        }
        assert!(Instant::now() < deadline, "strace did not end");
        std::thread::yield_now();
    }
}

/// Whether the call was met.
pub(crate) fn was_met(log: &Path, pid: u32) -> bool {
    seen(log, pid).contains("(INJECTED)")
}

/// Every call of a process that has ended on files below `folder`, once for each turn in which one of its threads came to it.
pub(crate) fn positions(log: &Path, pid: u32, folder: &Path) -> Vec<Position> {
    let mut turns: BTreeMap<(String, PathBuf), BTreeMap<String, u32>> = BTreeMap::new();
    for line in seen(log, pid).lines() {
        let Some((thread, call, path)) = parse(line) else { continue };
        if path.starts_with(folder) {
            *turns.entry((call.to_owned(), path)).or_default().entry(thread.to_owned()).or_default() += 1;
        }
    }
    let each = |((call, path), threads): ((String, PathBuf), BTreeMap<String, u32>)| {
        let most = threads.into_values().max().unwrap_or_default();
        (1..=most).map(move |turn| Position { call: call.clone(), path: path.clone(), turn })
    };
    turns.into_iter().flat_map(each).collect()
}

/// Thread, call and path of a line; `None` for what makes and changes no file.
fn parse(line: &str) -> Option<(&str, &str, PathBuf)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, arguments) = rest.trim_start().split_once('(')?;
    let path = if matches!(call, "openat" | "rename" | "link" | "renameat" | "renameat2" | "linkat") {
        if call == "openat" && !arguments.contains("O_CREAT") {
            return None;
        }
        arguments.split('"').nth(1)?
    } else {
        arguments.split_once('<')?.1.split_once('>')?.0
    };
    Some((thread, call, PathBuf::from(path)))
}
