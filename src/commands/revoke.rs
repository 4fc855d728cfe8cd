//! `tidings revoke`: ends a reader's access.

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::{ReaderStatus, RevokeFailure};

use crate::args::Globals;
use crate::failure::{Effect, Exit, Failure};
use crate::node::{Node, Reach, conflict_failure, failed_state};

/// End a reader's access; returns when a broker has that on disk
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct RevokeArgs {
    /// A name, a did:key or the beginning of one
    reader: String,
}

/// What became of it.
#[derive(Serialize)]
struct Revoked {
    reader: String,
    name: String,
    result: &'static str,
}

/// Revokes. What the reader was given before, it keeps.
pub(crate) async fn run(globals: Globals, args: RevokeArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online).await?;
    let ended = revoke(&globals, &node, &args.reader).await;
    match &ended {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    ended
}

async fn revoke(globals: &Globals, node: &Node, name: &str) -> Result<(), Failure> {
    let readers = node.publisher.readers().await.map_err(|error| Failure::new(error, "repeat"))?;
    let reader = find(&readers, name)?;
    let (result, failure) = match node.published(node.publisher.revoke(&reader.pseudonym)).await {
        Ok(Ok(())) => ("receipted", None),
        Ok(Err(RevokeFailure::Saved)) => ("saved", Some(saved())),
        Ok(Err(error)) => return Err(revoke_failure(error)),
        Err(failure) => {
            return Err(failure
                .effect(Effect::Unknown)
                .action("see `tidings readers`: who is not listed there is revoked, and it is published later"));
        }
    };
    let revoked = Revoked { reader: reader.did.to_string(), name: reader.name.clone(), result };
    globals.form().line(&revoked, || format!("{} {}", revoked.result, revoked.reader))?;
    failure.map_or(Ok(()), Err)
}

fn find<'a>(readers: &'a [ReaderStatus], name: &str) -> Result<&'a ReaderStatus, Failure> {
    let others = || readers.iter().filter(|reader| !reader.owner);
    let mut found: Vec<_> = others().filter(|reader| reader.name == name || reader.did.to_string() == name).collect();
    if found.is_empty() {
        found = others().filter(|reader| !name.is_empty() && reader.did.to_string().starts_with(name)).collect();
    }
    match found.as_slice() {
        [reader] => Ok(reader),
        [] => Err(Failure::new(format!("{name}: no reader is called so"), "see `tidings readers` for who can read")),
        _ => Err(Failure::usage(format!("{name}: more than one reader is meant"), "write more of the did:key")),
    }
}

fn saved() -> Failure {
    let error = "the revocation is not published yet: no broker answered; until then the broker still serves that reader";
    Failure::new(error, "").exit(Exit::Unreachable).saved()
}

fn revoke_failure(error: RevokeFailure) -> Failure {
    match &error {
        RevokeFailure::State(state) => failed_state(state),
        RevokeFailure::Conflict => conflict_failure(error),
        RevokeFailure::Closed => Failure::new(&error, "see `tidings readers`").effect(Effect::Unknown),
        _ => Failure::new(&error, "see `tidings readers` for who can read"),
    }
}
