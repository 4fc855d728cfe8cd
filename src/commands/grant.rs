//! `tidings grant`: makes a node a reader.

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::GrantFailure;
use tidings_core::Card;

use super::follow::name;
use crate::args::Globals;
use crate::failure::{Effect, Exit, Failure};
use crate::input;
use crate::node::{Node, Reach, conflict_failure, failed_state};

/// Make a node a reader; prints one line, the invitation
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct GrantArgs {
    /// The line that the reader's `tidings id --card` printed, or a file that holds it
    card: String,
    /// What to call the reader
    #[arg(long = "as", value_name = "NAME", default_value = "", value_parser = name)]
    name: String,
    /// The reader's fingerprint as you know it from elsewhere; exit 4 if it differs
    #[arg(long, value_name = "FINGERPRINT")]
    check: Option<String>,
}

impl GrantArgs {
    /// A file that holds the card is read here.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        self.card = input::card_line(&self.card)?;
        Ok(())
    }
}

/// What was granted.
#[derive(Serialize)]
struct Granted {
    invitation: String,
    reader: String,
    fingerprint: String,
    name: String,
}

/// Grants, and says on standard error to whom.
pub(crate) async fn run(globals: Globals, args: GrantArgs) -> Result<(), Failure> {
    let card = input::card(&args.card)?;
    input::check_fingerprint(&card, args.check.as_deref())?;
    let node = Node::open(&globals, Reach::Online).await?;
    if let Err(taken) = unnamed(&node, &card, &args.name).await {
        node.abandon().await;
        return Err(taken);
    }
    let granting = node.publisher.grant(card.clone(), args.name.clone());
    let (invitation, failure) = match node.published(granting).await {
        Ok(Ok(invitation)) => (Some(invitation), None),
        // The invitation is good as soon as the change is published, so it is not kept back.
        Ok(Err(GrantFailure::Saved { invitation })) => (Some(invitation), Some(saved())),
        Ok(Err(error)) => (None, Some(grant_failure(error))),
        Err(failure) => {
            (None, Some(Failure { effect: Effect::Unknown, action: "repeat it: a repetition gives the same invitation".into(), ..failure }))
        }
    };
    let printed = invitation.map_or(Ok(()), |invitation| print(&globals, &card, invitation, args.name));
    match &failure {
        None => node.close().await,
        Some(_) => node.abandon().await,
    }
    printed.and(failure.map_or(Ok(()), Err))
}

/// A name says who is meant, in `revoke` too: it must be one reader's.
async fn unnamed(node: &Node, card: &Card, name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Ok(());
    }
    let readers = node.publisher.readers().await.map_err(|error| Failure::new(error, "repeat"))?;
    match readers.iter().any(|reader| !reader.owner && reader.name == name && reader.did != card.did()) {
        true => Err(Failure::usage(format!("{name}: another reader is called so"), "choose another name with --as")),
        false => Ok(()),
    }
}

fn print(globals: &Globals, card: &Card, invitation: String, name: String) -> Result<(), Failure> {
    let granted = Granted { invitation, reader: card.did().to_string(), fingerprint: card.fingerprint().to_string(), name };
    if !globals.json {
        globals.console.tell(format_args!("for {} ({})", granted.reader, granted.fingerprint));
    }
    globals.form().line(&granted, || granted.invitation.clone())
}

fn saved() -> Failure {
    Failure::new("the grant is not published yet: no broker answered", "").exit(Exit::Unreachable).saved()
}

fn grant_failure(error: GrantFailure) -> Failure {
    match &error {
        GrantFailure::State(state) => failed_state(state),
        GrantFailure::Conflict => conflict_failure(error),
        _ => Failure::new(error, "see `tidings readers` for who can read"),
    }
}
