//! The power is cut again and again, while somebody writes and somebody reads.

use std::collections::BTreeMap;

use super::disk::{Chance, Keep};
use super::site::{Party, Site};

/// Changes and syncs of a disk, at most, from when its user begins again until the power is cut.
const STEPS: u64 = 120;

/// What was done and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// Cuts by who lost power and what was kept of what was not synced.
    pub(crate) cuts: BTreeMap<(&'static str, &'static str), u64>,
    /// Result lines that promised something, those of them that told of a receipt, and heads whose hashes were compared.
    pub(crate) promises: u64,
    pub(crate) receipts: u64,
    pub(crate) heads: u64,
    /// What was not as it was said.
    pub(crate) violations: Vec<String>,
}

impl Count {
    /// All cuts.
    pub(crate) fn all(&self) -> u64 {
        self.cuts.values().sum()
    }
}

/// Cuts the power so many times in one world. `None` where that is not possible.
pub(crate) fn cut_power(seed: u64, cuts: u64) -> Option<Count> {
    let mut chance = Chance::new(seed);
    let mut site = Site::new(seed)?;
    let mut count = Count::default();
    for _ in 0..cuts {
        site.begin();
        let (who, parties) = victims(&mut chance);
        let (mode, keep) = kept(&mut chance);
        site.cut(parties, chance.below(STEPS), keep, chance.below(u64::MAX));
        *count.cuts.entry((who, mode)).or_default() += 1;
        let mut ledger = site.ledger();
        if !ledger.violations.is_empty() {
            let story = format!("world {seed}, cut {} of the {who}, {mode} kept", count.all());
            count.violations.extend(ledger.violations.drain(..).map(|wrong| format!("{story}: {wrong}")));
            break;
        }
    }
    if count.violations.is_empty() {
        site.settle();
    }
    let mut ledger = site.ledger();
    count.violations.extend(ledger.violations.drain(..).map(|wrong| format!("world {seed}, at the end: {wrong}")));
    (count.promises, count.receipts, count.heads) = (ledger.promises, ledger.receipts, ledger.heads());
    drop(ledger);
    Some(count)
}

fn victims(chance: &mut Chance) -> (&'static str, &'static [Party]) {
    match chance.below(10) {
        0..4 => ("broker", &[Party::Broker]),
        4..7 => ("owner", &[Party::Owner]),
        7..9 => ("reader", &[Party::Reader]),
        _ => ("all", &[Party::Broker, Party::Owner, Party::Reader]),
    }
}

fn kept(chance: &mut Chance) -> (&'static str, Keep) {
    match chance.below(6) {
        0..2 => ("nothing", Keep::Nothing),
        2..5 => ("some", Keep::Some),
        _ => ("everything", Keep::Everything),
    }
}

/// [P-3, P-7, P-15]
#[test]
fn two_hundred_power_cuts_lose_nothing_that_was_promised() {
    for seed in 0..5 {
        let Some(count) = cut_power(seed, 40) else { return };
        assert_eq!(count.violations, Vec::<String>::new());
        assert!(count.receipts > 0);
    }
}
