//! `tidings export`: records as a folder.

mod item;

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::{Follow, Subscriber};
use tidings_core::Mutation;
use tidings_datastore::Value;

use super::draft;
use super::failures::datastore_failure;
use super::followed::Freshness;
use super::values;
use crate::args::Globals;
use crate::console::Progress;
use crate::failure::{Effect, Exit, Failure};
use crate::node::{Node, state_failure};
use crate::output::Form;
use crate::place::{self, Listing};
use item::{Item, Outcome};

/// Longest wait for one value before others have their turn.
const TURN: Duration = Duration::from_millis(500);
/// Pause between two attempts that failed at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Write every record as a file, verified whole: own ones, or those of a followed owner
#[derive(Debug, Args, Serialize, Deserialize)]
#[command(allow_missing_positional = true)]
pub(crate) struct ExportArgs {
    /// /PREFIX, OWNER: or OWNER:/PREFIX; the record there and those below it, all without it
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    /// Folder for the files; made if it is missing. Names below it are relative to PREFIX
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Replace files whose content differs; without it they are listed
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    freshness: Freshness,
}

impl ExportArgs {
    /// Makes the name of the folder mean the same in every folder.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        Listing::parse(self.prefix.as_deref())?;
        place::absolute(&mut self.folder)
    }
}

/// Whose records these are.
enum Side {
    Own,
    Of(Box<Follow>),
}

/// The last line.
#[derive(Default, Serialize)]
struct Summary {
    exported: u64,
    unchanged: u64,
    skipped: u64,
    failed: u64,
    bytes: u64,
}

/// Writes them and prints what became of each.
pub(crate) async fn run(globals: Globals, args: ExportArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, args.freshness.reach()).await?;
    let done = export(&globals, &node, &args).await;
    node.close().await;
    done
}

async fn export(globals: &Globals, node: &Node, args: &ExportArgs) -> Result<(), Failure> {
    let (side, items) = items(globals, node, args).await?;
    let unmade = |error| Failure::new(format!("{} cannot be made: {error}", args.folder.display()), "name a folder that can");
    std::fs::create_dir_all(&args.folder).map_err(unmade)?;
    let progress = globals.console.progress(globals.progress, "exported");
    let (all, patience) = (items.len() as u64, args.freshness.patience(node.patience));
    let mut export =
        Export { form: globals.form(), node, args, side, patience, progress, all, done: 0, summary: Summary::default(), worst: None };
    let written = export.write(items).await;
    export.progress.finish();
    written.and_then(|()| export.verdict())
}

/// What is to be written.
async fn items(globals: &Globals, node: &Node, args: &ExportArgs) -> Result<(Side, Vec<Item>), Failure> {
    match Listing::parse(args.prefix.as_deref())? {
        Listing::Own(prefix) => {
            let records = node.publisher.list(&prefix).map_err(state_failure)?;
            let records = records.into_iter().map(|record| (record.mutation, true));
            Ok((Side::Own, item::plan(records, &prefix, &args.folder)))
        }
        Listing::Of(owner, prefix) => {
            let follow = args.freshness.catch_up(&globals.console, node, &owner).await?;
            let records = Subscriber::values(&node.state, &follow.queue, &prefix).map_err(state_failure)?;
            let here = |mutation: &Mutation| node.kept_up.is_fetched(mutation);
            let records = records.into_iter().map(|record| (here(&record.mutation), record)).map(|(here, record)| (record.mutation, here));
            Ok((Side::Of(Box::new(follow)), item::plan(records, &prefix, &args.folder)))
        }
    }
}

/// One export on its way.
struct Export<'a> {
    form: Form,
    node: &'a Node,
    args: &'a ExportArgs,
    side: Side,
    /// How long values of others are waited for; `None` without the network.
    patience: Option<Duration>,
    progress: Progress,
    all: u64,
    done: u64,
    summary: Summary,
    /// The exit code of what failed.
    worst: Option<Exit>,
}

impl Export<'_> {
    /// First what is here, then what comes in time; what does not come holds up nothing else.
    async fn write(&mut self, items: Vec<Item>) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience.unwrap_or_default();
        items.iter().map(Item::folder).collect::<HashSet<_>>().into_iter().for_each(draft::sweep);
        let mut away = VecDeque::new();
        for item in items {
            match item.standing(&self.args.folder, self.args.force) {
                Some(outcome) => self.count(&item, outcome)?,
                None if item.is_here => away.extend(self.fetch(item, deadline).await?),
                None => away.push_back(item),
            }
        }
        while let Some(item) = away.pop_front() {
            away.extend(self.fetch(item, deadline).await?);
        }
        Ok(())
    }

    /// Writes an item; gives it back if its value may still come.
    async fn fetch(&mut self, mut item: Item, deadline: Instant) -> Result<Option<Item>, Failure> {
        let failure = match self.value(&item, deadline).await {
            Ok(value) => return self.count(&item, item.place(value)).map(|()| None),
            Err(failure) => failure,
        };
        let may_come = matches!(self.side, Side::Of(_)) && failure.exit == Exit::Unreachable && Instant::now() < deadline;
        if may_come {
            tokio::time::sleep(PAUSE).await;
            item.failure = Some(failure);
            return Ok(Some(item));
        }
        // What was said when there was time to try tells more.
        let failure = item.failure.clone().unwrap_or(failure);
        self.count(&item, Outcome::Failed(failure.error, failure.exit)).map(|()| None)
    }

    async fn value(&self, item: &Item, deadline: Instant) -> Result<Option<Value>, Failure> {
        match &self.side {
            Side::Own => self.node.datastore.get(&item.path).await.map_err(datastore_failure),
            Side::Of(follow) => {
                let left = deadline.saturating_duration_since(Instant::now());
                values::value(self.node, follow, &item.path, self.patience.map(|_| TURN.min(left))).await
            }
        }
    }

    /// Counts an item and prints what became of it.
    fn count(&mut self, item: &Item, outcome: Outcome) -> Result<(), Failure> {
        self.done += 1;
        self.progress.step(self.done, self.all);
        match &outcome {
            Outcome::Written(bytes) => {
                self.summary.exported += 1;
                self.summary.bytes += bytes;
            }
            Outcome::Unchanged => self.summary.unchanged += 1,
            Outcome::Skipped(_) => self.summary.skipped += 1,
            Outcome::Failed(_, exit) => {
                self.summary.failed += 1;
                // That something differs or cannot be written is more than that something did not come.
                self.worst = if self.worst == Some(Exit::Failed) { self.worst } else { Some(*exit) };
            }
        }
        item.print(&self.form, &outcome)
    }

    fn verdict(&self) -> Result<(), Failure> {
        let Summary { exported, unchanged, skipped, failed, bytes } = &self.summary;
        let words = || format!("{exported} exported ({bytes} bytes), {unchanged} unchanged, {skipped} skipped, {failed} failed");
        self.form.line(&self.summary, words)?;
        let Some(exit) = self.worst else { return Ok(()) };
        let effect = if *exported > 0 { Effect::Unknown } else { Effect::None };
        let error = format!("{failed} of {} records were not exported; their lines say why", self.all);
        Err(Failure::new(error, "mend what they say and repeat: files that are right already are left alone").exit(exit).effect(effect))
    }
}
