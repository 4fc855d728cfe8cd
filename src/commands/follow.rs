//! `tidings follow`: begins to read an owner's queue.

use clap::Args;
use serde::Serialize;
use tidings_client::Subscriber;
use tidings_proto::caps::NAME_BYTES_MAX;

use super::init::refuse_storage;
use crate::args::Globals;
use crate::failure::Failure;
use crate::input;
use crate::node::{Node, Reach, follow_failure};

/// Begin to read what an owner publishes
#[derive(Debug, Args)]
pub(crate) struct FollowArgs {
    /// The line that the owner's `tidings grant` printed, or a file that holds it
    invitation: String,
    /// What to call the owner
    #[arg(long = "as", value_name = "NAME", default_value = "", value_parser = name)]
    name: String,
    /// The owner's fingerprint as you know it from elsewhere; exit 4 if it differs
    #[arg(long, value_name = "FINGERPRINT")]
    check: Option<String>,
    /// Storage of the owner. None is supported yet
    #[arg(long, value_name = "URL")]
    storage: Vec<String>,
}

/// What was begun.
#[derive(Serialize)]
struct Following {
    owner: String,
    fingerprint: String,
    name: String,
}

/// Keeps the follow; reads nothing yet.
pub(crate) async fn run(globals: Globals, args: FollowArgs) -> Result<(), Failure> {
    refuse_storage(&args.storage)?;
    let invitation = input::invitation(&args.invitation)?;
    input::check_fingerprint(&invitation.card, args.check.as_deref())?;
    let node = Node::open(&globals, Reach::Online)?;
    let begun = begin(&node, &invitation, &args.name);
    node.close().await;
    begun?;
    let owner = &invitation.card;
    let following = Following { owner: owner.did().to_string(), fingerprint: owner.fingerprint().to_string(), name: args.name };
    globals.form().line(&following, || format!("{}\n{}", following.owner, following.fingerprint))
}

fn begin(node: &Node, invitation: &tidings_core::Invitation, name: &str) -> Result<(), Failure> {
    if !name.is_empty() && node.follows()?.iter().any(|follow| follow.name == name) {
        return Err(Failure::usage(format!("{name}: another owner is called so"), "choose another name with --as"));
    }
    Subscriber::follow(&node.state, &node.home.key, invitation, name).map(drop).map_err(follow_failure)
}

/// A name that can be told from a path and from a did:key.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.len() > NAME_BYTES_MAX {
        return Err(format!("a name has at most {NAME_BYTES_MAX} bytes"));
    }
    if text.contains([':', '/']) || text.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err("a name holds no colon, slash or white space".to_owned());
    }
    Ok(text.to_owned())
}
