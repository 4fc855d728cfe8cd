//! Worlds side by side until enough rounds are done.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use super::ending;
use super::evidence::{Evidence, Kept};
use super::round::{Kills, round};
use super::scene::Scene;

/// Rounds of one world; data grows with them.
const ROUNDS_OF_A_WORLD: u64 = 63;
/// Rounds that `make test` runs.
const ROUNDS: u64 = 500;
/// Worlds at a time.
const SIDE_BY_SIDE: u64 = 4;
/// Violations after which no further world is begun.
const ENOUGH: usize = 20;

/// Runs as many rounds as are asked for, those counted that were done before; `TIDINGS_KILL_ROUNDS` and
/// `TIDINGS_KILL_SIDE_BY_SIDE` change how many.
pub(crate) fn run() -> Evidence {
    let rounds = number("TIDINGS_KILL_ROUNDS").unwrap_or(ROUNDS);
    let kept = Kept::open();
    let begun = Mutex::new((kept.evidence.worlds, kept.evidence.rounds));
    let kept = Mutex::new(kept);
    std::thread::scope(|scope| {
        for _ in 0..number("TIDINGS_KILL_SIDE_BY_SIDE").unwrap_or(SIDE_BY_SIDE) {
            scope.spawn(|| {
                while let Some((seed, rounds)) = next(&begun, &kept, rounds) {
                    world(seed, rounds, &kept);
                }
            });
        }
    });
    kept.into_inner().unwrap_or_else(PoisonError::into_inner).evidence
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Seed and rounds of the next world; `None` if there is no need of one.
fn next(begun: &Mutex<(u64, u64)>, kept: &Mutex<Kept>, wanted: u64) -> Option<(u64, u64)> {
    let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
    let violations = kept.lock().unwrap_or_else(PoisonError::into_inner).evidence.violations.len();
    let rounds = ROUNDS_OF_A_WORLD.min(wanted.saturating_sub(begun.1));
    if rounds == 0 || violations >= ENOUGH {
        return None;
    }
    *begun = (begun.0 + 1, begun.1 + rounds);
    Some((begun.0 + number("TIDINGS_KILL_SEED").unwrap_or(0), rounds))
}

/// One world to its end. What does not come to an end is a violation too.
fn world(seed: u64, rounds: u64, kept: &Mutex<Kept>) {
    let (mut kills, mut done, mut scene) = (Kills::default(), 0, None);
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let scene = scene.insert(Scene::new(seed));
        while done < rounds && !scene.has_failed() {
            round(scene, &mut kills);
            done += 1;
        }
        ending::end(scene)
    }));
    let violations = lived.unwrap_or_else(|panic| vec![format!("round {done}: it came to no end: {}", words(&*panic))]);
    if !violations.is_empty() {
        eprintln!("seed {seed}, round {done}: {violations:#?}");
        scene.as_ref().inspect(|scene| scene.keep(seed));
    }
    kept.lock().unwrap_or_else(PoisonError::into_inner).add(seed, done, &kills, scene.as_ref(), violations);
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
