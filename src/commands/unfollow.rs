//! `tidings unfollow`: ends a follow.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::args::Globals;
use crate::failure::Failure;
use crate::node::{Node, Reach};

/// Forget an owner and everything read from it
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct UnfollowArgs {
    /// A name, a did:key or the beginning of one
    owner: String,
}

#[derive(Serialize)]
struct Unfollowed {
    owner: String,
}

/// Forgets it.
pub(crate) async fn run(globals: Globals, args: UnfollowArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online).await?;
    let ended = end(&node, args.owner.trim_end_matches(':')).await;
    node.close().await;
    let ended = ended?;
    globals.form().line(&ended, || ended.owner.clone())
}

async fn end(node: &Node, owner: &str) -> Result<Unfollowed, Failure> {
    let follow = node.follow(owner)?;
    node.kept_up.forget(&follow.queue).await?;
    Ok(Unfollowed { owner: follow.did.to_string() })
}
