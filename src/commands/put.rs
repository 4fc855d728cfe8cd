//! `tidings put`: writes a record.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tidings_client::{Ticket, TicketError, Write, WriteError};
use tidings_core::{Receipt, RecordPath};

use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach};
use crate::{input, place};

/// Write a record and publish it; returns when a broker has it on disk
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The record, like /favorites/color
    path: String,
    /// File with the value; - or nothing for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    source: PathBuf,
    /// Media type of the value
    #[arg(long, value_name = "TYPE", default_value = "")]
    content_type: String,
    /// Return when it is durable here; the next command publishes it
    #[arg(long)]
    no_wait: bool,
}

/// Reads the value before the home is opened: a pipe that is slow holds up nobody.
pub(crate) async fn run(globals: Globals, args: PutArgs) -> Result<(), Failure> {
    let path = place::record(&args.path)?;
    let value = input::value(&args.source)?.into();
    write(&globals, "put", Write::Put { path, value, content_type: args.content_type }, args.no_wait).await
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

/// Carries out one write as a whole command.
pub(crate) async fn write(globals: &Globals, op: &'static str, write: Write, no_wait: bool) -> Result<(), Failure> {
    let node = Node::open(globals, if no_wait { Reach::Offline } else { Reach::Online })?;
    let path = write.path().clone();
    let result = match node.publisher.write(vec![write]).await {
        Ok(tickets) if no_wait => drop_all(tickets),
        Ok(tickets) => receipted(&node, tickets).await,
        Err(error) => Err(write_failure(error)),
    };
    match result {
        Ok(receipt) => {
            let printed = print(globals, op, &path, receipt.as_ref());
            node.close().await;
            printed
        }
        Err(failure) => {
            node.abandon().await;
            Err(failure)
        }
    }
}

fn drop_all(tickets: Vec<Ticket>) -> Result<Option<Receipt>, Failure> {
    drop(tickets);
    Ok(None)
}

async fn receipted(node: &Node, tickets: Vec<Ticket>) -> Result<Option<Receipt>, Failure> {
    let mut last = None;
    for ticket in tickets {
        last = match node.published(ticket.receipted()).await? {
            Ok(receipt) => Some(receipt),
            // A record that was deleted before its create was published: nothing is left to do.
            Err(TicketError::NothingToPublish) => None,
            Err(error) => return Err(Failure::new(error, "").exit(Exit::Unreachable).saved()),
        };
    }
    Ok(last)
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

/// A write that was not taken. Nothing was changed.
pub(crate) fn write_failure(error: WriteError) -> Failure {
    match &error {
        WriteError::NotFound(_) => Failure::new(&error, "see `tidings ls` for what is there"),
        WriteError::TooLarge { .. } => Failure::new(&error, "split it over several records"),
        WriteError::ContentType(_) => Failure::usage(&error, "write one like text/plain"),
        WriteError::State(state) => {
            Failure::new(format!("state.redb: {state}"), "check the free space and the rights of the folder, then repeat")
        }
        _ => Failure::new(&error, "repeat"),
    }
}
