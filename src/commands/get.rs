//! `tidings get`: the value of a record.

use clap::Args;
use tidings_client::Subscriber;
use tidings_core::RecordPath;

use super::followed::Freshness;
use super::record::Record;
use crate::args::Globals;
use crate::failure::Failure;
use crate::node::{Node, state_failure};
use crate::place::Place;

/// Print the value of a record: an own one, or a verified one of a followed owner
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// /PATH or OWNER:/PATH; OWNER is a name, a did:key or the beginning of one
    #[arg(value_name = "PLACE")]
    place: String,
    #[command(flatten)]
    freshness: Freshness,
}

/// Prints it.
pub(crate) async fn run(globals: Globals, args: GetArgs) -> Result<(), Failure> {
    let place = Place::parse(&args.place)?;
    let node = Node::open(&globals, args.freshness.reach())?;
    let shown = match &place {
        Place::Own(path) => own(&globals, &node, path),
        Place::Of(owner, path) => followed(&globals, &node, args.freshness, owner, path).await,
    };
    node.close().await;
    shown
}

fn own(globals: &Globals, node: &Node, path: &RecordPath) -> Result<(), Failure> {
    let value = node.publisher.get(path).map_err(state_failure)?.ok_or_else(|| missing(path))?;
    Record::own(&value).show(globals.form(), &value.mutation)
}

async fn followed(globals: &Globals, node: &Node, freshness: Freshness, owner: &str, path: &RecordPath) -> Result<(), Failure> {
    let follow = freshness.catch_up(node, owner).await?;
    let value = Subscriber::value(&node.state, &follow.queue, path).map_err(state_failure)?.ok_or_else(|| missing(path))?;
    Record::followed(&follow.did.to_string(), &value).show(globals.form(), &value.mutation)
}

fn missing(path: &RecordPath) -> Failure {
    Failure::new(format!("there is no record at {path}"), "see `tidings ls` for what is there")
}
