//! `tidings broker inspect`: what an operator can see. [P-1]

use std::path::Path;

use clap::Args;
use data_encoding::HEXLOWER;
use serde::Serialize;
use tidings_broker::inspect::{InspectError, Inspection, SeenClass, SeenEntry, SeenFormerReader, SeenQueue, SeenReader, inspect};
use tidings_broker::store::{AFTER_DAMAGE, OpenError};
use tidings_proto::{HeadRank, Offset, QueueId};

use super::serve::with_sources;
use crate::args::Globals;
use crate::clock;
use crate::failure::Failure;
use crate::output::Form;

/// Print everything that the operator of a broker can see of its queues, beside the running broker
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Folder of the broker
    #[arg(long, value_name = "DIR")]
    data: std::path::PathBuf,
    /// Print every live entry too
    #[arg(long)]
    entries: bool,
}

/// One line of what is seen; the names are those of `docs/storage.md`.
#[derive(Serialize)]
#[serde(tag = "seen", rename_all = "kebab-case")]
enum Line {
    Queue {
        queue: String,
        owner: String,
        rank: Rank,
        writer: String,
        signed_at: String,
        stored_at: String,
        offset: u64,
        live: u64,
        live_bytes: u64,
        floor: u64,
        epoch: u64,
        epochs: usize,
        readers: u32,
        closed: bool,
    },
    Class {
        queue: String,
        padded_bytes: usize,
        entries: u64,
    },
    Entry {
        queue: String,
        offset: u64,
        birth: u64,
        term: u64,
        epoch: u64,
        padded_bytes: usize,
    },
    Reader {
        queue: String,
        pseudonym: String,
        owner: bool,
        acknowledged: Option<Rank>,
        grant_bytes: usize,
        owner_copy_bytes: usize,
    },
    FormerReader {
        queue: String,
        pseudonym: String,
        removed_by: Rank,
    },
    Admitted {
        did: String,
    },
    /// A queue of which something cannot be read; none where the list of queues cannot.
    Unreadable {
        queue: Option<String>,
        error: String,
    },
}

/// Place of a head.
#[derive(Serialize)]
struct Rank {
    term: u64,
    number: u64,
}

/// Prints it, page by page.
pub(super) fn run(globals: &Globals, args: &InspectArgs) -> Result<(), Failure> {
    let form = globals.form();
    let inspection = inspect(&args.data).map_err(|error| unreadable(&args.data, &error))?;
    let mut damaged = 0_u64;
    for queue in inspection.queues() {
        let name = queue.as_ref().ok().map(name);
        match queue.map_err(Stopped::from).and_then(|queue| show(&inspection, &form, &queue, args.entries)) {
            Ok(()) => {}
            Err(Stopped::Damage(error)) => {
                damaged += 1;
                print(&form, Line::Unreadable { queue: name, error })?;
            }
            Err(Stopped::Unprinted(failure)) => return Err(failure),
        }
    }
    for owner in inspection.admitted().map_err(|error| unreadable(&args.data, &error))? {
        print(&form, Line::Admitted { did: owner.did.to_string() })?;
    }
    match damaged {
        0 => Ok(()),
        count => Err(Failure::new(format!("stored data cannot be read: {count} lines above say of what"), AFTER_DAMAGE)),
    }
}

/// Why the printing of a queue ended early.
enum Stopped {
    /// What is stored cannot be read.
    Damage(String),
    /// Nobody reads what is printed.
    Unprinted(Failure),
}

impl From<InspectError> for Stopped {
    fn from(error: InspectError) -> Self {
        Self::Damage(with_sources(&error))
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Unprinted(failure)
    }
}

fn show(inspection: &Inspection, form: &Form, queue: &QueueId, entries: bool) -> Result<(), Stopped> {
    let Some(seen) = inspection.queue(queue)? else { return Ok(()) };
    let name = name(queue);
    print(form, Line::queue(&seen))?;
    inspection.classes(queue)?.into_iter().try_for_each(|class| print(form, Line::class(&name, &class)))?;
    inspection.readers(queue)?.into_iter().try_for_each(|reader| print(form, Line::reader(&name, &reader)))?;
    inspection.former_readers(queue)?.into_iter().try_for_each(|reader| print(form, Line::former(&name, &reader)))?;
    if entries { show_entries(inspection, form, queue) } else { Ok(()) }
}

fn show_entries(inspection: &Inspection, form: &Form, queue: &QueueId) -> Result<(), Stopped> {
    let (name, mut after) = (name(queue), Offset::ZERO);
    loop {
        let page = inspection.entries(queue, after)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.offset;
        page.iter().try_for_each(|entry| print(form, Line::entry(&name, entry)))?;
    }
}

fn print(form: &Form, line: Line) -> Result<(), Failure> {
    form.line(&line, || line.words())
}

/// The whole of it: two queues may begin alike.
fn name(queue: &QueueId) -> String {
    HEXLOWER.encode(queue.bytes())
}

fn unreadable(data: &Path, error: &InspectError) -> Failure {
    let action = match error {
        InspectError::Folder(OpenError::Damaged(_)) => AFTER_DAMAGE,
        _ => "name the folder that `tidings broker --data` serves from",
    };
    Failure::new(format!("{}: {}", data.display(), with_sources(error)), action)
}

impl Line {
    fn queue(seen: &SeenQueue) -> Self {
        Self::Queue {
            queue: name(&seen.queue),
            owner: seen.owner.to_string(),
            rank: seen.rank.into(),
            writer: HEXLOWER.encode(&seen.writer),
            signed_at: clock::text(seen.signed_at),
            stored_at: clock::text(seen.stored_at),
            offset: seen.offset.value(),
            live: seen.live,
            live_bytes: seen.live_bytes,
            floor: seen.floor.value(),
            epoch: seen.epoch.value(),
            epochs: seen.epochs,
            readers: seen.readers,
            closed: seen.closed,
        }
    }

    fn class(queue: &str, seen: &SeenClass) -> Self {
        Self::Class { queue: queue.to_owned(), padded_bytes: seen.padded_bytes, entries: seen.entries }
    }

    fn entry(queue: &str, seen: &SeenEntry) -> Self {
        Self::Entry {
            queue: queue.to_owned(),
            offset: seen.offset.value(),
            birth: seen.birth.value(),
            term: seen.term,
            epoch: seen.epoch.value(),
            padded_bytes: seen.padded_bytes,
        }
    }

    fn reader(queue: &str, seen: &SeenReader) -> Self {
        Self::Reader {
            queue: queue.to_owned(),
            pseudonym: HEXLOWER.encode(seen.pseudonym.bytes()),
            owner: seen.owner,
            acknowledged: seen.acknowledged.map(Rank::from),
            grant_bytes: seen.grant_bytes,
            owner_copy_bytes: seen.owner_copy_bytes,
        }
    }

    fn former(queue: &str, seen: &SeenFormerReader) -> Self {
        Self::FormerReader {
            queue: queue.to_owned(),
            pseudonym: HEXLOWER.encode(seen.pseudonym.bytes()),
            removed_by: seen.removed_by.into(),
        }
    }

    /// A row of a table; those of one queue stand below it.
    fn words(&self) -> String {
        match self {
            Self::Queue {
                queue,
                owner,
                rank,
                signed_at,
                stored_at,
                offset,
                live,
                live_bytes,
                floor,
                epoch,
                epochs,
                readers,
                closed,
                ..
            } => {
                let state = if *closed { ", closed" } else { "" };
                format!(
                    "queue {queue}\n  owner   {owner}\n  head    term {} number {}, signed {signed_at}, stored {stored_at}{state}\n  \
                     entries {live} live of {offset}, {live_bytes} bytes, floor {floor}, epoch {epoch}, {epochs} with entries\n  readers {readers}",
                    rank.term, rank.number
                )
            }
            Self::Class { padded_bytes, entries, .. } => format!("  size    {padded_bytes:>7} bytes {entries:>9} entries"),
            Self::Entry { offset, birth, term, epoch, padded_bytes, .. } => {
                format!("  entry   {offset:>9} birth {birth:>9} term {term} epoch {epoch} {padded_bytes:>7} bytes")
            }
            Self::Reader { pseudonym, owner, acknowledged, grant_bytes, owner_copy_bytes, .. } => {
                let who = if *owner { "owner " } else { "reader" };
                let seen = acknowledged.as_ref().map_or("nothing".to_owned(), |rank| format!("term {} number {}", rank.term, rank.number));
                format!("  {who}  {pseudonym} acknowledged {seen}, grant {grant_bytes} bytes, owner's copy {owner_copy_bytes} bytes")
            }
            Self::FormerReader { pseudonym, removed_by, .. } => {
                format!("  former  {pseudonym} removed by term {} number {}", removed_by.term, removed_by.number)
            }
            Self::Admitted { did } => format!("admitted {did}"),
            Self::Unreadable { queue: Some(queue), error } => format!("  unreadable in {queue}: {error}"),
            Self::Unreadable { queue: None, error } => format!("unreadable in the list of queues: {error}"),
        }
    }
}

impl From<HeadRank> for Rank {
    fn from(rank: HeadRank) -> Self {
        Self { term: rank.term.value(), number: rank.number.value() }
    }
}
