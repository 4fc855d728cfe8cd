//! (e) Idle readers: what each costs the server in memory, and how long one publish to each queue takes to reach them all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::live::{how, listeners, now};
use super::{Bed, reading_of};
use crate::load::{payload, together};
use crate::meter::Meter;
use crate::peer::System;
use crate::sheet::{Judge, Reading, Sheet};
use crate::tidings::Tidings;

const SYSTEMS: [System; 4] = [System::Tidings, System::JetStream, System::NatsCore, System::RedisAlways];
const QUEUES: usize = 10;
const SIZE: usize = 256;
/// Quiet time before the memory is read.
const HOLD: Duration = Duration::from_secs(5);
const ENDS_WITHIN: Duration = Duration::from_secs(900);

/// All systems in turn.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    let readers = bed.plan.idle;
    let memory = format!("memory of the server for each of {readers} idle readers");
    let awake = format!("one publish to each of {QUEUES} queues, until {readers} readers have it");
    for system in SYSTEMS {
        let read = async { tokio::time::timeout(ENDS_WITHIN, both(bed, system, readers)).await.context("it took too long")? };
        let both = read.await;
        let (quiet, woken) = match both {
            Ok((quiet, woken)) => (Ok(quiet), Ok(woken)),
            Err(error) => (Err(anyhow::anyhow!("{error:#}")), Err(error)),
        };
        sheet.take(&memory, Judge::Bytes, system, async { quiet }).await;
        sheet.take(&awake, Judge::Seconds, system, async { woken }).await;
    }
}

async fn both(bed: &Bed, system: System, readers: usize) -> Result<(Reading, Reading)> {
    if system == System::Tidings {
        return ours(readers).await;
    }
    let peer = system.start(&bed.tls, QUEUES).await?;
    let before = peer.server().usage()?.resident_bytes;
    let tasks = listeners(&peer, readers, QUEUES, 1, ENDS_WITHIN).await?;
    tokio::time::sleep(HOLD).await;
    let quiet = memory(before, peer.server().usage()?.resident_bytes, readers, how(system));
    let (mut announcer, meter) = (peer.announcer().await?, Meter::start(peer.server())?);
    for queue in 0..QUEUES {
        announcer.announce(queue, payload(SIZE, now())).await?;
    }
    let heard = together(tasks).await?;
    let span = meter.stop()?;
    ensure!(heard.messages == readers as u64, "{} of {readers} readers heard", heard.messages);
    let (latency, cost, setting) = (heard.latencies.percentiles(), span.cost(heard.messages), how(system).to_owned());
    Ok((quiet, Reading { messages: heard.messages, seconds: span.seconds, latency, cost, setting, ..Reading::default() }))
}

async fn ours(readers: usize) -> Result<(Reading, Reading)> {
    let tidings = Tidings::start().await?;
    let before = tidings.server.usage()?.resident_bytes;
    let [count, owners, hold] = [readers.to_string(), QUEUES.to_string(), format!("{}s", HOLD.as_secs())];
    let mut bench = tidings.begin(&["idle", "--readers", &count, "--owners", &owners, "--hold", &hold])?;
    let mut quiet = None;
    let mut meter = Meter::start(&tidings.server)?;
    while let Some(line) = bench.line().await? {
        if line["phase"] == "idle" {
            quiet = Some(memory(before, tidings.server.usage()?.resident_bytes, readers, how(System::Tidings)));
            meter = Meter::start(&tidings.server)?;
        } else if let Some(quiet) = quiet.take() {
            return Ok((quiet, reading_of(&line, &meter, how(System::Tidings).to_owned())?));
        }
    }
    anyhow::bail!("tidings bench told no idle phase")
}

fn memory(before: u64, after: u64, readers: usize, setting: &str) -> Reading {
    let bytes = after.saturating_sub(before) as f64 / readers as f64;
    Reading { messages: readers as u64, bytes, setting: setting.to_owned(), ..Reading::default() }
}
