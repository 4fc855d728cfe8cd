//! (d) Catch-up of what is left of many mutations of few records: ours reads what is live; the peers replay, or use their best way.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::jetstream::consumer::DeliverPolicy;

use super::Bed;
use super::catch_up::{AT_ONCE, fastest, ours, read_at_once, replay};
use crate::load::{Bound, Publishing};
use crate::meter::{Cost, Meter};
use crate::nats::{Nats, Reading as How};
use crate::peer::System;
use crate::redis::{Redis, Sync};
use crate::sheet::{Judge, Reading, Sheet};

const SIZE: usize = 256;
const FILLS_IN_FLIGHT: usize = 256;
const FILLS_WITHIN: Duration = Duration::from_secs(900);

/// Each system is filled once, and read as often as others have rounds.
pub(super) async fn round(bed: &mut Bed, sheet: &mut Sheet) {
    let (mutations, records) = bed.plan.conflated;
    let cases = [
        format!("{records} records after {mutations} mutations, against replay"),
        format!("{records} records after {mutations} mutations, against the peer's best way"),
    ];
    note(sheet, &cases, System::Tidings, tidings(bed).await);
    note(sheet, &cases, System::JetStream, jetstream(bed).await);
    note(sheet, &cases, System::RedisAlways, redis(bed).await);
}

/// Readings of both cases.
type Both = [Vec<Reading>; 2];

fn note(sheet: &mut Sheet, cases: &[String; 2], system: System, read: Result<Both>) {
    match read {
        Ok(both) => {
            for (case, reading) in
                cases.iter().zip(both).flat_map(|(case, readings)| readings.into_iter().map(move |reading| (case, reading)))
            {
                eprintln!("  {case}, {}: {:.3} s, {}", system.name(), reading.seconds, reading.setting);
                sheet.note(case, Judge::Seconds, system, Ok(reading));
            }
        }
        Err(error) => {
            eprintln!("  {}: {error:#}", system.name());
            cases.iter().for_each(|case| sheet.note(case, Judge::Seconds, system, Err(anyhow::anyhow!("{error:#}"))));
        }
    }
}

async fn tidings(bed: &Bed) -> Result<Both> {
    let (mutations, records) = bed.plan.conflated;
    let readings = ours(mutations, records, bed.plan.rounds).await?;
    Ok([readings.clone(), readings])
}

async fn jetstream(bed: &Bed) -> Result<Both> {
    let (mutations, records) = bed.plan.conflated;
    let nats = Nats::start(&bed.tls).await?;
    nats.make_streams(1).await?;
    let filled = nats.publish(1, publishing(bed)).await?;
    ensure!(filled.messages == mutations, "only {} of {mutations} were published in time", filled.messages);
    let mut both = Both::default();
    for _ in 0..bed.plan.rounds {
        let push = replay(&nats, How::Push, DeliverPolicy::All, mutations).await?;
        let pull = replay(&nats, How::Pull, DeliverPolicy::All, mutations).await?;
        both[0].push(shared(fastest(vec![push, pull])?, mutations, records));
        let push = replay(&nats, How::Push, DeliverPolicy::LastPerSubject, records).await?;
        let pull = replay(&nats, How::Pull, DeliverPolicy::LastPerSubject, records).await?;
        both[1].push(fastest(vec![push, pull])?);
    }
    Ok(both)
}

async fn redis(bed: &Bed) -> Result<Both> {
    let (mutations, records) = bed.plan.conflated;
    let redis = Redis::start(&bed.tls, Sync::Always).await?;
    let filled = redis.publish_beside_a_hash(publishing(bed)).await?;
    ensure!(filled.messages == mutations, "only {} of {mutations} were published in time", filled.messages);
    let mut both = Both::default();
    for _ in 0..bed.plan.rounds {
        let replays = [read_at_once(&redis, AT_ONCE[0], mutations).await?, read_at_once(&redis, AT_ONCE[1], mutations).await?];
        both[0].push(shared(fastest(replays.into())?, mutations, records));
        let meter = Meter::start(&redis.server)?;
        let read = redis.read_hash().await?;
        let span = meter.stop()?;
        ensure!(read == records, "the hash has {read} of {records} records");
        let setting = "HGETALL of a hash that the publisher keeps".to_owned();
        both[1].push(Reading { messages: read, seconds: span.seconds, cost: span.cost(read), setting, ..Reading::default() });
    }
    Ok(both)
}

fn publishing(bed: &Bed) -> Publishing {
    let (mutations, records) = bed.plan.conflated;
    Publishing { size: SIZE, records, in_flight: FILLS_IN_FLIGHT, bound: Bound::counting(mutations, FILLS_WITHIN) }
}

/// Costs were of each mutation; what one wants is a record.
fn shared(reading: Reading, mutations: u64, records: u64) -> Reading {
    let times = mutations as f64 / records as f64;
    let of = |each: Option<f64>| each.map(|each| each * times);
    let Cost { server_cpu_us, client_cpu_us, disk_bytes, written_bytes, wire_bytes, rss_max_bytes } = reading.cost;
    let [server_cpu_us, client_cpu_us, disk_bytes] = [server_cpu_us, client_cpu_us, disk_bytes].map(of);
    let cost =
        Cost { server_cpu_us, client_cpu_us, disk_bytes, written_bytes: of(written_bytes), wire_bytes: of(wire_bytes), rss_max_bytes };
    Reading { messages: records, cost, ..reading }
}
