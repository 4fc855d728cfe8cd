//! Tidings, NATS JetStream and Redis Streams measured side by side: `make bench-peers`.
//!
//! `QUICK=1` takes about two minutes, `FULL=1` as long as it takes; `ONLY=publish,live` measures these workloads and keeps what the evidence
//! says about the others. Started by `run.sh`, which gives the program a network of its own.

mod evidence;
mod latency;
mod load;
mod meter;
mod nats;
mod page;
mod peer;
mod plan;
mod plot;
mod redis;
mod server;
mod sheet;
mod table;
mod tidings;
mod tls;
mod workloads;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::evidence::{Evidence, Workload};
use crate::plan::Plan;
use crate::tls::Tls;
use crate::workloads::{Bed, measure};

fn main() -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok().context("a second crypto provider")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // The run stays in this thread: servers are killed by the kernel when the thread that started them is gone.
    runtime.block_on(async {
        tokio::select! {
            ended = run() => ended,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; workloads that were finished are kept"),
        }
    })
}

async fn run() -> Result<()> {
    // `run.sh` starts it in the root of the repository.
    let repository = Path::new(".");
    let plan = Plan::from_environment()?;
    let mut evidence = Evidence::open(repository)?;
    let mut bed = Bed { tls: Tls::new()?, plan, depths: HashMap::new() };
    let machine = Workload::begin(&bed.plan)?;
    for name in bed.plan.only.clone() {
        let measured = machine.with(measure(&name, &mut bed).await?.rows());
        println!("{}", table::workload(&name, &measured));
        evidence.note(&name, measured)?;
        page::write(repository, &evidence)?;
    }
    Ok(())
}
