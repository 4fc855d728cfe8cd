//! The assembled protocol in one thread, under a seed, with virtual time: real `Writer`, `Recovery` and merge decisions, broker engine,
//! group commit and `Reader` over stores that fail, are rolled back and lie to owners. What the network and the client's tables do is played.
//!
//! `make sim FROM=0 TO=10000` runs any range of seeds; the same seed gives the same trace; a failure says how to repeat it.

#[path = "../../core/tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of two packages")]
mod paper;

mod arrivals;
mod broker;
mod checks;
mod faults;
mod lockstep;
mod merge;
mod model;
mod net;
mod outcome;
mod owner;
mod reader;
mod signing;
mod state;
mod truth;
mod world;

use outcome::Outcome;
use world::World;

/// Seeds that `make test` runs.
const SEEDS: std::ops::Range<u64> = 0..1_000;
/// Threads that run them.
const THREADS: u64 = 2;

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

/// Every thread takes its share.
fn run_all(seeds: &std::ops::Range<u64>) -> Outcome {
    let share = |thread: u64| {
        let mut total = Outcome::default();
        seeds.clone().filter(|seed| seed % THREADS == thread).for_each(|seed| total.add(&run(seed)));
        total
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || share(thread))).collect();
        let mut total = Outcome::default();
        threads.into_iter().for_each(|thread| total.add(&thread.join().expect("a seed failed")));
        total
    })
}

/// [P-3] [P-4] [P-5] [P-6] [P-7] [P-8] [P-9] [P-10] [P-11] [P-13] [P-14] [P-15] [P-17] Crashes of every part, lost connections, late and
/// repeated requests, failing writes; owners that are put back from a backup, lose their state, are copied to a second machine, revoke and
/// move; brokers that are away, rolled back, emptied, or show their owner an old head. What was acknowledged is there, views are the owner's,
/// nobody is accused who is honest, a revocation stands, and in the end everybody has everything.
#[test]
fn nothing_acknowledged_is_lost_and_nobody_is_accused_whatever_crashes_restores_or_moves() {
    let seeds = range();
    let total = run_all(&seeds);
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    if seeds == SEEDS {
        assert!(total.is_enough(), "too little happened: {total:?}");
    }
}

/// A failure can be repeated.
#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    assert_eq!(run(11).trace, run(11).trace);
    assert_ne!(run(11).trace, run(12).trace);
}
