//! A process that ends as by a power cut: at once, wherever it is.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// A process whose lines are read while it runs. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Option<JoinHandle<()>>,
    errors: PathBuf,
}

impl Process {
    /// Begins it; what it says on standard error goes to the file `errors`. A line that was cut off is no line.
    pub(crate) fn begin(mut command: Command, errors: &Path, mut hear: impl FnMut(&str) + Send + 'static) -> Self {
        command.stdout(Stdio::piped()).stderr(File::create(errors).expect("the folder is writable"));
        let mut child = command.spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let read = move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
                hear(line.trim_end());
                line.clear();
            }
        };
        Self { child, lines: Some(std::thread::spawn(read)), errors: errors.to_owned() }
    }

    /// Its standard input, once.
    pub(crate) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// What it has said on standard error so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Sends the signal that nobody can refuse. It may still wait for its disk.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself, which is found out when it is waited for.
        let _ = self.child.kill();
    }

    /// Waits until it has ended and all its lines were heard; gives what it said on standard error.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        self.lines.take().into_iter().for_each(|lines| lines.join().expect("its lines are heard"));
        let said = self.said();
        (status, said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
