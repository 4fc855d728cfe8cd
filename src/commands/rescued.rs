//! `tidings rescued`: values that no merge could decide about.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use tidings_client::{Rescued, Ticket, TicketError, WriteError};

use super::record::Record;
use super::values;
use crate::args::Globals;
use crate::clock;
use crate::failure::{Effect, Exit, Failure};
use crate::node::{Node, Reach, state_failure};

/// Show, take or drop values that were kept when two branches of the own queue were merged
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct RescuedArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand, Serialize, Deserialize)]
enum What {
    /// List them: what each was, and what its record has now
    Ls,
    /// Print the value
    Get {
        /// As `rescued ls` prints it, or its beginning
        id: String,
    },
    /// Make it the value of its record again
    Take {
        /// As `rescued ls` prints it, or its beginning
        id: String,
    },
    /// Let it go
    Drop {
        /// As `rescued ls` prints it, or its beginning
        id: String,
    },
}

impl RescuedArgs {
    /// Whether it may change something.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.what, What::Take { .. } | What::Drop { .. })
    }
}

/// One of them.
#[derive(Serialize)]
struct Listed {
    id: String,
    path: String,
    size: u64,
    /// When it was written, by this node's clock.
    written: String,
    /// What the record has now.
    now: Option<Now>,
}

#[derive(Serialize)]
struct Now {
    size: u64,
    written: String,
}

/// What became of one.
#[derive(Serialize)]
struct Decided {
    op: &'static str,
    id: String,
    path: String,
    result: &'static str,
}

impl From<&Rescued> for Listed {
    fn from(rescued: &Rescued) -> Self {
        let now = rescued.now.as_ref().map(|now| Now { size: now.mutation.size(), written: written(now.mutation.version.clock) });
        Self {
            id: rescued.id.clone(),
            path: rescued.path.as_str().to_owned(),
            size: rescued.size,
            written: written(rescued.version.clock),
            now,
        }
    }
}

impl Listed {
    fn words(&self) -> String {
        let now = match &self.now {
            Some(now) => format!("has {} bytes of {} now", now.size, now.written),
            None => "is not there now".to_owned(),
        };
        format!("{}\t{}\t{} bytes of {}; the record {now}", self.id, self.path, self.size, self.written)
    }
}

/// Carries it out.
pub(crate) async fn run(globals: Globals, args: RescuedArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online).await?;
    let done = carry_out(&globals, &node, args.what).await;
    match &done {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    done
}

async fn carry_out(globals: &Globals, node: &Node, what: What) -> Result<(), Failure> {
    let all = node.publisher.rescued().map_err(state_failure)?;
    match what {
        What::Ls => all.iter().map(Listed::from).try_for_each(|listed| globals.form().line(&listed, || listed.words())),
        What::Get { id } => {
            let found = find(&all, &id)?;
            let value = values::own(node, &found.mutation.path).await?;
            let (record, value) = value.ok_or_else(|| missing(&id))?;
            Record::own(&record).show(&globals.form(), value)
        }
        What::Take { id } => {
            let found = find(&all, &id)?;
            let tickets = node.publisher.take_rescued(&found.id).await.map_err(write_failure)?;
            decided(globals, node, ("take", found), tickets).await
        }
        What::Drop { id } => {
            let found = find(&all, &id)?;
            let ticket = node.publisher.drop_rescued(&found.id).await.map_err(write_failure)?;
            decided(globals, node, ("drop", found), vec![ticket]).await
        }
    }
}

async fn decided(globals: &Globals, node: &Node, (op, found): (&'static str, &Rescued), tickets: Vec<Ticket>) -> Result<(), Failure> {
    for ticket in tickets {
        match node.published(ticket.receipted()).await? {
            Ok(_) | Err(TicketError::NothingToPublish) => {}
            Err(error) => return Err(Failure::new(error, "").exit(Exit::Unreachable).saved()),
        }
    }
    let decided = Decided { op, id: found.id.clone(), path: found.path.as_str().to_owned(), result: "receipted" };
    globals.form().line(&decided, || format!("{op} {} {}", decided.id, decided.path))
}

fn find<'a>(all: &'a [Rescued], id: &str) -> Result<&'a Rescued, Failure> {
    let found: Vec<_> = all.iter().filter(|rescued| !id.is_empty() && rescued.id.starts_with(id)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(missing(id)),
        _ => Err(Failure::usage(format!("{id}: more than one value is meant"), "write more of it")),
    }
}

fn missing(id: &str) -> Failure {
    Failure::new(format!("{id}: no rescued value is called so"), "see `tidings rescued ls`")
}

fn write_failure(error: WriteError) -> Failure {
    match &error {
        WriteError::Closed => Failure::new(&error, "see `tidings rescued ls`").effect(Effect::Unknown),
        WriteError::NoSuchValue => Failure::new(&error, "see `tidings rescued ls`"),
        _ => super::failures::write_failure(error),
    }
}

/// The milliseconds of a hybrid clock.
fn written(clock: u64) -> String {
    clock::text(tidings_proto::Timestamp::new(clock >> 16))
}
