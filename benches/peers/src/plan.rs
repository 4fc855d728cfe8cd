//! How much is measured: two minutes, forty, or as long as it takes.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::evidence::QUICK;
use crate::workloads::WORKLOADS;

/// Measures nothing and writes the tables and plots anew.
const TABLES: &str = "tables";
/// Connections that a process cannot have beside those of readers: listeners, files, the publisher's.
const OTHER_FILES: usize = 400;

/// Sizes of everything.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// `quick`, `usual` or `full`.
    pub(crate) extent: &'static str,
    /// Workloads to measure.
    pub(crate) only: Vec<String>,
    /// How often each case is measured, the systems in turn.
    pub(crate) rounds: usize,
    /// Length of one publish load.
    pub(crate) publish_lasts: Duration,
    /// Sizes of values.
    pub(crate) sizes: Vec<usize>,
    /// Publishers at once.
    pub(crate) owners: Vec<usize>,
    /// Messages in flight to choose the best of.
    pub(crate) depths: Vec<usize>,
    /// Readers of one queue.
    pub(crate) readers: Vec<usize>,
    /// Length of one live load.
    pub(crate) live_lasts: Duration,
    /// Mutations to catch up, all live.
    pub(crate) catch_up: u64,
    /// Mutations, and of how many records, to catch up merged.
    pub(crate) conflated: (u64, u64),
    /// Readers that do nothing.
    pub(crate) idle: Vec<usize>,
    /// Entries of one queue.
    pub(crate) entries: Vec<u64>,
    /// Queues of one broker.
    pub(crate) queues: Vec<usize>,
    /// Bytes of values to start again with.
    pub(crate) restart_bytes: u64,
    /// Readers that catch up at once while memory is watched.
    pub(crate) catching_up: usize,
    /// Entries that each of them catches up with.
    pub(crate) caught_up: u64,
    /// Length of a burst of writes then.
    pub(crate) burst_lasts: Duration,
}

impl Plan {
    /// As `QUICK`, `FULL` and `ONLY` say.
    pub(crate) fn from_environment() -> Result<Self> {
        let set = |name| std::env::var(name).is_ok_and(|value| !value.is_empty() && value != "0");
        let mut plan = match (set("QUICK"), set("FULL")) {
            (true, _) => Self::quick(),
            (false, false) => Self::usual(),
            (false, true) => Self::full(),
        };
        let only = std::env::var("ONLY").unwrap_or_default();
        let only: Vec<String> = only.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if only == [TABLES] {
            plan.only.clear();
            return Ok(plan);
        }
        for name in &only {
            ensure!(WORKLOADS.contains(&name.as_str()), "ONLY={name}: there is {} and {TABLES}", WORKLOADS.join(", "));
        }
        let readers_max = files_max()?.saturating_sub(OTHER_FILES);
        plan.idle.iter_mut().for_each(|readers| *readers = readers_max.min(*readers));
        if !only.is_empty() {
            plan.only = only;
        }
        Ok(plan)
    }

    /// About forty minutes.
    pub(crate) fn usual() -> Self {
        Self {
            extent: "usual",
            only: WORKLOADS.map(str::to_owned).to_vec(),
            rounds: 3,
            publish_lasts: Duration::from_secs(4),
            sizes: vec![256, 1024],
            owners: vec![1, 8],
            depths: vec![64, 256, 1024],
            readers: vec![1, 100, 1000],
            live_lasts: Duration::from_secs(5),
            catch_up: 100_000,
            conflated: (1_000_000, 10_000),
            idle: vec![1_000, 20_000],
            entries: vec![10_000, 100_000, 1_000_000],
            queues: vec![1, 10, 100, 1_000],
            restart_bytes: 1_000_000_000,
            catching_up: 100,
            caught_up: 20_000,
            burst_lasts: Duration::from_secs(15),
        }
    }

    fn quick() -> Self {
        Self {
            extent: QUICK,
            rounds: 1,
            publish_lasts: Duration::from_secs(1),
            sizes: vec![1024],
            depths: vec![256],
            readers: vec![1, 100],
            live_lasts: Duration::from_secs(2),
            catch_up: 20_000,
            conflated: (100_000, 1_000),
            idle: vec![500],
            entries: vec![10_000, 30_000],
            queues: vec![1, 10],
            restart_bytes: 30_000_000,
            catching_up: 20,
            caught_up: 5_000,
            burst_lasts: Duration::from_secs(3),
            ..Self::usual()
        }
    }

    fn full() -> Self {
        let usual = Self::usual();
        let entries = [usual.entries.as_slice(), &[10_000_000]].concat();
        let queues = [usual.queues.as_slice(), &[10_000]].concat();
        Self { extent: "full", entries, queues, restart_bytes: 10_000_000_000, ..usual }
    }
}

fn files_max() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    Ok(line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024))
}
