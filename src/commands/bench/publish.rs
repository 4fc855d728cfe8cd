//! `tidings bench publish`: from the call of `write` to the receipt.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tidings_proto::caps::INLINE_BYTES_MAX;

use super::connections::Connections;
use super::ground::{Ground, GroundArgs, Keeping, nothing_measured};
use super::load::{Driven, Plan, drive};
use super::owner::{OWNERS_MAX, Owner};
use super::stamp::STAMP_BYTES;
use super::summary::{Base, Figures, counted, seconds};
use super::window::Length;
use crate::args::{Globals, duration};
use crate::failure::Failure;

/// Calls that may wait beside each other, for each owner.
const IN_FLIGHT_MAX: u64 = 65_536;
/// Records that are written if nobody says.
const RECORDS: u64 = 1_000;
/// What is measured if nobody says.
const DURATION: Duration = Duration::from_secs(10);

/// Publish durably: from the call to the receipt, which a broker gives after its sync
#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    #[command(flatten)]
    ground: GroundArgs,
    /// Owners that write beside each other, each with a queue and a connection of its own
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=OWNERS_MAX))]
    owners: u64,
    /// Bytes of a value, 8 to 4096
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = size)]
    size: usize,
    /// Records of each owner, written in turn; at least as many as are in flight. [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// Writes of each owner that wait for their receipts beside each other. [default: one batch; with --rate, all records]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_MAX))]
    in_flight: Option<u64>,
    /// Writes in one call
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=4096))]
    batch: u64,
    /// Writes a second of all owners together, each due at its moment: a latency counts from there. [default: the next one when one is
    /// receipted]
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "batch")]
    rate: Option<f64>,
    /// How long is measured. [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "count")]
    duration: Option<Duration>,
    /// How many writes are measured
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    count: Option<u64>,
    /// How long is written before anything counts
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    warm_up: Duration,
}

/// Bytes of a value.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let bounds = STAMP_BYTES..=INLINE_BYTES_MAX;
    let size = text.parse().ok().filter(|size| bounds.contains(size));
    size.ok_or_else(|| format!("a value in the queue has {} to {} bytes here", bounds.start(), bounds.end()))
}

/// A rate that a schedule can have.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or_else(|| "a rate is a number from 0.001 to 10000000 a second".to_owned())
}

/// A time that a run can take.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time <= Duration::from_secs(86_400) { Ok(time) } else { Err("a day is the most".to_owned()) })
}

#[derive(Serialize)]
struct Published {
    #[serde(flatten)]
    base: Base,
    owners: u64,
    size: usize,
    records: u64,
    in_flight: u64,
    batch: u64,
    rate: Option<f64>,
    duration: Option<f64>,
    count: Option<u64>,
    warm_up: f64,
    #[serde(flatten)]
    figures: Figures,
    /// Writes that were begun and not receipted.
    unanswered: u64,
    /// Writes that were due and not begun.
    missed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_kept: Option<bool>,
}

/// Measures it and prints one summary.
pub(super) async fn run(globals: Globals, args: PublishArgs) -> Result<(), Failure> {
    let plan = plan(&args)?;
    let ground = Ground::prepare(globals, args.ground.clone(), Keeping::Disk)?;
    let connections = Connections::bind(ground.patience)?;
    let owners = Owner::open_all(&ground, args.owners, &connections).await?;
    let driven = drive(&ground, &owners, &[&connections], plan.clone()).await?;
    Owner::close_all(&owners).await;
    connections.end().await;
    if driven.interrupted && driven.total.latency.n == 0 {
        return Err(nothing_measured());
    }
    let published = published(&args, &plan, &ground, &driven);
    ground.form().line(&published, || published.words())?;
    driven.whole(&ground)
}

fn plan(args: &PublishArgs) -> Result<Plan, Failure> {
    let asked = args.in_flight.unwrap_or(if args.rate.is_some() { args.records.unwrap_or(RECORDS).min(IN_FLIGHT_MAX) } else { args.batch });
    let slots = (asked / args.batch).max(1);
    let in_flight = slots * args.batch;
    let records = args.records.unwrap_or_else(|| RECORDS.max(in_flight));
    if records < in_flight {
        let error = format!("{records} records for {in_flight} writes in flight: a write would replace one that still waits");
        return Err(Failure::usage(error, "give more --records, or less --in-flight or --batch"));
    }
    let length = args.count.map_or_else(|| Length::Time(args.duration.unwrap_or(DURATION)), Length::Count);
    Ok(Plan { size: args.size, records: Some(records), slots, batch: args.batch, rate: args.rate, warm_up: args.warm_up, length })
}

fn published(args: &PublishArgs, plan: &Plan, ground: &Ground, driven: &Driven) -> Published {
    let Driven { total, time, spent, rate_kept, interrupted, .. } = *driven;
    let (duration, count) = match plan.length {
        Length::Time(time) => (Some(seconds(time)), None),
        Length::Count(count) => (None, Some(count)),
    };
    Published {
        base: Base::new("publish", ground),
        owners: args.owners,
        size: args.size,
        records: plan.records.unwrap_or_default(),
        in_flight: plan.slots * plan.batch,
        batch: plan.batch,
        rate: plan.rate,
        duration,
        count,
        warm_up: seconds(plan.warm_up),
        figures: Figures::new(total.messages, time, total.latency, spent, interrupted),
        unanswered: total.unanswered,
        missed: total.missed,
        rate_kept,
    }
}

impl Published {
    fn words(&self) -> String {
        let Self { owners, size, in_flight, unanswered, missed, .. } = self;
        let head = format!("publish: {}, values of {size} bytes, {in_flight} in flight for each", counted(*owners, "owner"));
        let late = match self.rate_kept {
            Some(false) => format!(
                "\nTHE RATE WAS NOT KEPT: {} a second were asked for; {missed} writes were due and not begun, {unanswered} not receipted",
                self.rate.unwrap_or_default()
            ),
            _ => String::new(),
        };
        format!("{head}\n{}{late}", self.figures.words("publishes", "from call to receipt"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn planned(more: &[&str]) -> Result<Plan, Failure> {
        let cli = Cli::try_parse_from([&["tidings", "bench", "publish"], more].concat()).expect("it parses");
        let Command::Bench(bench) = cli.command else { panic!("bench") };
        match bench.workload {
            super::super::Workload::Publish(args) => plan(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_in_flight_has_records_of_its_own() {
        let shape = |more: &[&str]| planned(more).map(|plan| (plan.records, plan.slots, plan.batch)).ok();
        assert_eq!(shape(&[]), Some((Some(1_000), 1, 1)));
        assert_eq!(shape(&["--in-flight", "4096", "--batch", "100"]), Some((Some(4_000), 40, 100)));
        assert_eq!(shape(&["--rate", "50"]), Some((Some(1_000), 1_000, 1)));
        assert_eq!(shape(&["--in-flight", "20", "--records", "10"]), None);
    }

    #[test]
    fn rates_and_sizes_have_bounds() {
        assert!(rate("0").is_err() && rate("nan").is_err() && rate("inf").is_err() && rate("0.5").is_ok());
        assert!(size("7").is_err() && size("8").is_ok() && size("4096").is_ok() && size("4097").is_err());
    }
}
