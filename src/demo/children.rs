//! Processes of this program: begun here, ended here by their id, and no others.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;

/// Longest wait for one line of a process.
const LINE: Duration = Duration::from_secs(30);

/// Processes that run. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Children {
    running: Arc<Mutex<BTreeMap<u32, Child>>>,
}

/// Where the demo plays.
pub(super) struct Stage {
    folder: PathBuf,
    program: PathBuf,
    children: Children,
}

/// A process whose standard output is read line by line.
pub(super) struct Running {
    name: String,
    pid: u32,
    children: Children,
    lines: Receiver<String>,
    /// Its standard input, if it reads one.
    pub(super) input: Option<ChildStdin>,
}

/// What a finished process printed.
pub(super) struct Printed {
    /// To standard output.
    pub(super) out: String,
    /// To standard error.
    pub(super) error: String,
}

impl Children {
    fn add(&self, child: Child) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id(), child);
    }

    fn take(&self, pid: u32) -> Option<Child> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid)
    }

    /// Ends whatever still runs.
    pub(super) fn end_all(&self) {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for mut child in running.into_values() {
            // One that ended by itself is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Stage {
    /// A stage in `folder`.
    pub(super) fn new(folder: PathBuf, children: Children) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| failed("this program", &error))?;
        Ok(Self { folder, program, children })
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs a command of a node to its end. It must succeed.
    pub(super) fn run(&self, node: &str, arguments: &[&str]) -> Result<Printed, Failure> {
        let name = format!("{node}: tidings {}", arguments.first().unwrap_or(&""));
        match self.ended(&name, self.command(node, arguments))? {
            (Some(status), printed) if status.success() => Ok(printed),
            (_, printed) => Err(failed(&name, &printed.error.trim())),
        }
    }

    /// Runs a command to its end; no status if it was ended by this process.
    fn ended(&self, name: &str, mut command: Command) -> Result<(Option<ExitStatus>, Printed), Failure> {
        let mut child = command.spawn().map_err(|error| failed(name, &error))?;
        drop(child.stdin.take());
        // Beside each other: a full pipe would stop the process.
        let mut errors = child.stderr.take();
        let error = std::thread::spawn(move || errors.as_mut().map(read_all).unwrap_or_default());
        let mut output = child.stdout.take();
        let pid = child.id();
        self.children.add(child);
        let out = output.as_mut().map(read_all).unwrap_or_default();
        let error = error.join().unwrap_or_default();
        let status = self.children.take(pid).map(|mut child| child.wait()).transpose().map_err(|error| failed(name, &error))?;
        Ok((status, Printed { out, error }))
    }

    /// Runs a command of a node that may fail; gives its exit code.
    pub(super) fn run_failing(&self, node: &str, arguments: &[&str]) -> Result<(i32, Printed), Failure> {
        let name = format!("{node}: tidings {}", arguments.first().unwrap_or(&""));
        let (status, printed) = self.ended(&name, self.command(node, arguments))?;
        Ok((status.and_then(|status| status.code()).unwrap_or(-1), printed))
    }

    /// Begins a command of a node.
    pub(super) fn begin(&self, node: &str, arguments: &[&str]) -> Result<Running, Failure> {
        let name = format!("{node}: tidings {}", arguments.first().unwrap_or(&""));
        let mut command = self.command(node, arguments);
        // What it logs is of interest only to who keeps the folder.
        let log = std::fs::File::options().create(true).append(true).open(self.path(&format!("{node}.log")));
        command.stderr(log.map_err(|error| failed(&name, &error))?);
        let mut child = command.spawn().map_err(|error| failed(&name, &error))?;
        let (sender, lines) = channel();
        let output = child.stdout.take().ok_or_else(|| failed(&name, &"no standard output"))?;
        std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let (pid, input) = (child.id(), child.stdin.take());
        self.children.add(child);
        Ok(Running { name, pid, children: self.children.clone(), lines, input })
    }

    fn command(&self, node: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(self.path(node)).args(["--json"]).args(arguments);
        command.env_remove("TIDINGS_PASSPHRASE_FILE").env_remove("RUST_LOG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Running {
    /// The next line.
    pub(super) fn line(&self) -> Result<String, Failure> {
        self.lines.recv_timeout(LINE).map_err(|error| failed(&self.name, &format!("no line came: {error}")))
    }

    /// The next line as JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        let line = self.line()?;
        serde_json::from_str(&line).map_err(|error| failed(&self.name, &error))
    }

    /// Ends it at once (SIGKILL) and waits until it is gone.
    pub(super) fn kill(&self) -> Result<(), Failure> {
        let Some(mut child) = self.children.take(self.pid) else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map(drop).map_err(|error| failed(&self.name, &error))
    }

    /// Asks it to end (SIGINT). It must end without failure.
    pub(super) fn interrupt(&self) -> Result<(), Failure> {
        self.ask_to_end()?;
        self.finish()
    }

    /// Asks it to end (SIGINT). It must end with this exit code.
    pub(super) fn interrupt_failing(&self, code: i32) -> Result<(), Failure> {
        self.ask_to_end()?;
        let status = self.ended()?;
        if status.is_none_or(|status| status.code() == Some(code)) { Ok(()) } else { Err(failed(&self.name, &"it ended otherwise")) }
    }

    fn ask_to_end(&self) -> Result<(), Failure> {
        let asked = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.pid)).status();
        asked.map(drop).map_err(|error| failed(&self.name, &error))
    }

    /// Waits for its end. It must end without failure.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        match self.ended()? {
            Some(status) if !status.success() => Err(failed(&self.name, &status)),
            _ => Ok(()),
        }
    }

    /// How it ended; `None` if that was waited for before.
    fn ended(&self) -> Result<Option<ExitStatus>, Failure> {
        let child = self.children.take(self.pid);
        child.map(|mut child| child.wait()).transpose().map_err(|error| failed(&self.name, &error))
    }
}

/// A step that failed.
pub(super) fn failed(who: &str, what: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{who}: {what}"), "repeat with --keep and look into the folder it names")
}

/// A folder or file as an argument.
pub(super) fn argument(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| failed("the folder for temporary files", &"its name is not Unicode"))
}

fn read_all(input: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before an error is all there is.
    let _ = input.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
