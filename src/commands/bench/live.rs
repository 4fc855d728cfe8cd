//! `tidings bench live`: from the call of `write` to the change in the reader's hands.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::connections::Connections;
use super::ground::{Ground, GroundArgs, Keeping, nothing_measured};
use super::latency::Latency;
use super::listen::{Heard, Listeners};
use super::load::{Driven, Plan, drive};
use super::owner::Owner;
use super::publish::{rate, size, span};
use super::reader::{READERS_OF_QUEUE_MAX, followers};
use super::summary::{Base, Figures, Spent, counted, seconds};
use super::window::Length;
use crate::args::Globals;
use crate::failure::Failure;

/// Calls that may wait beside each other; more than a rate that anybody listens to.
const SLOTS: u64 = 256;

/// Hear of changes: from the call of an owner to the verified change in the hands of each reader
#[derive(Debug, Args)]
pub(super) struct LiveArgs {
    #[command(flatten)]
    ground: GroundArgs,
    /// Readers of the queue, each with a connection of its own
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=READERS_OF_QUEUE_MAX))]
    readers: u64,
    /// Bytes of a value, 8 to 4096
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = size)]
    size: usize,
    /// Writes a second, each of a record of its own and due at its moment: a latency counts from there
    #[arg(long, value_name = "N", default_value = "50", value_parser = rate)]
    rate: f64,
    /// How long is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    duration: Duration,
}

#[derive(Serialize)]
struct Listened {
    #[serde(flatten)]
    base: Base,
    readers: u64,
    size: usize,
    rate: f64,
    duration: f64,
    /// Changes that were taken by readers, and their latencies.
    #[serde(flatten)]
    figures: Figures,
    /// Writes that were receipted.
    published: u64,
    /// From the call to the receipt.
    receipt_latency_us: Latency,
    /// Writes that were begun and not receipted.
    unanswered: u64,
    /// Writes that were due and not begun.
    missed: u64,
    /// Changes that did not come to some reader.
    unheard: u64,
    rate_kept: bool,
}

/// Measures it and prints one summary.
pub(super) async fn run(globals: Globals, args: LiveArgs) -> Result<(), Failure> {
    let ground = Ground::prepare(globals, args.ground.clone(), Keeping::Owners)?;
    let (writing, reading) = (Connections::bind(ground.patience)?, Connections::bind(ground.patience)?);
    let owners: Arc<[Owner]> = Owner::open_all(&ground, 1, &writing).await?.into();
    let subscribers = followers(&ground, &owners, args.readers, &reading).await?;
    let before = Spent::now(&[&writing, &reading]);
    let listeners = Listeners::begin(&ground, subscribers);
    let driven = drive(&ground, &owners, &[], plan(&args)).await?;
    let heard = listeners.hear(driven.total.messages).await?;
    let spent = Spent::now(&[&writing, &reading]).since(before);
    Owner::close_all(&owners).await;
    reading.end().await;
    writing.end().await;
    if (driven.interrupted || heard.interrupted) && heard.total.messages == 0 {
        return Err(nothing_measured());
    }
    let listened = listened(&args, &ground, &driven, &heard, spent);
    ground.form().line(&listened, || listened.words())?;
    driven.whole(&ground)?;
    heard.whole(&ground)
}

fn plan(args: &LiveArgs) -> Plan {
    let (length, rate) = (Length::Time(args.duration), Some(args.rate));
    Plan { size: args.size, records: None, slots: SLOTS, batch: 1, rate, warm_up: Duration::ZERO, length }
}

fn listened(args: &LiveArgs, ground: &Ground, driven: &Driven, heard: &Heard, spent: Spent) -> Listened {
    let time = heard.total.last.map_or(Duration::ZERO, |last| last.duration_since(driven.begin));
    let interrupted = driven.interrupted || heard.interrupted;
    Listened {
        base: Base::new("live", ground),
        readers: args.readers,
        size: args.size,
        rate: args.rate,
        duration: seconds(args.duration),
        figures: Figures::new(heard.total.messages, time, heard.total.latency, spent, interrupted),
        published: driven.total.messages,
        receipt_latency_us: driven.total.latency,
        unanswered: driven.total.unanswered,
        missed: driven.total.missed,
        unheard: heard.unheard,
        rate_kept: driven.rate_kept.unwrap_or(true),
    }
}

impl Listened {
    fn words(&self) -> String {
        let Self { readers, size, rate, published, .. } = self;
        let readers = counted(*readers, "reader");
        let head = format!("live: 1 owner, {readers}, values of {size} bytes, {published} writes, {rate} a second");
        let figures = self.figures.words("changes taken", "from call to reader");
        let late = if self.rate_kept { "" } else { "\nTHE RATE WAS NOT KEPT" };
        format!("{head}\n{figures}\nfrom call to receipt: {}{late}", self.receipt_latency_us.words())
    }
}
