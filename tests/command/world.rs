//! Homes, a broker and commands in a folder of their own, as real processes.

pub(crate) mod port;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidings");

/// This repository, as cargo says when it runs the test: what is compiled into it may be of another checkout that shares the target
/// folder.
#[allow(dead_code, reason = "for the tests that share this file with those of the command")]
pub(crate) fn repository() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// A folder with homes; everything in it ends with it.
pub(crate) struct World {
    folder: TempDir,
}

/// A process that is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

/// A running broker.
pub(crate) struct Broker {
    /// The process.
    pub(crate) process: Running,
    /// The second line that it printed.
    pub(crate) address: String,
}

/// A finished command.
#[derive(Debug)]
pub(crate) struct Done {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl World {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in it and gives its path as an argument.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).expect("the folder is writable");
        self.path(name).to_string_lossy().into_owned()
    }

    /// Puts a copy of a folder in the place of another one, with all times and rights.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let _ = std::fs::remove_dir_all(self.path(to));
        let copied = Command::new("cp").arg("-a").arg(self.path(from)).arg(self.path(to)).status().expect("a shell");
        assert!(copied.success());
    }

    /// A command of a node, not yet run.
    pub(crate) fn command(&self, node: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--home").arg(self.path(node)).arg("--json").args(arguments);
        command.env_remove("TIDINGS_HOME").env_remove("TIDINGS_PASSPHRASE_FILE").env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Runs a command of a node.
    pub(crate) fn run(&self, node: &str, arguments: &[&str]) -> Done {
        Done::of(self.command(node, arguments))
    }

    /// Runs a command of a node that must succeed; gives what it printed.
    pub(crate) fn ok(&self, node: &str, arguments: &[&str]) -> String {
        let done = self.run(node, arguments);
        assert_eq!(done.code, 0, "{node}: {arguments:?}: {}", done.err);
        done.out
    }

    /// The same with something on standard input.
    pub(crate) fn feed(&self, node: &str, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(node, arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        Done::from(child.wait_with_output().expect("it ends"))
    }

    /// Begins a command of a node.
    pub(crate) fn begin(&self, node: &str, arguments: &[&str]) -> Running {
        Running::begin(self.command(node, arguments))
    }

    /// The same with its standard input open.
    pub(crate) fn begin_fed(&self, node: &str, arguments: &[&str]) -> Running {
        let mut command = self.command(node, arguments);
        command.stdin(Stdio::piped());
        Running::begin(command)
    }

    /// Begins a broker; `more` are its further arguments. Port 0 is one that it has for itself, also while it is away.
    pub(crate) fn broker(&self, listen: &str, more: &[&str]) -> Broker {
        self.broker_in("broker", listen, more)
    }

    /// The same with another folder of data.
    pub(crate) fn broker_in(&self, data: &str, listen: &str, more: &[&str]) -> Broker {
        let data = self.path(data).to_string_lossy().into_owned();
        let listen = match listen.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", port::steady()),
            None => listen.to_owned(),
        };
        let mut process = self.begin("nobody", &[&["broker", "--data", &data, "--listen", &listen], more].concat());
        assert!(process.line().starts_with("listening on 127.0.0.1:"));
        let address = process.line();
        Broker { process, address }
    }

    /// Begins to run a node; it serves when this returns.
    pub(crate) fn up(&self, node: &str) -> Running {
        let mut up = self.begin(node, &["up"]);
        assert!(up.line().contains("did:key:"));
        up
    }

    /// Waits until a node says of its first follow that it has come to `offset` and waits with `pending` changes.
    pub(crate) fn wait_for(&self, node: &str, offset: u64, pending: u64) {
        self.wait_until(node, |follow| (follow["offset"].as_u64(), follow["pending"].as_u64()) == (Some(offset), Some(pending)));
    }

    /// Waits until what a node says of its first follow is as it should be.
    pub(crate) fn wait_until(&self, node: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let follow = &json(&self.ok(node, &["status"]))["follows"][0];
            if is_so(follow) {
                return;
            }
            assert!(Instant::now() < deadline, "{follow}");
        }
    }

    /// A broker, alice with a queue there, and bob who follows her.
    pub(crate) fn alice_and_bob(&self) -> Broker {
        let broker = self.broker("127.0.0.1:0", &[]);
        self.ok("alice", &["init", "--broker", &broker.address]);
        self.ok("bob", &["init"]);
        self.ok("bob", &["follow", &self.invitation("bob"), "--as", "alice"]);
        broker
    }

    /// Takes alice's storage away: only a broker can tell of her now.
    pub(crate) fn without_storage(&self) {
        std::fs::remove_dir_all(self.path("alice/storage")).expect("alice's storage is there");
    }

    /// An invitation of alice for a node.
    pub(crate) fn invitation(&self, node: &str) -> String {
        let card = json(&self.ok(node, &["id"]))["card"].as_str().expect("a card").to_owned();
        json(&self.ok("alice", &["grant", &card, "--as", node]))["invitation"].as_str().expect("an invitation").to_owned()
    }

    /// Writes a record of alice that must be receipted.
    pub(crate) fn put(&self, path: &str, value: &str) {
        self.ok("alice", &["put", path, &self.file("value", value)]);
    }
}

impl Broker {
    /// Host and port.
    pub(crate) fn place(&self) -> &str {
        self.address.trim_start_matches("tidings://").split('?').next().expect("a place")
    }
}

impl Running {
    /// Begins a command whose standard output is read here.
    pub(crate) fn begin(mut command: Command) -> Self {
        command.stderr(Stdio::null());
        Self::spawn(&mut command)
    }

    /// The same with standard error in a file.
    pub(crate) fn begin_logged(command: &mut Command, log: File) -> Self {
        Self::spawn(command.stderr(log))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let input = child.stdin.take();
        Self { child, lines, input }
    }

    /// Gives it a line.
    pub(crate) fn feed(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("its input is open"), "{line}").expect("it reads");
    }

    /// Gives it the beginning of a line.
    pub(crate) fn feed_part(&mut self, part: &str) {
        write!(self.input.as_mut().expect("its input is open"), "{part}").expect("it reads");
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints");
        line.trim_end().to_owned()
    }

    /// All lines that are left.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("it prints");
        rest
    }

    /// The next event of a kind.
    pub(crate) fn event(&mut self, kind: &str) -> Value {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it ended before {kind}");
            let event = json(&line);
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Sends a signal by its name and waits for the end.
    pub(crate) fn end_with(&mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", self.pid())).status().expect("a shell");
        assert!(sent.success());
        self.child.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        Self::from(command.output().expect("it starts"))
    }

    /// The failure on standard error: its last line.
    pub(crate) fn failure(&self) -> Value {
        json(self.err.lines().last().unwrap_or_else(|| panic!("no failure: {self:?}")))
    }

    /// Exit code and effect; the exit code in the failure must be the same.
    pub(crate) fn exit_and_effect(&self) -> (i32, String) {
        let failure = self.failure();
        assert_eq!(failure["exit"], self.code, "{failure}");
        assert!(failure["action"].as_str().is_some_and(|action| !action.is_empty()), "{failure}");
        (self.code, failure["effect"].as_str().expect("an effect").to_owned())
    }

    /// What happened, in words.
    pub(crate) fn error(&self) -> String {
        self.failure()["error"].as_str().expect("an error").to_owned()
    }
}

impl From<std::process::Output> for Done {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// One line of JSON.
pub(crate) fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
