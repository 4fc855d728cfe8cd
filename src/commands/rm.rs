//! `tidings rm`: deletes a record.

use clap::Args;
use tidings_client::Write;

use super::put;
use crate::args::Globals;
use crate::failure::Failure;
use crate::place;

/// Delete a record; returns when a broker has the delete on disk
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// The record, like /favorites/color
    path: String,
    /// Return when it is durable here; the next command publishes it
    #[arg(long)]
    no_wait: bool,
}

/// Deletes it.
pub(crate) async fn run(globals: Globals, args: RmArgs) -> Result<(), Failure> {
    let path = place::record(&args.path)?;
    put::write(&globals, "rm", Write::Delete { path }, args.no_wait).await
}
