//! (g) Restart: SIGKILL with much on the disk, then the time from the start of the process to its first answered publish.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bed;
use crate::load::{Bound, Publishing, payload};
use crate::peer::System;
use crate::server::disk_bytes;
use crate::sheet::{Judge, Reading, Sheet, bytes};
use crate::tidings::Tidings;
use crate::tls::Tls;

const SYSTEMS: [System; 4] = [System::Tidings, System::JetStream, System::RedisAlways, System::RedisEverySecond];
const SIZE: usize = 1024;
const FILLS_IN_FLIGHT: usize = 1024;
const FILLS_WITHIN: Duration = Duration::from_secs(3600);
const ONE: [&str; 7] = ["publish", "--count", "1", "--in-flight", "1", "--warm-up", "0s"];

/// All systems in turn.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    let count = bed.plan.restart_bytes / SIZE as u64;
    let case = format!("{} in values of {SIZE} B", bytes(bed.plan.restart_bytes as f64));
    for system in SYSTEMS {
        let work = async { if system == System::Tidings { ours(count).await } else { theirs(&bed.tls, system, count).await } };
        sheet.take(&case, Judge::Seconds, system, work).await;
    }
}

async fn theirs(tls: &Tls, system: System, count: u64) -> Result<Reading> {
    let peer = system.start(tls, 1).await?;
    let publishing = Publishing { size: SIZE, records: 1, in_flight: FILLS_IN_FLIGHT, bound: Bound::counting(count, FILLS_WITHIN) };
    let filled = peer.publish(1, publishing).await?;
    ensure!(filled.messages == count, "only {} of {count} were published in time", filled.messages);
    let kept = disk_bytes(&peer.server().path());
    let started = Instant::now();
    let peer = peer.killed_and_started(system, tls).await?;
    peer.announcer().await?.announce(0, payload(SIZE, 0)).await?;
    Ok(answered(started.elapsed(), kept))
}

/// The client's own start, a new node, is measured a second time on the running broker and taken off.
async fn ours(count: u64) -> Result<Reading> {
    let tidings = Tidings::start().await?;
    let [size, count, in_flight] = [SIZE as u64, count, FILLS_IN_FLIGHT as u64].map(|number| number.to_string());
    let words = [
        "publish",
        "--size",
        &size,
        "--records",
        &count,
        "--in-flight",
        &in_flight,
        "--batch",
        "256",
        "--count",
        &count,
        "--warm-up",
        "0s",
    ];
    tidings.bench(&words).await?;
    let kept = disk_bytes(&tidings.server.path());
    let folder = tidings.server.kill().await?;
    let started = Instant::now();
    let tidings = Tidings::start_in(folder).await?;
    let serving = started.elapsed();
    tidings.bench(&ONE).await?;
    let first = started.elapsed();
    let again = Instant::now();
    tidings.bench(&ONE).await?;
    Ok(answered(first.saturating_sub(again.elapsed()).max(serving), kept))
}

fn answered(took: Duration, kept: u64) -> Reading {
    Reading { messages: 1, seconds: took.as_secs_f64(), setting: format!("{} on the disk", bytes(kept as f64)), ..Reading::default() }
}
