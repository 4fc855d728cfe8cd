//! `tidings bench`: how fast a broker is, asked from here by the client that applications use.

mod catch_up;
mod connections; // what goes over the network
mod ground; // what a run stands on
mod idle;
mod ids;
mod latency; // histograms
mod listen; // readers that take changes
mod live;
mod load; // owners that write
mod owner;
mod pace; // when writes are due
mod publish;
mod reader;
mod seed; // who the nodes are
mod stamp; // values that tell when they were due
mod summary; // what is printed
mod tally; // what came of the writes
mod usage; // of this process
mod window; // which writes count

use clap::{Args, Subcommand};

use crate::args::Globals;
use crate::failure::Failure;

/// Measure a broker from here, with nodes of its own: publishing, hearing, catching up, being idle
///
/// Every workload makes nodes of its own in a temporary folder and leaves their queues at the broker: measure one that is there for it.
/// Interrupted, it prints what was measured so far.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    Publish(publish::PublishArgs),
    Live(live::LiveArgs),
    CatchUp(catch_up::CatchUpArgs),
    Idle(idle::IdleArgs),
    Ids(ids::IdsArgs),
}

/// Measures, and prints what was measured.
pub(crate) async fn run(globals: Globals, args: BenchArgs) -> Result<(), Failure> {
    match args.workload {
        Workload::Publish(args) => publish::run(globals, args).await,
        Workload::Live(args) => live::run(globals, args).await,
        Workload::CatchUp(args) => catch_up::run(globals, args).await,
        Workload::Idle(args) => idle::run(globals, args).await,
        Workload::Ids(args) => ids::run(globals, &args),
    }
}
