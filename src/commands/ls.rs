//! `tidings ls`: what is there.

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::Subscriber;

use super::followed::Freshness;
use super::record::Record;
use crate::args::Globals;
use crate::failure::Failure;
use crate::node::{Node, state_failure};
use crate::place::Listing;

/// List records: own ones, or verified ones of a followed owner
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct LsArgs {
    /// /PREFIX, OWNER: or OWNER:/PREFIX; lists the record there and those below it
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    freshness: Freshness,
}

/// Lists them, ascending by path.
pub(crate) async fn run(globals: Globals, args: LsArgs) -> Result<(), Failure> {
    let listing = Listing::parse(args.prefix.as_deref())?;
    let node = Node::open(&globals, args.freshness.reach()).await?;
    let records = match &listing {
        Listing::Own(prefix) => own(&node, prefix),
        Listing::Of(owner, prefix) => followed(&globals, &node, args.freshness, owner, prefix).await,
    };
    let listed = records.and_then(|records| records.iter().try_for_each(|record| record.list(&globals.form())));
    node.close().await;
    listed
}

fn own(node: &Node, prefix: &str) -> Result<Vec<Record>, Failure> {
    Ok(node.publisher.list(prefix).map_err(state_failure)?.iter().map(Record::own).collect())
}

async fn followed(globals: &Globals, node: &Node, freshness: Freshness, owner: &str, prefix: &str) -> Result<Vec<Record>, Failure> {
    let follow = freshness.catch_up(&globals.console, node, owner).await?;
    let did = follow.did.to_string();
    let values = Subscriber::values(&node.state, &follow.queue, prefix).map_err(state_failure)?;
    Ok(values.iter().map(|value| Record::followed(&did, value, node.kept_up.is_fetched(&value.mutation))).collect())
}
