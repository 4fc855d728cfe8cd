//! `tidings put`: writes a record.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::{Ticket, TicketError};
use tidings_core::{Receipt, RecordPath};
use tidings_datastore::{DatastoreError, Source};

use super::failures::datastore_failure;
use crate::args::Globals;
use crate::console::{Console, Stream};
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach};
use crate::{input, place};

/// Write a record and publish it; returns when a broker has it on disk
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct PutArgs {
    /// The record, like /favorites/color
    path: String,
    /// File with the value, at most 64 MiB; - or nothing for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    source: PathBuf,
    /// Media type of the value
    #[arg(long, value_name = "TYPE", default_value = "")]
    content_type: String,
    /// Return when it is durable here; the next command publishes it
    #[arg(long)]
    no_wait: bool,
}

impl PutArgs {
    /// Makes the value standard input, before the home is opened.
    pub(crate) fn prepare(&mut self, console: &mut Console) -> Result<(), Failure> {
        place::record(&self.path)?;
        *console = input::value(console, &self.source)?;
        self.source = "-".into();
        Ok(())
    }
}

/// Writes and publishes it.
pub(crate) async fn run(globals: Globals, args: PutArgs) -> Result<(), Failure> {
    let path = place::record(&args.path)?;
    let node = open(&globals, args.no_wait).await?;
    let value = Source::Reader(Box::new(Stream::of(globals.console.input())));
    let written = node.datastore.put(path.clone(), value, args.content_type).await;
    finish(&globals, node, ("put", &path), written, args.no_wait).await
}

/// What a written record is printed as.
#[derive(Serialize)]
pub(crate) struct Written<'a> {
    op: &'static str,
    path: &'a str,
    result: &'static str,
    #[serde(flatten)]
    place: Option<ReceiptPlace>,
}

/// The head that carries a write.
#[derive(Serialize)]
pub(crate) struct ReceiptPlace {
    term: u64,
    number: u64,
}

impl From<&Receipt> for ReceiptPlace {
    fn from(receipt: &Receipt) -> Self {
        Self { term: receipt.rank.term.value(), number: receipt.rank.number.value() }
    }
}

/// Opens the node for a write.
pub(crate) async fn open(globals: &Globals, no_wait: bool) -> Result<Node, Failure> {
    Node::open(globals, if no_wait { Reach::Offline } else { Reach::Online }).await
}

/// Waits for the receipt of a write, prints what became of it, and ends the command.
pub(crate) async fn finish(
    globals: &Globals,
    node: Node,
    (op, path): (&'static str, &RecordPath),
    written: Result<Ticket, DatastoreError>,
    no_wait: bool,
) -> Result<(), Failure> {
    let result = match written {
        Ok(_) if no_wait => Ok(None),
        Ok(ticket) => receipted(&node, ticket).await,
        Err(error) => Err(datastore_failure(error)),
    };
    match result {
        Ok(receipt) => {
            let printed = print(globals, op, path, receipt.as_ref());
            node.close().await;
            printed
        }
        Err(failure) => {
            node.abandon().await;
            Err(failure)
        }
    }
}

async fn receipted(node: &Node, ticket: Ticket) -> Result<Option<Receipt>, Failure> {
    match node.published(ticket.receipted()).await? {
        Ok(receipt) => Ok(Some(receipt)),
        // A record that was deleted before its create was published: nothing is left to do.
        Err(TicketError::NothingToPublish) => Ok(None),
        Err(error) => Err(Failure::new(error, "").exit(Exit::Unreachable).saved()),
    }
}

/// In words nothing is said: the exit code says it.
fn print(globals: &Globals, op: &'static str, path: &RecordPath, receipt: Option<&Receipt>) -> Result<(), Failure> {
    if !globals.json {
        return Ok(());
    }
    let result = if receipt.is_some() { "receipted" } else { "saved" };
    let written = Written { op, path: path.as_str(), result, place: receipt.map(ReceiptPlace::from) };
    globals.form().line(&written, String::new)
}
