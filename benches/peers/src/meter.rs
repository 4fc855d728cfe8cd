//! What a span of work cost: processor time of server and client, bytes on the disk and on the wire.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::server::{Server, Usage, disk_bytes, usage};

/// Set by `run.sh` when the program has a network namespace of its own, so that the loopback counters are its own too.
const OWN_NETWORK: &str = "TIDINGS_PEERS_OWN_NETWORK";
const MICROS_A_SECOND: f64 = 1e6;

/// Counters at the beginning of a span.
pub(crate) struct Meter {
    started: Instant,
    server: Usage,
    client: Usage,
    folder: PathBuf,
    disk: u64,
    wire: Option<u64>,
    process: String,
}

/// What a span cost, each for one message. What could not be had is `None`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Cost {
    /// Processor time of the server, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_us: Option<f64>,
    /// Processor time of the clients, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_cpu_us: Option<f64>,
    /// By how much the server's folder grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_bytes: Option<f64>,
    /// What the server wrote to the disk, rewriting included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written_bytes: Option<f64>,
    /// What crossed the loopback interface, both ways, headers of its large packets included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wire_bytes: Option<f64>,
    /// The most memory the server had since it started; not for one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_max_bytes: Option<f64>,
}

/// A span that ended.
pub(crate) struct Span {
    /// Wall clock, seconds.
    pub(crate) seconds: f64,
    server_cpu: f64,
    client_cpu: f64,
    disk: f64,
    written: f64,
    wire: Option<f64>,
    rss_max: f64,
}

impl Meter {
    /// Begins.
    pub(crate) fn start(server: &Server) -> Result<Self> {
        let (folder, process) = (server.path(), server.process().to_string());
        let (disk, wire, client) = (disk_bytes(&folder), wire_bytes(), usage("self")?);
        Ok(Self { started: Instant::now(), server: usage(&process)?, client, folder, disk, wire, process })
    }

    /// Counts until now. It can be asked again.
    pub(crate) fn stop(&self) -> Result<Span> {
        let seconds = self.started.elapsed().as_secs_f64();
        let (server, client, wire) = (usage(&self.process)?, usage("self")?, wire_bytes());
        Ok(Span {
            seconds,
            server_cpu: server.cpu_seconds - self.server.cpu_seconds,
            client_cpu: client.cpu_seconds - self.client.cpu_seconds,
            disk: disk_bytes(&self.folder) as f64 - self.disk as f64,
            written: server.written_bytes.saturating_sub(self.server.written_bytes) as f64,
            wire: wire.zip(self.wire).map(|(now, before)| now.saturating_sub(before) as f64),
            rss_max: server.resident_bytes_max as f64,
        })
    }
}

impl Span {
    /// Shares the cost among so many messages.
    pub(crate) fn cost(&self, messages: u64) -> Cost {
        let each = |whole: f64| Some(whole / messages.max(1) as f64);
        Cost {
            server_cpu_us: each(self.server_cpu * MICROS_A_SECOND),
            client_cpu_us: each(self.client_cpu * MICROS_A_SECOND),
            disk_bytes: each(self.disk.max(0.0)),
            written_bytes: each(self.written),
            wire_bytes: self.wire.and_then(each),
            rss_max_bytes: Some(self.rss_max),
        }
    }
}

/// Bytes that the loopback interface has carried, if they are ours alone.
fn wire_bytes() -> Option<u64> {
    std::env::var_os(OWN_NETWORK)?;
    let devices = fs::read_to_string("/proc/self/net/dev").ok()?;
    let counters = devices.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    counters.split_whitespace().next()?.parse().ok()
}
