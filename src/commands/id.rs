//! `tidings id`: who this node is.

use clap::Args;
use serde::Serialize;
use tidings_core::NodeKey;

use crate::args::Globals;
use crate::failure::Failure;
use crate::{home, input, output};

/// Print who this node is: its name and fingerprint, or its card
#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// Print the public card: the line that an owner needs to grant this node something
    #[arg(long)]
    card: bool,
    /// Compare with a fingerprint that somebody read out; exit 4 if it differs
    #[arg(long, value_name = "FINGERPRINT")]
    check: Option<String>,
}

/// An identity as it is printed.
#[derive(Serialize)]
pub(crate) struct Identity {
    did: String,
    fingerprint: String,
    queue: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<String>,
}

impl Identity {
    /// That of `key`.
    pub(crate) fn of(key: &NodeKey) -> Self {
        let card = key.card();
        let queue = data_encoding::HEXLOWER.encode(key.default_queue().id().bytes());
        Self { did: card.did().to_string(), fingerprint: card.fingerprint().to_string(), queue, card: Some(card.to_string()) }
    }

    /// The same without the card, which is long.
    pub(crate) fn short(key: &NodeKey) -> Self {
        Self { card: None, ..Self::of(key) }
    }

    /// Two lines: name, fingerprint.
    pub(crate) fn words(&self) -> String {
        format!("{}\n{}", self.did, self.fingerprint)
    }
}

/// Prints it. Needs no lock: a key does not change.
pub(crate) fn run(globals: Globals, args: IdArgs) -> Result<(), Failure> {
    let key = home::key(&globals.folder()?)?;
    input::check_fingerprint(&key.card(), args.check.as_deref())?;
    let identity = Identity::of(&key);
    match args.card && !globals.json {
        true => output::print(&globals.console, &key.card().to_string()),
        false => globals.form().line(&identity, || identity.words()),
    }
}
