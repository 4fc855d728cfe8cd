//! `tidings follow`: begins to read an owner's queue.

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::Subscriber;
use tidings_proto::caps::NAME_BYTES_MAX;

use crate::args::Globals;
use crate::failure::Failure;
use crate::node::{Node, Reach, follow_failure, state_failure, told, untold};
use crate::{home, input};

/// Begin to read what an owner publishes. Of an owner that is followed already, take the addresses and the access of another invitation
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct FollowArgs {
    /// The line that the owner's `tidings grant` printed, or a file that holds it
    invitation: String,
    /// What to call the owner
    #[arg(long = "as", value_name = "NAME", default_value = "", value_parser = name)]
    name: String,
    /// The owner's fingerprint as you know it from elsewhere; exit 4 if it differs
    #[arg(long, value_name = "FINGERPRINT")]
    check: Option<String>,
    /// Where the owner's storage is, if this node is to look elsewhere than the owner says: file:///DIR, s3://BUCKET/PREFIX, http(s)://...
    /// May be given several times, best first
    #[arg(long, value_name = "URL")]
    storage: Vec<String>,
}

impl FollowArgs {
    /// A file that holds the invitation is read here.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        self.invitation = input::invitation_line(&self.invitation)?;
        Ok(())
    }
}

/// What was begun.
#[derive(Serialize)]
struct Following {
    owner: String,
    fingerprint: String,
    name: String,
    result: &'static str,
}

/// Keeps the follow; reads nothing yet.
pub(crate) async fn run(globals: Globals, args: FollowArgs) -> Result<(), Failure> {
    for address in &args.storage {
        home::open_storage(address).map_err(|error| Failure::usage(error, "name the owner's storage, or leave --storage out"))?;
    }
    let invitation = input::invitation(&args.invitation)?;
    input::check_fingerprint(&invitation.card, args.check.as_deref())?;
    let node = Node::open(&globals, Reach::Online).await?;
    let begun = begin(&node, &invitation, &args).await;
    node.close().await;
    let result = if begun? { "followed" } else { "renewed" };
    let owner = &invitation.card;
    let following = Following { owner: owner.did().to_string(), fingerprint: owner.fingerprint().to_string(), name: args.name, result };
    globals.form().line(&following, || format!("{}\n{}", following.owner, following.fingerprint))
}

/// True if the owner is followed from now on, and was not before.
async fn begin(node: &Node, invitation: &tidings_core::Invitation, args: &FollowArgs) -> Result<bool, Failure> {
    let name = args.name.as_str();
    let (owner, queue) = (invitation.card.did(), invitation.descriptor.id());
    if !name.is_empty() && node.follows()?.iter().any(|follow| follow.name == name && follow.did != owner) {
        return Err(Failure::usage(format!("{name}: another owner is called so"), "choose another name with --as"));
    }
    let begins = !node.follows()?.iter().any(|follow| follow.did == owner);
    let keep_storage = || {
        let row = if args.storage.is_empty() { untold(&queue) } else { told(&queue, &args.storage) };
        node.state.put_rows(&[row]).map_err(state_failure)
    };
    let taken = if begins {
        // First: a follow must never begin to look where it was not told to.
        keep_storage()?;
        Subscriber::follow(&node.state, &node.home.key, invitation, name).map(drop)
    } else {
        node.kept_up.end(&queue).await;
        Subscriber::follow_again(&node.state, &node.home.key, invitation, name)
    };
    if !begins && taken.is_ok() && !args.storage.is_empty() {
        keep_storage()?;
    }
    // A node that runs for others reads from now on.
    if node.is_borrowed() && (taken.is_ok() || !begins) {
        node.kept_up.begin(queue)?;
    }
    taken.map(|()| begins).map_err(follow_failure)
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
