//! What a run stands on: a broker, a folder of its own, nodes, and somebody who may end it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tempfile::TempDir;
use tidings_client::State;
use tidings_proto::BrokerAddress;
use tokio::task::{JoinError, JoinSet};

use super::seed::{Keys, Seed};
use super::stamp::Stamps;
use crate::args::Globals;
use crate::console::Progress;
use crate::failure::Failure;
use crate::home::Home;
use crate::node::state_failure;
use crate::output::Form;
use crate::signal::Stop;

/// Options of every workload.
#[derive(Clone, Debug, Args)]
pub(super) struct GroundArgs {
    /// Broker to measure: the second line that `tidings broker` prints. [default: the first one of the home]
    #[arg(long, value_name = "ADDR")]
    broker: Option<BrokerAddress>,
    /// Whose state is on disk and synced before anything is told: that of all nodes, that of owners, or nobody's. Readers of one process
    /// share one disk, which readers elsewhere do not. [default: disk; owners for live and idle]
    #[arg(long, value_name = "WHERE")]
    state: Option<Keeping>,
    /// Folder in which the state of the nodes is kept while this runs. [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Makes the same nodes each time: for a broker with a list of who may publish, see `tidings bench ids`
    #[arg(long, value_name = "HEX64")]
    seed: Option<Seed>,
}

/// Whose state is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Keeping {
    /// That of all nodes.
    Disk,
    /// That of owners; readers keep theirs in memory.
    Owners,
    /// Nobody's.
    Memory,
}

/// Whose state it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// An owner's.
    Owner,
    /// A reader's.
    Reader,
}

/// What a run stands on.
pub(super) struct Ground {
    /// What is measured.
    pub(super) broker: BrokerAddress,
    /// How long nothing may come before it is waited for no longer.
    pub(super) patience: Duration,
    /// Who ends the run early.
    pub(super) stop: Stop,
    /// The clock of the values.
    pub(super) stamps: Stamps,
    /// Whose state is on disk.
    pub(super) keeping: Keeping,
    globals: Globals,
    seed: Seed,
    seeded: bool,
    readers: AtomicU64,
    folder: TempDir,
}

impl Ground {
    /// Makes the folder. `keeping` is what is kept on disk if nobody says.
    ///
    /// # Errors
    /// No broker is named, or the folder cannot be made.
    pub(super) fn prepare(globals: Globals, args: GroundArgs, keeping: Keeping) -> Result<Arc<Self>, Failure> {
        let broker = args.broker.map_or_else(|| first_broker(&globals), Ok)?;
        let folder = args.folder.unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("tidings-bench-").tempdir_in(&folder);
        let folder = made.map_err(|error| {
            Failure::new(
                format!("{}: no folder can be made there: {error}", folder.display()),
                "name a folder that can be written with --folder",
            )
        })?;
        let (seeded, seed) = (args.seed.is_some(), args.seed.map_or_else(Seed::random, Ok)?);
        let (patience, stop, stamps) = (globals.timeout, globals.stop()?, Stamps::begin());
        let keeping = args.state.unwrap_or(keeping);
        Ok(Arc::new(Self { broker, patience, stop, stamps, keeping, globals, seed, seeded, readers: AtomicU64::new(0), folder }))
    }

    /// How it prints.
    pub(super) fn form(&self) -> Form {
        self.globals.form()
    }

    /// A bar on standard error.
    pub(super) fn progress(&self, what: &'static str) -> Progress {
        self.globals.console.progress(self.globals.progress, what)
    }

    /// Keys of owners, and keys of readers, from their first ones on.
    pub(super) fn keys(&self) -> (Keys, Keys) {
        self.seed.keys()
    }

    /// Whether an earlier run may have had the same nodes.
    pub(super) fn is_seeded(&self) -> bool {
        self.seeded
    }

    /// A number that no other reader of this run has.
    pub(super) fn reader_number(&self) -> u64 {
        self.readers.fetch_add(1, Ordering::Relaxed)
    }

    /// The state of a new node.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn state(&self, whose: Whose, number: u64) -> Result<State, Failure> {
        let name = match (self.keeping, whose) {
            (Keeping::Memory, _) | (Keeping::Owners, Whose::Reader) => return State::in_memory().map_err(state_failure),
            (_, Whose::Owner) => format!("owner-{number}.redb"),
            (_, Whose::Reader) => format!("reader-{number}.redb"),
        };
        let path = self.folder.path().join(name);
        tokio::task::block_in_place(|| State::open(&path)).map_err(state_failure)
    }

    /// What `work` gives, unless somebody ends the run first.
    ///
    /// # Errors
    /// Those of `work`, or that there is nothing to tell.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            () = self.stop.wait() => Err(nothing_measured()),
        }
    }
}

/// Somebody ended the run before there was anything to tell.
pub(super) fn nothing_measured() -> Failure {
    Failure::new("interrupted before anything was measured", "let it run longer")
}

/// What all tasks give, or the first failure.
pub(super) async fn joined<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut done = Vec::with_capacity(tasks.len());
    while let Some(task) = tasks.join_next().await {
        done.push(task.map_err(task_failure)??);
    }
    Ok(done)
}

/// A task of a run did not end as it should.
pub(super) fn task_failure(error: JoinError) -> Failure {
    Failure::new(format!("a task of the run failed: {error}"), "report this as a bug")
}

fn first_broker(globals: &Globals) -> Result<BrokerAddress, Failure> {
    let brokers = Home::brokers_of(&globals.folder()?)?;
    let none = || Failure::usage("no broker is named", "give the second line that `tidings broker` prints with --broker");
    brokers.into_iter().next().ok_or_else(none)
}
