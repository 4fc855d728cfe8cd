//! `tidings apply`: many writes, pipelined.
//!
//! Lines are written as they come and receipted later; one result line for each, in their order.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::{Ticket, TicketError, Write};
use tidings_core::{Receipt, RecordPath};
use tidings_datastore::Source;
use tidings_proto::caps::INLINE_BYTES_MAX;
use tokio::sync::mpsc;

use super::failures::{datastore_failure, write_failure};
use super::put::ReceiptPlace;
use crate::args::Globals;
use crate::console::{Console, Progress};
use crate::failure::{Effect, Failure};
use crate::lines::{self, Numbered};
use crate::node::{Node, Reach};
use crate::output::Form;
use crate::{input, place};

/// Lines that are put into the outbox in one step.
const BATCH: usize = 512;
/// Writes that wait for their receipts; more are not read until some have theirs.
const IN_FLIGHT: usize = 4 * 4096;

/// Apply many writes: JSON lines {"op":"put","path":"/a","value":"text"}, or "file" for "value"; {"op":"rm","path":"/a"}
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct ApplyArgs {
    /// File with the lines; - or nothing for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    source: PathBuf,
    /// Return when all is durable here; the next command publishes it
    #[arg(long)]
    no_wait: bool,
    /// Where the files are that lines name.
    #[arg(skip)]
    folder: PathBuf,
}

impl ApplyArgs {
    /// Opens the file with the lines.
    pub(crate) fn prepare(&mut self, console: &mut Console) -> Result<(), Failure> {
        // Unreadable only if it is gone; then no relative path means anything.
        self.folder = std::env::current_dir().unwrap_or_default();
        if self.source.as_os_str() != "-" {
            let unreadable = |error| {
                Failure::new(format!("{} cannot be read: {error}", self.source.display()), "name a file that can, or - for standard input")
            };
            *console = Console::with_input(File::open(&self.source).map_err(unreadable)?);
            self.source = "-".into();
        }
        Ok(())
    }
}

/// One line that is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    op: Op,
    path: String,
    value: Option<String>,
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    #[serde(alias = "create", alias = "update")]
    Put,
    #[serde(alias = "delete")]
    Rm,
}

/// What became of a line.
#[derive(Debug)]
struct Outcome {
    number: u64,
    target: Option<(Op, String)>,
    kind: Result<Ticket, Failure>,
}

/// One result line.
#[derive(Serialize)]
struct ResultLine<'a> {
    line: u64,
    op: Option<Op>,
    path: Option<&'a str>,
    result: &'static str,
    #[serde(flatten)]
    place: Option<ReceiptPlace>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Reads, writes and prints at the same time.
pub(crate) async fn run(globals: Globals, args: ApplyArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, if args.no_wait { Reach::Offline } else { Reach::Online }).await?;
    let lines = lines::read(&globals.console);
    let (outcomes, waiting) = mpsc::channel(IN_FLIGHT);
    let verdict = {
        let mut printer = Printer::new(&globals, &node, !args.no_wait);
        let ((), printed) = tokio::join!(feed(&node, &args.folder, lines, outcomes), printer.run(waiting));
        printer.progress.finish();
        printed.and(printer.verdict())
    };
    match &verdict {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    verdict
}

/// Puts lines into the outbox until there are none, or nobody wants to know what becomes of them.
async fn feed(node: &Node, folder: &Path, mut lines: mpsc::Receiver<Numbered>, outcomes: mpsc::Sender<Outcome>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        for outcome in write(node, folder, batch.drain(..)).await {
            if outcomes.send(outcome).await.is_err() {
                return;
            }
        }
    }
}

async fn write(node: &Node, folder: &Path, lines: impl Iterator<Item = Numbered>) -> Vec<Outcome> {
    let (mut outcomes, mut small) = (Vec::new(), Vec::new());
    for (number, text) in lines {
        let (target, asked) = parse(text, folder);
        match asked {
            Ok(Asked::Large(path, source)) => {
                // In their order: one of these may be of the same record.
                outcomes.append(&mut write_small(node, std::mem::take(&mut small)).await);
                let kind = node.datastore.put(path, source, String::new()).await.map_err(datastore_failure);
                outcomes.push(Outcome { number, target, kind });
            }
            Ok(Asked::Small(write)) => small.push((number, target, Ok(write))),
            Err(failure) => small.push((number, target, Err(failure))),
        }
    }
    outcomes.append(&mut write_small(node, small).await);
    outcomes
}

/// In one step.
async fn write_small(node: &Node, lines: Vec<(u64, Target, Result<Write, Failure>)>) -> Vec<Outcome> {
    let writes = lines.iter().filter_map(|(_, _, write)| write.as_ref().ok().cloned()).collect();
    let mut tickets = node.publisher.write_each(writes).await.into_iter();
    let outcome = |(number, target, write): (u64, Target, Result<Write, Failure>)| {
        let lost = || Failure::new("the write was lost", "report this as a bug");
        let kind = write.and_then(|_| tickets.next().ok_or_else(lost)?.map_err(write_failure));
        Outcome { number, target, kind }
    };
    lines.into_iter().map(outcome).collect()
}

/// The record and what is done with it, as far as that can be told.
type Target = Option<(Op, String)>;

/// What a line asks for.
enum Asked {
    /// A write that fits into the queue.
    Small(Write),
    /// A value that is read, and kept in storage, as it comes.
    Large(RecordPath, Source),
}

/// What a line asks for, as far as it can be told, and the write.
fn parse(text: Result<String, String>, folder: &Path) -> (Target, Result<Asked, Failure>) {
    let line = text.and_then(|text| serde_json::from_str::<Line>(&text).map_err(|error| error.to_string()));
    match line {
        Ok(line) => (Some((line.op, line.path.clone())), line.asked(folder)),
        Err(error) => (None, Err(Failure::new(error, "mend the line"))),
    }
}

impl Line {
    fn asked(self, folder: &Path) -> Result<Asked, Failure> {
        let path = place::record(&self.path)?;
        let value = match (self.op, self.value, self.file) {
            (Op::Rm, None, None) => return Ok(Asked::Small(Write::Delete { path })),
            (Op::Put, Some(value), None) => Bytes::from(value),
            (Op::Put, None, Some(file)) => match input::short_file(&folder.join(&file))? {
                Some(value) => value,
                None => return Ok(Asked::Large(path, Source::File(folder.join(file)))),
            },
            (Op::Rm, ..) => return Err(Failure::new("rm takes neither value nor file", "mend the line")),
            (Op::Put, ..) => return Err(Failure::new("put takes a value or a file", "mend the line")),
        };
        match value.len() <= INLINE_BYTES_MAX {
            true => Ok(Asked::Small(Write::Put { path, value, content_type: String::new() })),
            false => Ok(Asked::Large(path, Source::Bytes(value))),
        }
    }
}

/// Waits for receipts and prints what became of each line.
struct Printer<'a> {
    form: Form,
    node: &'a Node,
    progress: Progress,
    /// Why nobody waits for receipts any more; what is written stays saved.
    gone: Option<Failure>,
    wait: bool,
    lines: u64,
    failed: u64,
}

impl<'a> Printer<'a> {
    fn new(globals: &Globals, node: &'a Node, wait: bool) -> Self {
        let progress = globals.console.progress(globals.progress, "published");
        Self { form: globals.form(), node, progress, gone: None, wait, lines: 0, failed: 0 }
    }

    async fn run(&mut self, mut outcomes: mpsc::Receiver<Outcome>) -> Result<(), Failure> {
        while let Some(outcome) = outcomes.recv().await {
            self.lines += 1;
            let waiting = outcomes.len() as u64;
            self.settle(outcome).await?;
            self.progress.step(self.lines, self.lines + waiting);
        }
        Ok(())
    }

    async fn settle(&mut self, outcome: Outcome) -> Result<(), Failure> {
        let Outcome { number, target, kind } = outcome;
        let (result, receipt, failure) = match kind {
            Ok(ticket) => {
                let (result, receipt) = self.receipt(ticket).await;
                (result, receipt, None)
            }
            Err(failure) => ("failed", None, Some(failure)),
        };
        self.failed += u64::from(failure.is_some());
        let (op, path) = target.as_ref().map_or((None, None), |(op, path)| (Some(*op), Some(path.as_str())));
        let (place, error) = (receipt.as_ref().map(ReceiptPlace::from), failure.as_ref().map(|failure| failure.error.as_str()));
        let line = ResultLine { line: number, op, path, result, place, error };
        self.form.line(&line, || line.words())
    }

    /// Waits for a receipt as long as brokers may answer. After that only those that are here already count.
    async fn receipt(&mut self, ticket: Ticket) -> (&'static str, Option<Receipt>) {
        let receipted = match self.wait && self.gone.is_none() {
            true => match self.node.published(ticket.receipted()).await {
                Ok(receipted) => receipted,
                Err(failure) => {
                    self.gone = Some(failure);
                    Err(TicketError::Closed)
                }
            },
            false => tokio::time::timeout(Duration::ZERO, ticket.receipted()).await.unwrap_or(Err(TicketError::Closed)),
        };
        match receipted {
            Ok(receipt) => ("receipted", Some(receipt)),
            Err(TicketError::NothingToPublish) => ("done", None),
            Err(_) => ("saved", None),
        }
    }

    fn verdict(&mut self) -> Result<(), Failure> {
        if self.failed > 0 {
            let error = format!("{} of {} lines failed; their result lines say why", self.failed, self.lines);
            let (action, effect) = match self.failed < self.lines {
                true => ("mend those lines and apply only them: the others are done", Effect::Done),
                false => ("mend them and apply them again", Effect::None),
            };
            return Err(Failure::new(error, action).effect(effect));
        }
        self.gone.take().map_or(Ok(()), Err)
    }
}

impl ResultLine<'_> {
    fn words(&self) -> String {
        let op = self.op.map_or("line", |op| match op {
            Op::Put => "put",
            Op::Rm => "rm",
        });
        let target = self.path.map_or_else(|| self.line.to_string(), str::to_owned);
        let error = self.error.map_or_else(String::new, |error| format!(": {error}"));
        format!("{} {op} {target}{error}", self.result)
    }
}
