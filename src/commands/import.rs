//! `tidings import`: a folder as records.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::Stage;
use tidings_datastore::own::Skipped;
use tidings_datastore::{DatastoreError, ImportReport, Imported};

use super::failures::datastore_failure;
use super::put;
use crate::args::Globals;
use crate::failure::{Effect, Failure};
use crate::node::{Node, state_failure};
use crate::output::Form;
use crate::place;

/// Write every file of a folder as a record, and publish them; files whose record has their value already are left as they are
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct ImportArgs {
    /// Folder with the files; links and what is no file are skipped and listed
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where the records are, like /photos; nothing for the top
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    /// Return when all is durable here; the next command publishes it
    #[arg(long)]
    no_wait: bool,
}

impl ImportArgs {
    /// Makes the name of the folder mean the same in every folder.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        place::prefix(self.prefix.as_deref().unwrap_or_default())?;
        place::absolute(&mut self.folder)
    }
}

/// What became of a file.
#[derive(Serialize)]
struct FileLine<'a> {
    op: &'static str,
    path: &'a str,
    size: u64,
    result: &'static str,
}

/// A file that is no record.
#[derive(Serialize)]
struct SkippedLine {
    file: String,
    result: &'static str,
    reason: &'static str,
}

/// The last line.
#[derive(Serialize)]
struct Summary {
    imported: u64,
    unchanged: u64,
    skipped: u64,
    bytes: u64,
}

/// Imports, waits for the receipts, prints what became of each file.
pub(crate) async fn run(globals: Globals, args: ImportArgs) -> Result<(), Failure> {
    let node = put::open(&globals, args.no_wait).await?;
    let (files, report) = import(&globals, &node, &args).await;
    let wrote = files.iter().any(|file| file.written);
    let published = if args.no_wait || !wrote { Ok(()) } else { published(&globals, &node).await };
    let printed = print(&globals.form(), &node, &files).and_then(|()| match &report {
        Ok(report) => summarize(&globals.form(), &args.folder, report),
        Err(_) => Ok(()),
    });
    let verdict = printed.and(report.map(drop).map_err(|failure| cut_off(failure, wrote))).and(published);
    match &verdict {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    verdict
}

/// What was imported, also if not all of it was.
async fn import(globals: &Globals, node: &Node, args: &ImportArgs) -> (Vec<Imported>, Result<ImportReport, Failure>) {
    let mut progress = globals.console.progress(globals.progress, "imported");
    let mut files = Vec::new();
    let mut note = |file: Imported| {
        progress.step(file.done, file.total);
        files.push(file);
    };
    let report = node.datastore.import(&args.folder, args.prefix.as_deref().unwrap_or_default(), &mut note).await;
    progress.finish();
    let failure = |error| match error {
        DatastoreError::Source(error) => {
            Failure::new(format!("{} cannot be read: {error}", args.folder.display()), "name a folder that can")
        }
        error => datastore_failure(error),
    };
    (files, report.map_err(failure))
}

/// Waits until brokers have all of it: as long as they take some of it within `--timeout`.
async fn published(globals: &Globals, node: &Node) -> Result<(), Failure> {
    let mut progress = globals.console.progress(globals.progress, "published");
    let waiting = || node.publisher.status().map(|status| status.unsigned + status.unreceipted).map_err(state_failure);
    let all = waiting()?;
    let mut left = all;
    loop {
        progress.step(all.saturating_sub(left), all);
        let outcome = node.published(node.publisher.flush(node.patience)).await;
        let (now, before) = (waiting()?, left);
        left = now;
        match outcome {
            _ if now == 0 => break,
            Err(failure) if now >= before => {
                progress.finish();
                return Err(failure);
            }
            _ => {}
        }
    }
    progress.finish();
    Ok(())
}

/// One line for each file, in their order; for people none.
fn print(form: &Form, node: &Node, files: &[Imported]) -> Result<(), Failure> {
    if !form.is_json() {
        return Ok(());
    }
    for file in files {
        let result = if file.written { result(node, file)? } else { "unchanged" };
        form.line(&FileLine { op: "put", path: file.path.as_str(), size: file.size, result }, String::new)?;
    }
    Ok(())
}

fn result(node: &Node, file: &Imported) -> Result<&'static str, Failure> {
    let own = node.publisher.get(&file.path).map_err(state_failure)?;
    // One that was deleted since was published, or has nothing left to publish.
    let receipted = own.is_none_or(|own| own.stage == Stage::Receipted);
    Ok(if receipted { "receipted" } else { "saved" })
}

fn summarize(form: &Form, folder: &Path, report: &ImportReport) -> Result<(), Failure> {
    for Skipped { file, reason } in &report.skipped {
        let file = file.strip_prefix(folder).unwrap_or(file).display().to_string();
        let line = SkippedLine { file, result: "skipped", reason: reason.words() };
        form.line(&line, || format!("skipped {:?}: {}", line.file, line.reason))?;
    }
    let summary =
        Summary { imported: report.written, unchanged: report.unchanged, skipped: report.skipped.len() as u64, bytes: report.bytes };
    let Summary { imported, unchanged, skipped, bytes } = summary;
    form.line(&summary, || format!("{imported} imported ({bytes} bytes), {unchanged} unchanged, {skipped} skipped"))
}

/// An import that ended early. What is there is kept, and found by a repetition.
fn cut_off(failure: Failure, wrote: bool) -> Failure {
    match wrote {
        true => failure.effect(Effect::Unknown).action("repeat it: files that are imported already are left as they are"),
        false => failure,
    }
}
