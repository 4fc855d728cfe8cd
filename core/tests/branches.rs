//! Terms, branches and merges on paper: many thousand lives of an owner that is restored, copied and lost, at brokers that lag, roll back
//! and lie. Cryptography is ideal here: a head holds its live set and its ancestors. What the rules [P-4, P-5, P-6] promise is checked at the
//! end of each life, and that each part of a rule is needed: without it something is lost or comes back.

#[path = "branches/check.rs"]
mod check;
#[path = "branches/head.rs"]
mod head;
#[path = "branches/merge.rs"]
mod merge;
#[path = "branches/owner.rs"]
mod owner;
#[path = "branches/random.rs"]
mod random;
#[path = "branches/world.rs"]
mod world;

use check::Broken;
use merge::Rule;
use world::{Lives, World};

/// Lives of each test.
const SEEDS: u64 = 10_000;
/// Things that happen in one.
const EVENTS: u32 = 150;

/// Broken promises in lives of the seeds, and what happened in them.
fn live(rule: Rule, copies: Lives, seeds: std::ops::Range<u64>) -> (Vec<(u64, Broken)>, world::Count) {
    let (mut broken, mut count) = (Vec::new(), world::Count::default());
    for seed in seeds {
        let mut world = World::new(seed, rule, copies);
        (0..EVENTS).for_each(|_| world.step());
        world.heal();
        broken.extend(world.check().into_iter().map(|broken| (seed, broken)));
        count.add(world.count());
    }
    (broken, count)
}

/// Whether something is lost in one of the first hundred thousand lives under a part of the rule.
fn loses(rule: Rule) -> bool {
    let mut seeds = (0..100_000).step_by(500);
    seeds.any(|from| live(rule, Lives::Copied, from..from + 500).0.iter().any(|(_, broken)| matches!(broken, Broken::Lost { .. })))
}

fn resurrections(broken: &[(u64, Broken)]) -> usize {
    broken.iter().filter(|(_, broken)| matches!(broken, Broken::Resurrected { .. })).count()
}

/// [P-4] [P-5] Nothing receipted is lost but where the owner lost its state and every broker that held it was rolled back or lied; no
/// rank is signed twice, nothing older is put over something newer, and in the end everybody has everything. A deleted value may come
/// back, very rarely: a merge cannot know of a delete whose tombstone was purged on a branch that is gone.
#[test]
fn nothing_receipted_is_lost_whatever_is_restored_copied_or_rolled_back() {
    let (broken, count) = live(Rule::default(), Lives::Copied, 0..SEEDS);
    println!("{SEEDS} lives: {count:?}; {} deleted values came back", resurrections(&broken));
    let worse: Vec<_> = broken.iter().filter(|(_, broken)| !matches!(broken, Broken::Resurrected { .. })).collect();
    assert!(worse.is_empty(), "{worse:?}");
    assert!(resurrections(&broken) * 1_000 <= SEEDS as usize, "{broken:?}");
    assert!(count.happened_enough(SEEDS), "{count:?}");
}

/// The story of the rule: values that only the owner kept for a person were lost when its state was lost next, since the broker that had
/// held them was refilled. [P-5]
#[test]
fn what_is_rescued_must_not_be_kept_by_the_owner_alone() {
    assert!(loses(Rule { rescued_are_records: false, ..Rule::default() }));
}

/// A broker that holds a tail is brought on only with the whole merge. [P-5]
#[test]
fn a_tail_must_not_be_replaced_before_all_of_it_is_signed() {
    assert!(loses(Rule { refill_waits: false, ..Rule::default() }));
}

/// A delete that finds nothing to delete came back from a third branch. [P-5]
#[test]
fn the_floor_version_must_remember_the_deletes_of_both_branches() {
    let (with, _) = live(Rule::default(), Lives::One, 0..5 * SEEDS);
    let (without, _) = live(Rule { floor_version_rises: false, ..Rule::default() }, Lives::One, 0..5 * SEEDS);
    assert!(resurrections(&without) > resurrections(&with), "{} {}", resurrections(&without), resurrections(&with));
}

/// A record of the common history that the tail deleted and purged lived on at the base. [P-5]
#[test]
fn a_delete_whose_tombstone_the_tail_purged_must_be_carried_over() {
    let (with, _) = live(Rule::default(), Lives::Copied, 0..5 * SEEDS);
    let (without, _) = live(Rule { purged_deletes_count: false, ..Rule::default() }, Lives::Copied, 0..5 * SEEDS);
    assert!(resurrections(&without) > 2 * resurrections(&with), "{} {}", resurrections(&without), resurrections(&with));
}
