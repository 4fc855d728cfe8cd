//! `tidings bench idle`: many readers that wait, and then hear of one change each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use super::connections::Connections;
use super::ground::{Ground, GroundArgs, Keeping, joined, nothing_measured};
use super::listen::{Heard, Listeners};
use super::owner::{OWNERS_MAX, Owner, put};
use super::publish::span;
use super::reader::{READERS_OF_QUEUE_MAX, followers};
use super::summary::{Base, Figures, Spent, counted, seconds};
use super::usage;
use crate::args::Globals;
use crate::commands::failures::write_failure;
use crate::failure::Failure;

/// Bytes of the values that end the silence.
const VALUE_BYTES: usize = 256;

/// Be idle: many connections that wait, then one publish to each queue
#[derive(Debug, Args)]
pub(super) struct IdleArgs {
    #[command(flatten)]
    ground: GroundArgs,
    /// Connections, each with one subscription
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    readers: u64,
    /// Owners whose queues they are spread over
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=OWNERS_MAX))]
    owners: u64,
    /// How long nothing is done once all are connected
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    hold: Duration,
}

/// All are connected, and nothing is on its way.
#[derive(Debug, Serialize)]
struct Quiet {
    phase: &'static str,
    connections: u64,
    owners: u64,
    connect_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Woken {
    #[serde(flatten)]
    base: Base,
    readers: u64,
    owners: u64,
    hold: f64,
    connect_seconds: f64,
    /// Changes that were taken, one for each reader: from the call of `write` on.
    #[serde(flatten)]
    figures: Figures,
    /// What went over all connections while nothing was done.
    hold_sent_bytes: u64,
    hold_received_bytes: u64,
    /// Readers that heard nothing.
    unheard: u64,
}

/// Measures it, prints a line when all is quiet, and a summary.
pub(super) async fn run(globals: Globals, args: IdleArgs) -> Result<(), Failure> {
    if args.readers.div_ceil(args.owners) > READERS_OF_QUEUE_MAX {
        let error = format!("{} readers of {} queues: a queue has at most {READERS_OF_QUEUE_MAX}", args.readers, args.owners);
        return Err(Failure::usage(error, "give more --owners"));
    }
    let ground = Ground::prepare(globals, args.ground.clone(), Keeping::Owners)?;
    let (writing, reading) = (Connections::bind(ground.patience)?, Connections::bind(ground.patience)?);
    let began = Instant::now();
    let owners: Arc<[Owner]> = Owner::open_all(&ground, args.owners, &writing).await?.into();
    let subscribers = followers(&ground, &owners, args.readers, &reading).await?;
    let quiet = Quiet::now(&args, began);
    ground.form().line(&quiet, || quiet.words())?;
    let before = Spent::now(&[&writing, &reading]);
    ground.unless_stopped(hold(args.hold)).await?;
    let held = Spent::now(&[&writing, &reading]);
    let listeners = Listeners::begin(&ground, subscribers);
    let woken = Instant::now();
    ground.unless_stopped(write_once(&ground, &owners)).await?;
    let heard = listeners.hear(1).await?;
    let spent = Spent::now(&[&writing, &reading]).since(held);
    Owner::close_all(&owners).await;
    reading.end().await;
    writing.end().await;
    if heard.total.messages == 0 && heard.interrupted {
        return Err(nothing_measured());
    }
    let summary = summary(&args, &ground, &quiet, (woken, &heard), (held.since(before), spent));
    ground.form().line(&summary, || summary.words())?;
    heard.whole(&ground)
}

async fn hold(time: Duration) -> Result<(), Failure> {
    tokio::time::sleep(time).await;
    Ok(())
}

/// One change of each queue, all at once; ends when all are receipted.
async fn write_once(ground: &Arc<Ground>, owners: &[Owner]) -> Result<(), Failure> {
    let mut writing = JoinSet::new();
    for owner in owners {
        let (publisher, ground) = (owner.publisher.clone(), Arc::clone(ground));
        writing.spawn(async move {
            let write = put(1, ground.stamps.value(Some(Instant::now()), VALUE_BYTES));
            let tickets = publisher.write(vec![write]).await.map_err(write_failure)?;
            for ticket in tickets {
                // One that is not receipted is heard by nobody, which is told.
                let _ = tokio::time::timeout(ground.patience, ticket.receipted()).await;
            }
            Ok(())
        });
    }
    joined(writing).await.map(drop)
}

fn summary(args: &IdleArgs, ground: &Ground, quiet: &Quiet, (woken, heard): (Instant, &Heard), (held, spent): (Spent, Spent)) -> Woken {
    let time = heard.total.last.map_or(Duration::ZERO, |last| last.duration_since(woken));
    Woken {
        base: Base::new("idle", ground),
        readers: args.readers,
        owners: args.owners,
        hold: seconds(args.hold),
        connect_seconds: quiet.connect_seconds,
        figures: Figures::new(heard.total.messages, time, heard.total.latency, spent, heard.interrupted),
        hold_sent_bytes: held.sent(),
        hold_received_bytes: held.received(),
        unheard: heard.unheard,
    }
}

impl Quiet {
    fn now(args: &IdleArgs, began: Instant) -> Self {
        let (connections, owners) = (args.readers, args.owners);
        Self { phase: "idle", connections, owners, connect_seconds: seconds(began.elapsed()), rss_bytes: usage::rss() }
    }

    fn words(&self) -> String {
        let memory = self.rss_bytes.map_or_else(String::new, |bytes| format!("; {} MiB of memory here", bytes >> 20));
        let (readers, queues) = (counted(self.connections, "reader"), counted(self.owners, "queue"));
        format!("{readers} of {queues} connected after {:.2} s{memory}", self.connect_seconds)
    }
}

impl Woken {
    fn words(&self) -> String {
        let Self { readers, owners, hold, hold_sent_bytes, hold_received_bytes, .. } = self;
        let head = format!("idle: {} of {}, {hold} s of silence", counted(*readers, "reader"), counted(*owners, "queue"));
        let silence = format!("in silence, all together: {hold_sent_bytes} bytes sent, {hold_received_bytes} received");
        format!("{head}\n{silence}\n{}", self.figures.words("changes taken", "from call to reader"))
    }
}
