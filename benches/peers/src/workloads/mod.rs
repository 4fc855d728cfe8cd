//! The workloads, one file each. Each takes one round at a time, so that noise of the machine hits all systems alike.

mod catch_up;
mod conflated;
mod growth;
mod idle;
mod live;
mod memory;
mod publish;
mod restart;

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::latency::Percentiles;
use crate::meter::{Cost, Meter};
use crate::peer::System;
use crate::plan::Plan;
use crate::sheet::{Reading, Sheet};
use crate::tidings::number;
use crate::tls::Tls;

/// Names of all, in the order of the tables.
pub(crate) const WORKLOADS: [&str; 8] = ["publish", "live", "catch-up", "conflated", "idle", "growth", "restart", "memory"];

/// What all workloads share.
pub(crate) struct Bed {
    /// Authority of the peers' certificates.
    pub(crate) tls: Tls,
    /// Sizes of everything.
    pub(crate) plan: Plan,
    /// The best setting of a system, once it was found: by system and number of publishers.
    pub(crate) depths: HashMap<(System, usize), Depth>,
}

/// How a publisher keeps a system busy.
#[derive(Clone, Copy)]
pub(crate) struct Depth {
    /// Messages of each publisher that wait for an answer.
    pub(crate) in_flight: usize,
    /// Messages in one call, where a call takes several. The driver of Redis makes pipelines of half of what is in flight.
    pub(crate) batch: usize,
}

impl Depth {
    /// One after the other.
    pub(crate) const ONE: Self = Self { in_flight: 1, batch: 1 };

    /// Those to choose from for a system: only ours has calls with several messages.
    pub(crate) fn choices(system: System, plan: &Plan) -> Vec<Self> {
        let of =
            |parts: usize| plan.depths.iter().map(move |&in_flight| Self { in_flight, batch: in_flight.checked_div(parts).unwrap_or(1) });
        if system.is_ours() { of(4).chain(of(0)).collect() } else { of(0).collect() }
    }

    /// In words.
    pub(crate) fn words(self) -> String {
        if self.batch > 1 {
            format!("{} in flight, {} a call", self.in_flight, self.batch)
        } else {
            format!("{} in flight", self.in_flight)
        }
    }
}

/// Takes every round of one workload.
pub(crate) async fn measure(name: &str, bed: &mut Bed) -> Result<Sheet> {
    let mut sheet = Sheet::default();
    for round in 0..rounds(name, &bed.plan) {
        eprintln!("{name}, round {}", round + 1);
        match name {
            "publish" => publish::round(bed, &mut sheet).await,
            "live" => live::round(bed, &mut sheet).await,
            "catch-up" => catch_up::round(bed, &mut sheet).await,
            "conflated" => conflated::round(bed, &mut sheet).await,
            "idle" => idle::round(bed, &mut sheet).await,
            "growth" => growth::round(bed, &mut sheet).await,
            "restart" => restart::round(bed, &mut sheet).await,
            "memory" => memory::round(bed, &mut sheet).await,
            _ => return Err(anyhow!("no workload {name}")),
        }
    }
    Ok(sheet)
}

/// Those that first fill a server for long are taken once; they read several times within it.
fn rounds(name: &str, plan: &Plan) -> usize {
    if matches!(name, "conflated" | "idle" | "growth" | "restart" | "memory") { 1 } else { plan.rounds }
}

/// What a line of `tidings bench` says, with the cost of the broker from the meter.
fn reading_of(line: &Value, meter: &Meter, setting: String) -> Result<Reading> {
    let messages = number(line, "messages")? as u64;
    let cost = Cost { client_cpu_us: line["cpu_us_per_message"].as_f64(), ..meter.stop()?.cost(messages) };
    let latency: Percentiles = serde_json::from_value(line["latency_us"].clone()).unwrap_or_default();
    let latency = (latency.n > 0).then_some(latency);
    Ok(Reading { messages, seconds: number(line, "seconds")?, latency, cost, setting, ..Reading::default() })
}
