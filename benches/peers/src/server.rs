//! A server as a child process in a temporary folder, and what the kernel says about it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdout, Command};

/// Clock ticks in a second, as /proc counts processor time on Linux.
const TICKS_A_SECOND: f64 = 100.0;
/// Unit in which the kernel counts what a file takes on the disk.
const BLOCK_BYTES: u64 = 512;

/// A running server. It is killed when this is dropped, and by the kernel when this program dies.
pub(crate) struct Server {
    child: Child,
    process: u32,
    folder: TempDir,
}

impl Server {
    /// An empty folder for a server that is not started yet.
    pub(crate) fn folder() -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("tidings-peers-").tempdir()?)
    }

    /// Starts `program` with `arguments`; its log goes to the file `log` in `folder`.
    ///
    /// To be called by the main task only: the kernel's signal at the death of the parent follows the thread that started the child.
    pub(crate) fn start(program: &Path, arguments: &[String], folder: TempDir) -> Result<Self> {
        let log = fs::File::options().create(true).append(true).open(folder.path().join("log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).current_dir(folder.path());
        let child = command.spawn().with_context(|| format!("{} does not start", program.display()))?;
        let process = child.id().context("the server ended at once")?;
        Ok(Self { child, process, folder })
    }

    /// What it prints, once.
    pub(crate) fn output(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("its output was taken before")
    }

    /// Its process id.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Folder that holds everything of it.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// Kills it as a power cut of the process would, and gives its folder back as it is.
    pub(crate) async fn kill(mut self) -> Result<TempDir> {
        self.child.kill().await?;
        Ok(self.folder)
    }

    /// What the kernel counted for it until now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        usage(&self.process.to_string())
    }

    /// The end of its log, for an error.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }
}

/// Counters of one process since it started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of processor time, user and system.
    pub(crate) cpu_seconds: f64,
    /// Bytes it caused to be written to the disk.
    pub(crate) written_bytes: u64,
    /// Resident memory now.
    pub(crate) resident_bytes: u64,
    /// The most it ever was.
    pub(crate) resident_bytes_max: u64,
}

/// Counters of a process, `self` for this one.
pub(crate) fn usage(process: &str) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the server is gone")?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let io = fs::read_to_string(format!("/proc/{process}/io"))?;
    Ok(Usage {
        cpu_seconds: processor_ticks(&stat)? / TICKS_A_SECOND,
        written_bytes: field(&io, "write_bytes:")?,
        resident_bytes: field(&status, "VmRSS:")? * 1024,
        resident_bytes_max: field(&status, "VmHWM:")? * 1024,
    })
}

/// Bytes that a folder takes on the disk.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => disk_bytes(&entry.path()),
            Ok(data) => data.blocks() * BLOCK_BYTES,
            Err(_) => 0,
        })
        .sum()
}

/// A TCP port on the loopback interface that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Polls until `ready` gives something, at most `limit`.
pub(crate) async fn poll<T>(limit: Duration, mut ready: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let started = std::time::Instant::now();
    while started.elapsed() < limit {
        if let Some(found) = ready().await {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("nothing within {} s", limit.as_secs())
}

/// Fields 14 and 15, counted behind the name, which may hold blanks.
fn processor_ticks(stat: &str) -> Result<f64> {
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let fields: Vec<f64> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    Ok(fields.iter().sum())
}

fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().context("an empty line")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::processor_ticks;

    #[test]
    fn processor_time_is_found_behind_a_name_with_blanks() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0";
        assert_eq!(processor_ticks(stat).ok(), Some(300.0));
    }
}
