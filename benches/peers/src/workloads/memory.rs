//! (h) Memory of our server over time, under the most that its clients can make of it: a burst of writes, many large catch-ups at once,
//! readers that stand still in the middle of theirs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::Bed;
use crate::peer::System;
use crate::server::usage;
use crate::sheet::{Judge, Reading, Sheet};
use crate::tidings::{Bench, Tidings};

const SIZE: &str = "1024";
const BURST_SIZE: &str = "4096";
const BURST_OWNERS: &str = "8";
const BURST_IN_FLIGHT: &str = "1024";
/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(200);
const REST: Duration = Duration::from_secs(3);
/// How long readers read before they stand still.
const READS: Duration = Duration::from_secs(1);

/// All phases on one broker.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    if let Err(error) = phases(bed, sheet).await {
        sheet.note("a phase that was not finished", Judge::Bytes, System::TidingsForgetful, Err(error));
    }
}

async fn phases(bed: &Bed, sheet: &mut Sheet) -> Result<()> {
    let (readers, mutations) = (bed.plan.catching_up.to_string(), bed.plan.caught_up.to_string());
    let lasts = format!("{}s", bed.plan.burst_lasts.as_secs());
    let burst = ["publish", "--owners", BURST_OWNERS, "--in-flight", BURST_IN_FLIGHT, "--size", BURST_SIZE, "--duration", &lasts];
    let burst = [&burst[..], &["--state", "memory", "--warm-up", "0s"]].concat();
    let catch_up = ["catch-up", "--readers", &readers, "--mutations", &mutations, "--size", SIZE, "--times", "1", "--state", "memory"];
    let tidings = Tidings::start().await?;
    let mut watch = Watch::start(tidings.server.process());
    tokio::time::sleep(REST).await;
    watch.phase(sheet, "1. nothing is asked of it")?;
    tidings.bench(&burst).await?;
    watch.phase(sheet, &format!("2. {BURST_OWNERS} owners write {BURST_SIZE} B as fast as they can, {BURST_IN_FLIGHT} in flight each"))?;
    tidings.bench(&catch_up).await?;
    watch.phase(sheet, &format!("3. {readers} readers catch up with {mutations} entries of {SIZE} B at once"))?;
    let mut reading = tidings.begin(&catch_up)?;
    let published = reading.line().await?.context("it tells of its publish")?;
    ensure!(published["phase"] == "publish", "it begins with something else: {published}");
    tokio::time::sleep(READS).await;
    stand_still(&reading, true).await?;
    let burst = tidings.bench(&burst).await;
    stand_still(&reading, false).await?;
    burst?;
    watch.phase(sheet, "4. the same, and all stand still in the middle while owners write as in 2")?;
    while reading.line().await?.is_some() {}
    watch.phase(sheet, "5. they go on to the end")?;
    tokio::time::sleep(REST).await;
    watch.phase(sheet, "6. nothing is asked of it any more")
}

/// Stops a process where it is, or lets it go on. Nothing of it is read or confirmed meanwhile.
async fn stand_still(bench: &Bench, still: bool) -> Result<()> {
    let process = bench.process().context("it has ended")?.to_string();
    let sent = Command::new("kill").args([if still { "-STOP" } else { "-CONT" }, &process]).status().await?;
    ensure!(sent.success(), "it cannot be signalled");
    Ok(())
}

/// Looks at the memory of a process until this is dropped.
struct Watch {
    began: Instant,
    seen: Arc<Mutex<Vec<(f64, f64)>>>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(process: u32) -> Self {
        let (began, seen, process) = (Instant::now(), Arc::new(Mutex::new(Vec::new())), process.to_string());
        let told = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok(usage) = usage(&process) {
                let point = (began.elapsed().as_secs_f64(), usage.resident_bytes as f64);
                told.lock().unwrap_or_else(PoisonError::into_inner).push(point);
                tokio::time::sleep(GLANCE).await;
            }
        });
        Self { began, seen, task }
    }

    /// Notes what was seen since the last phase ended.
    fn phase(&mut self, sheet: &mut Sheet, case: &str) -> Result<()> {
        let curve = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let bytes = curve.iter().map(|point| point.1).fold(0.0, f64::max);
        ensure!(bytes > 0.0, "the server is gone");
        let seconds = self.began.elapsed().as_secs_f64();
        let last = curve.last().map_or(0.0, |point| point.1);
        let setting = format!("{} at its end", crate::sheet::bytes(last));
        sheet.note(case, Judge::Bytes, System::TidingsForgetful, Ok(Reading { messages: 1, seconds, bytes, curve, setting, ..Reading::default() }));
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
