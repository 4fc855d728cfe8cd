//! (b) Live fan-out: from the moment a publish is due to the moment the reader's callback has it, for every reader.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use super::{Bed, reading_of};
use crate::load::{Load, payload, together};
use crate::meter::Meter;
use crate::peer::{Peer, Stamps, System};
use crate::sheet::{Judge, Reading, Sheet};
use crate::tidings::Tidings;

const SYSTEMS: [System; 4] = [System::Tidings, System::JetStream, System::NatsCore, System::RedisAlways];
const A_SECOND: u32 = 50;
const SIZE: usize = 256;
/// Connections that are opened at once.
const OPENING: usize = 32;
/// How long after the last publish its readers are waited for.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

/// Stamps are nanoseconds since this.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Every number of readers, all systems in turn.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    for readers in bed.plan.readers.clone() {
        let case = format!("{readers} {}, {A_SECOND} publishes a second", if readers == 1 { "reader" } else { "readers" });
        for system in SYSTEMS {
            sheet.take(&case, Judge::P50, system, load(bed, system, readers)).await;
        }
    }
}

async fn load(bed: &Bed, system: System, readers: usize) -> Result<Reading> {
    let lasts = bed.plan.live_lasts;
    if system == System::Tidings {
        let tidings = Tidings::start().await?;
        let meter = Meter::start(&tidings.server)?;
        let [readers, size, rate, lasts] =
            [readers.to_string(), SIZE.to_string(), A_SECOND.to_string(), format!("{}ms", lasts.as_millis())];
        let line = tidings.bench(&["live", "--readers", &readers, "--size", &size, "--rate", &rate, "--duration", &lasts]).await?;
        return reading_of(&line, &meter, "a follow each".to_owned());
    }
    let peer = system.start(&bed.tls, 1).await?;
    let count = u64::from(A_SECOND) * lasts.as_secs();
    let tasks = listeners(&peer, readers, 1, count, lasts + ARRIVES_WITHIN).await?;
    let meter = Meter::start(peer.server())?;
    announce(&peer, count).await?;
    let heard = together(tasks).await?;
    let span = meter.stop()?;
    ensure!(heard.messages == count * readers as u64, "{} of {} messages were heard", heard.messages, count * readers as u64);
    let (latency, cost) = (heard.latencies.percentiles(), span.cost(heard.messages));
    Ok(Reading { messages: heard.messages, seconds: span.seconds, latency, cost, setting: how(system).to_owned(), ..Reading::default() })
}

/// Readers, each with a connection of its own, spread over the queues; each ends after `count` messages.
pub(super) async fn listeners(peer: &Peer, readers: usize, queues: usize, count: u64, limit: Duration) -> Result<JoinSet<Result<Load>>> {
    let opened = stream::iter(0..readers).map(|reader| peer.subscribe(reader % queues)).buffer_unordered(OPENING);
    let opened: Vec<Stamps> = opened.try_collect().await?;
    let until = Instant::now() + limit;
    let mut tasks = JoinSet::new();
    for stamps in opened {
        tasks.spawn(listen(stamps, count, until));
    }
    Ok(tasks)
}

/// The time now as a stamp.
pub(super) fn now() -> u64 {
    ORIGIN.elapsed().as_nanos() as u64
}

/// How its users read from it durably, or at all.
pub(super) fn how(system: System) -> &'static str {
    match system {
        System::Tidings => "a follow each",
        System::JetStream => "an ordered consumer each",
        System::NatsCore => "a subscription each",
        System::RedisAlways | System::RedisEverySecond => "XREAD BLOCK each",
    }
}

async fn listen(mut stamps: Stamps, count: u64, until: Instant) -> Result<Load> {
    let mut load = Load::new();
    while load.messages < count {
        let Ok(Some(stamp)) = tokio::time::timeout_at(until.into(), stamps.next()).await else { break };
        load.answered(Duration::from_nanos(now().saturating_sub(stamp?)));
    }
    Ok(load)
}

/// Publishes on a schedule that waits for nobody; a message carries the time when it was due.
async fn announce(peer: &Peer, count: u64) -> Result<()> {
    let announcer = peer.announcer().await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / A_SECOND);
    let mut answers = JoinSet::new();
    for _ in 0..count {
        let due = ticks.tick().await;
        let late = due.elapsed().as_nanos() as u64;
        let (mut announcer, body) = (announcer.clone(), payload(SIZE, now().saturating_sub(late)));
        answers.spawn(async move { announcer.announce(0, body).await });
    }
    while let Some(answer) = answers.join_next().await {
        answer??;
    }
    announcer.settle().await
}
