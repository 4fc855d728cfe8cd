//! (c) Catch-up of everything: a fresh reader reads a whole queue, ours verifying and opening it.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::jetstream::consumer::DeliverPolicy;
use serde_json::Value;

use super::Bed;
use crate::load::{Bound, Publishing};
use crate::meter::Meter;
use crate::nats::{self, Nats};
use crate::peer::{Peer, System};
use crate::redis::Redis;
use crate::sheet::{Judge, Reading, Sheet, duration};
use crate::tidings::{Tidings, number};

const SYSTEMS: [System; 3] = [System::Tidings, System::JetStream, System::RedisAlways];
const SIZE: usize = 256;
const FILLS_IN_FLIGHT: usize = 256;
const FILLS_WITHIN: Duration = Duration::from_secs(900);
/// Entries that one call of Redis asks for: the better of these is what counts.
pub(super) const AT_ONCE: [u64; 2] = [1_000, 10_000];

/// All systems in turn.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    let count = bed.plan.catch_up;
    let case = format!("{count} live mutations of {SIZE} B");
    for system in SYSTEMS {
        sheet.take(&case, Judge::PerSecond, system, whole(bed, system, count)).await;
    }
}

async fn whole(bed: &Bed, system: System, count: u64) -> Result<Reading> {
    if system == System::Tidings {
        return ours(count, count, 1).await?.pop().ok_or_else(|| anyhow::anyhow!("no reading"));
    }
    let peer = system.start(&bed.tls, 1).await?;
    let publishing = Publishing { size: SIZE, records: 1, in_flight: FILLS_IN_FLIGHT, bound: Bound::counting(count, FILLS_WITHIN) };
    let filled = peer.publish(1, publishing).await?;
    ensure!(filled.messages == count, "only {} of {count} were published in time", filled.messages);
    let readings = match &peer {
        Peer::Core(_) => Vec::new(),
        Peer::JetStream(nats) => {
            vec![
                replay(nats, nats::Reading::Push, DeliverPolicy::All, count).await?,
                replay(nats, nats::Reading::Pull, DeliverPolicy::All, count).await?,
            ]
        }
        Peer::Redis(redis) => vec![read_at_once(redis, AT_ONCE[0], count).await?, read_at_once(redis, AT_ONCE[1], count).await?],
    };
    fastest(readings)
}

/// Fresh readers of ours, `times` one after the other, after `mutations` of `records`: until the application has taken every change.
pub(super) async fn ours(mutations: u64, records: u64, times: usize) -> Result<Vec<Reading>> {
    let tidings = Tidings::start().await?;
    let [mutations, known, size, times] = [mutations, records, SIZE as u64, times as u64].map(|number| number.to_string());
    let words = ["catch-up", "--mutations", &mutations, "--records", &known, "--size", &size, "--times", &times];
    let mut bench = tidings.begin(&words)?;
    let (mut readings, mut meter) = (Vec::new(), Meter::start(&tidings.server)?);
    while let Some(line) = bench.line().await? {
        if line["phase"] == "catch-up" {
            readings.push(one_of_ours(&line, &meter, records)?);
        } else if line["workload"] == "catch-up" {
            readings.iter_mut().for_each(|reading| reading.cost.client_cpu_us = line["cpu_us_per_message"].as_f64());
        }
        // Its publishing is told first: what the broker works from here on is for the reader that is told of next.
        meter = Meter::start(&tidings.server)?;
    }
    Ok(readings)
}

fn one_of_ours(line: &Value, meter: &Meter, records: u64) -> Result<Reading> {
    let (messages, verified) = (number(line, "entries")? as u64, number(line, "seconds")?);
    ensure!(messages == records, "it read {messages} of {records} records");
    let setting = format!("a fresh reader, its state on disk; all verified after {}", duration(verified * 1e6));
    Ok(Reading { messages, seconds: number(line, "taken_seconds")?, cost: meter.stop()?.cost(messages), setting, ..Reading::default() })
}

/// One reading of a stream by an ordered consumer.
pub(super) async fn replay(nats: &Nats, how: nats::Reading, from: DeliverPolicy, count: u64) -> Result<Reading> {
    let last = if from == DeliverPolicy::LastPerSubject { ", last per subject" } else { "" };
    let setting = format!("ordered {}{last}", if how == nats::Reading::Push { "push" } else { "pull" });
    let meter = Meter::start(&nats.server)?;
    nats.read(how, from, count).await?;
    let span = meter.stop()?;
    Ok(Reading { messages: count, seconds: span.seconds, cost: span.cost(count), setting, ..Reading::default() })
}

/// One reading of a stream by XREAD.
pub(super) async fn read_at_once(redis: &Redis, at_once: u64, count: u64) -> Result<Reading> {
    let meter = Meter::start(&redis.server)?;
    redis.read(at_once, count).await?;
    let span = meter.stop()?;
    let setting = format!("XREAD COUNT {at_once}");
    Ok(Reading { messages: count, seconds: span.seconds, cost: span.cost(count), setting, ..Reading::default() })
}

/// The peer's better way is the one that counts.
pub(super) fn fastest(readings: Vec<Reading>) -> Result<Reading> {
    let fastest = readings.into_iter().min_by(|one, other| one.seconds.total_cmp(&other.seconds));
    fastest.ok_or_else(|| anyhow::anyhow!("nothing to read"))
}
