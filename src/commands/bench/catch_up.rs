//! `tidings bench catch-up`: a reader that has nothing gets everything, and verifies it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tidings_client::{ChangeId, Dial, Event, Publisher, Subscriber, Ticket};
use tokio::task::JoinSet;

use super::connections::Connections;
use super::ground::{Ground, GroundArgs, Keeping, joined, nothing_measured};
use super::latency::Latencies;
use super::owner::{Owner, put, untaken};
use super::publish::size;
use super::reader::{READERS_OF_QUEUE_MAX, Reader, caught_up};
use super::seed::Keys;
use super::summary::{Base, Figures, Spent, counted, per, seconds};
use crate::args::Globals;
use crate::commands::failures::write_failure;
use crate::failure::{Exit, Failure};
use crate::node::state_failure;

/// Writes in one call while the queue is filled.
const BATCH: u64 = 1_024;
/// Calls that wait for their receipts beside each other.
const BATCHES: u64 = 4;
/// Mutations and records that a run may have.
const MUTATIONS_MAX: u64 = 100_000_000;

/// Catch up: readers that have nothing get the whole queue, and verify it
#[derive(Debug, Args)]
pub(super) struct CatchUpArgs {
    #[command(flatten)]
    ground: GroundArgs,
    /// Writes that are published before
    #[arg(long, value_name = "N", default_value = "100000", value_parser = clap::value_parser!(u64).range(1..=MUTATIONS_MAX))]
    mutations: u64,
    /// Records that they are of, in turn. [default: one for each write, so that all live]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MUTATIONS_MAX))]
    records: Option<u64>,
    /// Bytes of a value, 8 to 4096
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = size)]
    size: usize,
    /// Readers that catch up beside each other
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=READERS_OF_QUEUE_MAX))]
    readers: u64,
    /// How often, each time with new readers
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    times: u64,
}

/// How the queue was filled.
#[derive(Clone, Copy, Debug, Serialize)]
struct Filled {
    phase: &'static str,
    mutations: u64,
    records: u64,
    seconds: f64,
    per_second: f64,
}

/// One time.
#[derive(Clone, Debug, Serialize)]
struct Time {
    phase: &'static str,
    time: u64,
    /// Until the last reader had verified everything and could show it.
    seconds: f64,
    /// Entries that all readers got together.
    entries: u64,
    per_second: f64,
    /// Bytes of these entries.
    entry_bytes: u64,
    received_bytes: u64,
    /// Until the last reader's application had taken and acknowledged every change.
    taken_seconds: f64,
}

#[derive(Serialize)]
struct CaughtUp {
    #[serde(flatten)]
    base: Base,
    mutations: u64,
    records: u64,
    size: usize,
    readers: u64,
    times: u64,
    publish_seconds: f64,
    /// Entries of all times and readers; a latency is one reader's catch-up.
    #[serde(flatten)]
    figures: Figures,
    rounds: Vec<Time>,
}

/// What the times came to so far.
#[derive(Default)]
struct Sum {
    latencies: Latencies,
    entries: u64,
    time: Duration,
    spent: Option<Spent>,
    rounds: Vec<Time>,
}

/// What one reader did.
struct Done {
    verified: Duration,
    taken: Duration,
    caught_up: tidings_client::CaughtUp,
}

/// Measures it, and prints a line for the filling, one for each time, and a summary.
pub(super) async fn run(globals: Globals, args: CatchUpArgs) -> Result<(), Failure> {
    let ground = Ground::prepare(globals, args.ground.clone(), Keeping::Disk)?;
    let connections = Connections::bind(ground.patience)?;
    let owners = Owner::open_all(&ground, 1, &connections).await?;
    let owner = owners.first().expect("one was opened");
    let filled = ground.unless_stopped(fill(&ground, &owner.publisher, &args)).await?;
    ground.form().line(&filled, || filled.words())?;
    let ((_, mut keys), mut sum) = (ground.keys(), Sum::default());
    for time in 1..=args.times {
        match ground.unless_stopped(sum.time(&ground, owner, &mut keys, (time, args.readers))).await {
            Err(_) if ground.stop.is_set() => break,
            outcome => outcome?,
        }
    }
    Owner::close_all(&owners).await;
    connections.end().await;
    if sum.rounds.is_empty() {
        return Err(nothing_measured());
    }
    let summary = sum.summary(&ground, &args, &filled);
    ground.form().line(&summary, || summary.words())
}

/// Publishes everything, some calls at a time.
async fn fill(ground: &Ground, publisher: &Publisher, args: &CatchUpArgs) -> Result<Filled, Failure> {
    let records = args.records.unwrap_or(args.mutations).min(args.mutations);
    // Fewer in flight than there are records: a write would replace one that still waits.
    let batch = (records / (BATCHES + 1)).clamp(1, BATCH);
    let batches = if records > BATCHES * batch { BATCHES } else { 1 };
    let (mut waiting, mut progress, began) = (VecDeque::new(), ground.progress("publishing"), Instant::now());
    let mut next = 0;
    while next < args.mutations || !waiting.is_empty() {
        if next < args.mutations && (waiting.len() as u64) < batches {
            let count = batch.min(args.mutations - next);
            let writes = (next..next + count).map(|number| put(number % records, ground.stamps.value(None, args.size))).collect();
            waiting.push_back(publisher.write(writes).await.map_err(write_failure)?);
            next += count;
        } else if let Some(tickets) = waiting.pop_front() {
            receipted(tickets, ground.patience).await?;
            progress.step(next - batch.min(next), args.mutations);
        }
    }
    progress.finish();
    let time = began.elapsed();
    Ok(Filled { phase: "publish", mutations: args.mutations, records, seconds: seconds(time), per_second: per(args.mutations, time) })
}

async fn receipted(tickets: Vec<Ticket>, patience: Duration) -> Result<(), Failure> {
    for ticket in tickets {
        match tokio::time::timeout(patience, ticket.receipted()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Failure::new(error, "repeat")),
            Err(_) => {
                let error = format!("a write had no receipt within {} s", patience.as_secs());
                return Err(untaken(Failure::new(error, "").exit(Exit::Unreachable)));
            }
        }
    }
    Ok(())
}

impl Sum {
    /// New readers catch up once.
    async fn time(&mut self, ground: &Arc<Ground>, owner: &Owner, keys: &mut Keys, (time, readers): (u64, u64)) -> Result<(), Failure> {
        let mut followers = Vec::new();
        for _ in 0..readers {
            let reader = Reader::make(ground, keys.next())?;
            followers.push((reader.follow(owner).await?, reader));
        }
        let connections = Connections::bind(ground.patience)?;
        let (before, began, mut tasks) = (Spent::now(&[&connections]), Instant::now(), JoinSet::new());
        for (queue, reader) in followers {
            let (ground, dial) = (Arc::clone(ground), Arc::clone(&connections) as Arc<dyn Dial>);
            tasks.spawn(async move { catch_up(reader.start(queue, dial)?, began, ground.patience).await });
        }
        let done = joined(tasks).await?;
        let spent = Spent::now(&[&connections]).since(before);
        connections.end().await;
        let round = self.add(time, &done, spent);
        ground.form().line(&round, || round.words())
    }

    fn add(&mut self, time: u64, done: &[Done], spent: Spent) -> Time {
        done.iter().for_each(|done| self.latencies.record(done.verified));
        let last = |of: fn(&Done) -> Duration| done.iter().map(of).max().unwrap_or_default();
        let sum = |of: fn(&Done) -> u64| done.iter().map(of).sum::<u64>();
        let (took, entries) = (last(|done| done.verified), sum(|done| done.caught_up.entries));
        let round = Time {
            phase: "catch-up",
            time,
            seconds: seconds(took),
            entries,
            per_second: per(entries, took),
            entry_bytes: sum(|done| done.caught_up.bytes),
            received_bytes: spent.received(),
            taken_seconds: seconds(last(|done| done.taken)),
        };
        self.entries += entries;
        self.time += took;
        self.spent = Some(self.spent.map_or(spent, |before| before.and(spent)));
        self.rounds.push(round.clone());
        round
    }

    fn summary(self, ground: &Ground, args: &CatchUpArgs, filled: &Filled) -> CaughtUp {
        let spent = self.spent.unwrap_or_default();
        let interrupted = (self.rounds.len() as u64) < args.times;
        CaughtUp {
            base: Base::new("catch-up", ground),
            mutations: args.mutations,
            records: filled.records,
            size: args.size,
            readers: args.readers,
            times: args.times,
            publish_seconds: filled.seconds,
            figures: Figures::new(self.entries, self.time, self.latencies.summary(), spent, interrupted),
            rounds: self.rounds,
        }
    }
}

/// Catches up, then takes all changes as an application does.
async fn catch_up(mut subscriber: Subscriber, began: Instant, patience: Duration) -> Result<Done, Failure> {
    let reached = caught_up(&mut subscriber, patience).await?;
    let verified = began.elapsed();
    loop {
        match subscriber.next().await {
            Some(Event::Changes(changes)) => {
                let done: Vec<ChangeId> = changes.iter().map(ChangeId::from).collect();
                tokio::task::block_in_place(|| subscriber.acknowledge(&done)).map_err(state_failure)?;
            }
            Some(Event::CaughtUp(_)) | None => break,
            Some(_) => {}
        }
    }
    let taken = began.elapsed();
    subscriber.close().await;
    Ok(Done { verified, taken, caught_up: reached })
}

impl Filled {
    fn words(&self) -> String {
        let Self { mutations, records, seconds, per_second, .. } = self;
        format!("{mutations} writes of {records} records published in {seconds:.2} s: {per_second:.0} a second")
    }
}

impl Time {
    fn words(&self) -> String {
        let Self { time, seconds, entries, per_second, received_bytes, taken_seconds, .. } = self;
        format!(
            "{time}: {entries} entries verified in {seconds:.3} s: {per_second:.0} a second, {received_bytes} bytes received; taken by \
             the application after {taken_seconds:.3} s"
        )
    }
}

impl CaughtUp {
    fn words(&self) -> String {
        let Self { mutations, records, size, readers, times, .. } = self;
        let (readers, times) = (counted(*readers, "reader"), counted(*times, "time"));
        let head = format!("catch-up: {mutations} writes of {records} records, values of {size} bytes, {readers}, {times}");
        format!("{head}\n{}", self.figures.words("entries", "one catch-up"))
    }
}
