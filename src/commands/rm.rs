//! `tidings rm`: deletes a record.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::put;
use crate::args::Globals;
use crate::failure::Failure;
use crate::place;

/// Delete a record; returns when a broker has the delete on disk
#[derive(Debug, Args, Serialize, Deserialize)]
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
    let node = put::open(&globals, args.no_wait).await?;
    let deleted = node.datastore.delete(path.clone()).await;
    put::finish(&globals, node, ("rm", &path), deleted, args.no_wait).await
}
