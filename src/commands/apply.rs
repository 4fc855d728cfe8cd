//! `tidings apply`: many writes, pipelined.
//!
//! Lines are written as they come and receipted later; one result line for each, in their order.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::{Ticket, TicketError, Write};
use tidings_core::Receipt;
use tokio::sync::mpsc;

use super::put::{ReceiptPlace, write_failure};
use crate::args::Globals;
use crate::failure::{Effect, Failure};
use crate::lines::{self, Numbered};
use crate::node::{Node, Reach};
use crate::output::Form;
use crate::progress::Progress;
use crate::{input, place};

/// Lines that are put into the outbox in one step.
const BATCH: usize = 512;
/// Writes that wait for their receipts; more are not read until some have theirs.
const IN_FLIGHT: usize = 4 * 4096;

/// Apply many writes: JSON lines {"op":"put","path":"/a","value":"text"}, or "file" for "value"; {"op":"rm","path":"/a"}
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// File with the lines; - or nothing for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    source: PathBuf,
    /// Return when all is durable here; the next command publishes it
    #[arg(long)]
    no_wait: bool,
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
    let lines = lines::read(&args.source)?;
    let node = Node::open(&globals, if args.no_wait { Reach::Offline } else { Reach::Online })?;
    let (outcomes, waiting) = mpsc::channel(IN_FLIGHT);
    let verdict = {
        let mut printer = Printer::new(&globals, &node, !args.no_wait);
        let ((), printed) = tokio::join!(feed(&node, lines, outcomes), printer.run(waiting));
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
async fn feed(node: &Node, mut lines: mpsc::Receiver<Numbered>, outcomes: mpsc::Sender<Outcome>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, BATCH).await > 0 {
        for outcome in write(node, batch.drain(..)).await {
            if outcomes.send(outcome).await.is_err() {
                return;
            }
        }
    }
}

async fn write(node: &Node, lines: impl Iterator<Item = Numbered>) -> Vec<Outcome> {
    let parsed: Vec<_> = lines.map(|(number, text)| (number, parse(text))).collect();
    let writes: Vec<_> = parsed.iter().filter_map(|(_, (_, write))| write.as_ref().ok().cloned()).collect();
    // All or none: if one of them is refused, each is tried alone, so that only that one fails.
    let mut together = node.publisher.write(writes).await.ok().map(Vec::into_iter);
    let mut outcomes = Vec::with_capacity(parsed.len());
    for (number, (target, write)) in parsed {
        let kind = match (write, &mut together) {
            (Err(failure), _) => Err(failure),
            (Ok(_), Some(tickets)) => tickets.next().ok_or_else(|| Failure::new("the write was lost", "report this as a bug")),
            (Ok(write), None) => alone(node, write).await,
        };
        outcomes.push(Outcome { number, target, kind });
    }
    outcomes
}

async fn alone(node: &Node, write: Write) -> Result<Ticket, Failure> {
    let tickets = node.publisher.write(vec![write]).await.map_err(write_failure)?;
    tickets.into_iter().next().ok_or_else(|| Failure::new("the write was lost", "report this as a bug"))
}

/// What a line asks for, as far as it can be told, and the write.
fn parse(text: Result<String, String>) -> (Option<(Op, String)>, Result<Write, Failure>) {
    let line = text.and_then(|text| serde_json::from_str::<Line>(&text).map_err(|error| error.to_string()));
    match line {
        Ok(line) => (Some((line.op, line.path.clone())), line.write()),
        Err(error) => (None, Err(Failure::new(error, "mend the line"))),
    }
}

impl Line {
    fn write(self) -> Result<Write, Failure> {
        let path = place::record(&self.path)?;
        let value = match (self.op, self.value, self.file) {
            (Op::Rm, None, None) => return Ok(Write::Delete { path }),
            (Op::Put, Some(value), None) => value.into_bytes(),
            (Op::Put, None, Some(file)) => input::value(&file)?,
            (Op::Rm, ..) => return Err(Failure::new("rm takes neither value nor file", "mend the line")),
            (Op::Put, ..) => return Err(Failure::new("put takes either value or file", "mend the line")),
        };
        input::check_size(value.len())?;
        Ok(Write::Put { path, value: value.into(), content_type: String::new() })
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
        let progress = Progress::new(globals.progress, "published");
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
