//! (f) Growth: what a publish costs in a queue that grows, and on a broker with more and more queues.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Bed, Depth, reading_of};
use crate::load::{Bound, Publishing};
use crate::meter::Meter;
use crate::peer::System;
use crate::sheet::{Judge, Reading, Sheet};
use crate::tidings::Tidings;

const SYSTEMS: [System; 2] = [System::Tidings, System::JetStream];
const SIZE: usize = 256;
/// Messages in flight over all publishers.
const IN_FLIGHT: usize = 256;
/// Messages over all queues, when their number grows: at least one for each. The connections of the owners are in the figure.
const MESSAGES: u64 = 20_000;
/// Publishers with a connection and a stream each that this machine bears.
const QUEUES_MAX: usize = 10_000;
const ENDS_WITHIN: Duration = Duration::from_secs(3600);

/// All sizes, all systems in turn.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    for &entries in &bed.plan.entries {
        for system in SYSTEMS {
            let case = format!("one queue, {entries} entries, all live");
            sheet.take(&case, Judge::PerSecond, system, load(bed, system, 1, entries)).await;
        }
    }
    for &queues in &bed.plan.queues {
        for system in SYSTEMS {
            let case = format!("{queues} {}", if queues == 1 { "queue" } else { "queues" });
            let each = MESSAGES.div_ceil(queues as u64);
            sheet.take(&case, Judge::PerSecond, system, load(bed, system, queues, each)).await;
        }
    }
}

async fn load(bed: &Bed, system: System, queues: usize, each: u64) -> Result<Reading> {
    ensure!(queues <= QUEUES_MAX, "more publishers than can be connected here");
    let in_flight = (IN_FLIGHT / queues).max(1);
    let depth = Depth { in_flight, batch: if system == System::Tidings { (in_flight / 4).max(1) } else { 1 } };
    let setting = depth.words();
    let all = each * queues as u64;
    if system == System::Tidings {
        let tidings = Tidings::start().await?;
        let meter = Meter::start(&tidings.server)?;
        let [owners, size, in_flight, batch] = [queues, SIZE, in_flight, depth.batch].map(|number| number.to_string());
        // Every message is a record of its own, so that all of them stay.
        let [records, count] = [each.to_string(), all.to_string()];
        let words = ["publish", "--owners", &owners, "--size", &size, "--records", &records, "--in-flight", &in_flight, "--batch", &batch];
        let line = tidings.bench(&[&words[..], &["--count", &count, "--warm-up", "0s"]].concat()).await?;
        return reading_of(&line, &meter, setting);
    }
    let peer = system.start(&bed.tls, queues).await?;
    let meter = Meter::start(peer.server())?;
    let publishing = Publishing { size: SIZE, records: 1, in_flight, bound: Bound::counting(each, ENDS_WITHIN) };
    let load = peer.publish(queues, publishing).await?;
    let span = meter.stop()?;
    ensure!(load.messages == all, "{} of {all} were published in time", load.messages);
    let latency = Some(load.latencies.percentiles().context("nothing was answered")?);
    Ok(Reading { messages: all, seconds: span.seconds, latency, cost: span.cost(all), setting, ..Reading::default() })
}
