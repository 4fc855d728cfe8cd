//! The assembled protocol in one thread, under a seed, with virtual time: real `Writer`, broker engine, group commit and
//! `Reader` over a store that fails.
//!
//! `make sim FROM=0 TO=10000` runs any range of seeds; the same seed gives the same trace; a failure says how to repeat it.

#[path = "../../core/tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of two packages")]
mod paper;

mod broker;
mod lockstep;
mod model;
mod net;
mod owner;
mod reader;
mod world;

use world::{Outcome, World};

/// Seeds that `make test` runs.
const SEEDS: std::ops::Range<u64> = 0..300;

fn range() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    number("TIDINGS_SIM_FROM").unwrap_or(SEEDS.start)..number("TIDINGS_SIM_TO").unwrap_or(SEEDS.end)
}

fn run(seed: u64) -> Outcome {
    let result = std::panic::catch_unwind(|| World::new(seed).run());
    result.unwrap_or_else(|panic| {
        eprintln!("seed {seed} failed; repeat it with: make sim FROM={seed} TO={}", seed + 1);
        std::panic::resume_unwind(panic)
    })
}

/// [P-3] [P-7] [P-8] [P-9] [P-11] [P-13] [P-15] [P-17] Crashes of every part, lost connections, late and repeated requests, failing
/// writes: what was acknowledged is there, views are the owner's, nobody is accused, and in the end everybody has everything.
#[test]
fn nothing_acknowledged_is_lost_and_nobody_is_accused_whatever_crashes() {
    let mut total = Outcome::default();
    let seeds = range();
    for seed in seeds.clone() {
        total.add(&run(seed));
    }
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    if seeds == SEEDS {
        assert!(
            total.crashes > 1_000 && total.receipts > 3_000 && total.accepted > 3_000 && total.bitmaps > 50,
            "too little happened: {total:?}"
        );
    }
}

/// A failure can be repeated.
#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    assert_eq!(run(11).trace, run(11).trace);
    assert_ne!(run(11).trace, run(12).trace);
}
