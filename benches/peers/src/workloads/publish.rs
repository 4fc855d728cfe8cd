//! (a) Durable publish: from the call to the answer that the system calls durable.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bed, Depth, reading_of};
use crate::load::{Bound, Publishing};
use crate::meter::Meter;
use crate::peer::System;
use crate::sheet::{Judge, Reading, Sheet};
use crate::tidings::Tidings;

const SYSTEMS: [System; 4] = [System::Tidings, System::JetStream, System::RedisAlways, System::RedisEverySecond];
/// Value whose publishing decides how many messages are in flight.
const PROBE_SIZE: usize = 1024;
const PROBE_LASTS: Duration = Duration::from_millis(1500);
/// Records of one owner of ours, each message updates the next one: more than are in flight, so that none replaces one that still waits.
const RECORDS: &str = "10000";

/// Every size, number of publishers and manner, all systems in turn.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    probe_all(bed).await;
    let plan = bed.plan.clone();
    for size in plan.sizes {
        for &owners in &plan.owners {
            for pipelined in [false, true] {
                for system in SYSTEMS {
                    let manner = if pipelined { "pipelined" } else { "one at a time" };
                    let case = format!("{size} B, {owners} {}, {manner}", if owners == 1 { "publisher" } else { "publishers" });
                    let depth = if pipelined { depth(bed, system, owners) } else { Depth::ONE };
                    let judge = if pipelined { Judge::PerSecond } else { Judge::P50 };
                    let work = load(bed, system, owners, size, depth, plan.publish_lasts);
                    sheet.take(&case, judge, system, work).await;
                }
            }
        }
    }
}

/// Finds the best number of messages in flight for each system and number of publishers, once.
async fn probe_all(bed: &mut Bed) {
    for system in SYSTEMS {
        for owners in bed.plan.owners.clone() {
            if !bed.depths.contains_key(&(system, owners)) {
                let best = probe(bed, system, owners).await;
                bed.depths.insert((system, owners), best);
            }
        }
    }
}

/// The best of those to choose from; the first one in a quick run, or where nothing works.
async fn probe(bed: &Bed, system: System, owners: usize) -> Depth {
    let choices = Depth::choices(system, &bed.plan);
    let mut best = (choices[0], 0.0);
    for &depth in choices.iter().filter(|_| bed.plan.depths.len() > 1) {
        let Ok(read) = load(bed, system, owners, PROBE_SIZE, depth, PROBE_LASTS).await else { continue };
        let per_second = read.messages as f64 / read.seconds;
        if per_second > best.1 {
            best = (depth, per_second);
        }
    }
    eprintln!("  {}, {owners} at once: {} is its best", system.name(), best.0.words());
    best.0
}

fn depth(bed: &Bed, system: System, owners: usize) -> Depth {
    bed.depths.get(&(system, owners)).copied().unwrap_or(Depth::ONE)
}

async fn load(bed: &Bed, system: System, owners: usize, size: usize, depth: Depth, lasts: Duration) -> Result<Reading> {
    let (setting, in_flight) = (depth.words(), depth.in_flight);
    if system == System::Tidings {
        let tidings = Tidings::start().await?;
        let meter = Meter::start(&tidings.server)?;
        let [owners, size, in_flight, batch] = [owners, size, in_flight, depth.batch].map(|number| number.to_string());
        let lasts = format!("{}ms", lasts.as_millis());
        let words = ["publish", "--owners", &owners, "--size", &size, "--records", RECORDS, "--in-flight", &in_flight, "--batch", &batch];
        let line = tidings.bench(&[&words[..], &["--duration", &lasts, "--warm-up", "0s"]].concat()).await?;
        return reading_of(&line, &meter, setting);
    }
    let peer = system.start(&bed.tls, owners).await?;
    let meter = Meter::start(peer.server())?;
    let load = peer.publish(owners, Publishing { size, records: 1, in_flight, bound: Bound::lasting(lasts) }).await?;
    let span = meter.stop()?;
    let latency = load.latencies.percentiles().context("nothing was answered")?;
    let cost = span.cost(load.messages);
    Ok(Reading { messages: load.messages, seconds: span.seconds, latency: Some(latency), cost, setting, ..Reading::default() })
}
