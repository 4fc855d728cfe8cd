//! `tidings unfollow`: ends a follow.

use clap::Args;
use serde::Serialize;
use tidings_client::Subscriber;

use crate::args::Globals;
use crate::failure::Failure;
use crate::node::{Node, Reach, follow_failure};

/// Forget an owner and everything read from it
#[derive(Debug, Args)]
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
    let node = Node::open(&globals, Reach::Online)?;
    let follow = node.follow(args.owner.trim_end_matches(':'));
    let ended = follow.and_then(|follow| {
        Subscriber::unfollow(&node.state, &follow.queue).map_err(follow_failure)?;
        Ok(Unfollowed { owner: follow.did.to_string() })
    });
    node.close().await;
    let ended = ended?;
    globals.form().line(&ended, || ended.owner.clone())
}
