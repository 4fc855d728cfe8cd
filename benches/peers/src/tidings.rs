//! This broker: the process that an operator runs, driven by the command that a user measures with.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::server::Server;

/// Set by `run.sh`: the command under test.
const PROGRAM: &str = "TIDINGS_PEERS_TIDINGS";
const LOG: &str = "log";
const STARTS_WITHIN: Duration = Duration::from_secs(300);
/// No single load of a plan takes as long as this.
const ENDS_WITHIN: Duration = Duration::from_secs(1800);

/// A running broker.
pub(crate) struct Tidings {
    /// Its process.
    pub(crate) server: Server,
    address: String,
}

/// A running `tidings bench`; it is killed when this is dropped.
pub(crate) struct Bench {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its home and its log, which go when it ended.
    folder: TempDir,
}

impl Tidings {
    /// Starts one in an empty folder.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_in(Server::folder()?).await
    }

    /// Starts one with the queues of a folder; it serves when this returns.
    pub(crate) async fn start_in(folder: TempDir) -> Result<Self> {
        let data = folder.path().join("data").to_string_lossy().into_owned();
        let home = folder.path().join("home").to_string_lossy().into_owned();
        let words = ["--home", &home, "broker", "--data", &data, "--listen", "127.0.0.1:0", "--admit", "open"];
        let mut server = Server::start(&program()?, &words.map(str::to_owned), folder)?;
        let mut lines = BufReader::new(server.output()?).lines();
        let told = async { anyhow::Ok((lines.next_line().await?, lines.next_line().await?)) };
        let (_, address) = tokio::time::timeout(STARTS_WITHIN, told).await.context("the broker does not serve")??;
        let address = address.with_context(|| format!("the broker ended: {}", server.last_words()))?;
        Ok(Self { server, address })
    }

    /// Runs `tidings bench` to its end; gives its last line.
    pub(crate) async fn bench(&self, words: &[&str]) -> Result<Value> {
        let mut bench = self.begin(words)?;
        let mut last = None;
        while let Some(line) = bench.line().await? {
            last = Some(line);
        }
        last.context("it printed nothing")
    }

    /// Starts `tidings bench`.
    pub(crate) fn begin(&self, words: &[&str]) -> Result<Bench> {
        let folder = Server::folder()?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program()?).args(["--json", "--progress", "never", "--timeout", "10m"]);
        command.arg("--home").arg(folder.path().join("home")).arg("bench").args(words).arg("--broker").arg(&self.address);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(folder.path().join(LOG))?).kill_on_drop(true);
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        Ok(Bench { child, lines, folder })
    }
}

impl Bench {
    /// Its process, while it runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its next line; `None` when it ended well.
    pub(crate) async fn line(&mut self) -> Result<Option<Value>> {
        let line = tokio::time::timeout(ENDS_WITHIN, self.lines.next_line()).await.context("tidings bench does not end")??;
        if let Some(line) = line {
            return Ok(Some(serde_json::from_str(&line)?));
        }
        let said = std::fs::read_to_string(self.folder.path().join(LOG))?;
        ensure!(self.child.wait().await?.success(), "tidings bench: {}", said.lines().last().unwrap_or("no word"));
        Ok(None)
    }
}

/// A number in a line.
pub(crate) fn number(line: &Value, name: &str) -> Result<f64> {
    match line[name].as_f64() {
        Some(number) => Ok(number),
        None => bail!("tidings bench told no `{name}`"),
    }
}

fn program() -> Result<PathBuf> {
    std::env::var_os(PROGRAM).map(PathBuf::from).with_context(|| format!("{PROGRAM} is not set; use make bench-peers"))
}
