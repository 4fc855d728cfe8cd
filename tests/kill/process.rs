//! A process whose lines are read while it runs, and of which nothing that it printed is lost when it is killed.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that wait to be looked at; more are not read.
const LINES_MAX: usize = 1 << 16;
/// Longer than anything here takes; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A running process; killed when it is dropped.
pub(crate) struct Process {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    reading: Option<JoinHandle<()>>,
}

impl Process {
    /// Begins a command. Standard error is added to `log`.
    pub(crate) fn begin(mut command: Command, log: &Path) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(log).expect("the folder is writable");
        let what = format!("{:?}", command.get_args().skip(1).collect::<Vec<_>>());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("it starts");
        let (sender, lines) = sync_channel(LINES_MAX);
        let out = child.stdout.take().expect("a pipe");
        let reading = Some(std::thread::spawn(move || read(out, &sender)));
        Self { what, input: child.stdin.take(), child, lines, reading }
    }

    /// Gives it a line. Whether it may have taken it: one that was killed has not.
    pub(crate) fn feed(&mut self, line: &str) -> bool {
        self.input.as_mut().is_some_and(|input| input.write_all(line.as_bytes()).is_ok())
    }

    /// Nothing more is given to it.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line if one comes within `patience`.
    pub(crate) fn line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// The next line; `None` if it ended without one.
    ///
    /// # Panics
    /// It neither prints nor ends.
    pub(crate) fn said(&self) -> Option<String> {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it neither prints nor ends: {}", self.what),
        }
    }

    /// SIGKILL. It may go on until [`Self::rest`].
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
    }

    /// SIGINT, as a person would end it.
    pub(crate) fn interrupt(&self) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.child.id())).status().expect("a shell");
        assert!(sent.success(), "it ended by itself");
    }

    /// Waits for its end; all whole lines that nobody looked at yet, and how it ended.
    ///
    /// # Panics
    /// It neither prints nor ends.
    pub(crate) fn rest(mut self) -> (Vec<String>, ExitStatus) {
        let lines = std::iter::from_fn(|| self.said()).collect();
        (lines, self.child.wait().expect("it ends"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The thread may wait for somebody to look.
        while self.lines.recv().is_ok() {}
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
    }
}

/// Half a line was not printed: whoever reads a pipe line by line does not see it.
fn read(out: ChildStdout, lines: &SyncSender<String>) {
    let mut out = BufReader::new(out);
    let mut line = String::new();
    while out.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
        if lines.send(line.trim_end().to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}
