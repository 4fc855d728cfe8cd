//! `tidings get`: the value of a record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::Subscriber;
use tidings_core::RecordPath;
use tidings_datastore::Value;

use super::followed::Freshness;
use super::record::Record;
use super::{draft, values};
use crate::args::Globals;
use crate::failure::{Effect, Failure};
use crate::node::{Node, state_failure};
use crate::place::{self, Place};

/// Longest wait for the value of a followed record, and a second more for each of so many bytes.
const FETCH: Duration = Duration::from_secs(5);
const BYTES_PER_SECOND: u64 = 1024 * 1024;

/// Print the value of a record, verified whole: an own one, or one of a followed owner
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct GetArgs {
    /// /PATH or OWNER:/PATH; OWNER is a name, a did:key or the beginning of one
    #[arg(value_name = "PLACE")]
    place: String,
    /// Write the value there; the file appears when it is whole
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    freshness: Freshness,
}

impl GetArgs {
    /// Makes the name of the file mean the same in every folder.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        self.to.as_mut().map_or(Ok(()), place::absolute)
    }
}

/// Prints it.
pub(crate) async fn run(globals: Globals, args: GetArgs) -> Result<(), Failure> {
    let place = Place::parse(&args.place)?;
    let node = Node::open(&globals, args.freshness.reach()).await?;
    let found = match &place {
        Place::Own(path) => own(&node, path).await,
        Place::Of(owner, path) => followed(&globals, &node, args.freshness, owner, path).await,
    };
    let shown = found.and_then(|(record, value)| show(&globals, record, value, args.to.as_deref()));
    node.close().await;
    shown
}

async fn own(node: &Node, path: &RecordPath) -> Result<(Record, Value), Failure> {
    let (record, value) = values::own(node, path).await?.ok_or_else(|| missing(path))?;
    Ok((Record::own(&record), value))
}

async fn followed(
    globals: &Globals,
    node: &Node,
    freshness: Freshness,
    owner: &str,
    path: &RecordPath,
) -> Result<(Record, Value), Failure> {
    let follow = freshness.catch_up(&globals.console, node, owner).await?;
    let size = Subscriber::value(&node.state, &follow.queue, path).map_err(state_failure)?.map_or(0, |value| value.mutation.size());
    let patience = freshness.patience((FETCH + Duration::from_secs(size / BYTES_PER_SECOND)).min(node.patience));
    let (record, value) = values::followed(node, &follow, path, patience).await?.ok_or_else(|| missing(path))?;
    Ok((Record::followed(&follow.did.to_string(), &record, true), value))
}

fn show(globals: &Globals, record: Record, value: Value, to: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = to else { return record.show(&globals.form(), value) };
    draft::sweep(draft::folder_of(file));
    draft::place(value, file).map_err(|error| unwritable(file, &error))?;
    record.tell(&globals.form()).map_err(|failure| failure.effect(Effect::Done))
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {error}", file.display()), "name a file in a folder that can")
}

fn missing(path: &RecordPath) -> Failure {
    Failure::new(format!("there is no record at {path}"), "see `tidings ls` for what is there")
}
