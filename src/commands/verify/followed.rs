//! A followed queue against the head that was verified last.

use serde::Serialize;
use tidings_client::Subscriber;

use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach, state_failure};

/// What was checked.
#[derive(Serialize)]
struct Verified {
    verified: &'static str,
    owner: String,
    term: u64,
    number: u64,
    offset: u64,
    live: u64,
    matches: bool,
}

/// Reads every entry that is kept of an owner. Asks nobody.
pub(super) async fn run(globals: &Globals, owner: &str) -> Result<(), Failure> {
    let node = Node::open(globals, Reach::Offline).await?;
    let verified = verify(&node, owner);
    node.close().await;
    let verified = verified?;
    globals.form().line(&verified, || verified.words())?;
    if verified.matches {
        return Ok(());
    }
    let error = "the entries in state.redb are not the set that the verified head signs";
    Err(Failure::new(error, "the next catch-up reads all of it again; if this repeats, check the disk").exit(Exit::Lie))
}

fn verify(node: &Node, owner: &str) -> Result<Verified, Failure> {
    let follow = node.follow(owner)?;
    let matches = Subscriber::verify(&node.state, &follow.queue).map_err(state_failure)?;
    Ok(Verified {
        verified: "followed",
        owner: follow.did.to_string(),
        term: follow.cursor.rank.term.value(),
        number: follow.cursor.rank.number.value(),
        offset: follow.cursor.offset.value(),
        live: follow.live_count,
        matches: matches.unwrap_or(false),
    })
}

impl Verified {
    fn words(&self) -> String {
        let outcome = if self.matches { "match" } else { "DO NOT match" };
        format!("{}: {} live entries {outcome} head {}.{}, offset {}", self.owner, self.live, self.term, self.number, self.offset)
    }
}
