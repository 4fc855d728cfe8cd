//! Logs of any bytes: what tells a cut from damage reads them, whatever they hold, and changes nothing.

use tidings_hostile::{Dice, Meal, alone, feed, mutated};

use super::super::log_tail::tests::{part, record};
use super::super::log_tail::{BLOCK_BYTES, HEADER_BYTES, damaged_log};
use super::super::torn_write::first_gap;
use super::*;

/// Changes that a long log is bent by.
const LONG_MUTATIONS: u64 = 48;

/// What both say of a folder with these logs.
fn judged(folder: &Path, logs: &[&[u8]]) -> (Option<String>, bool) {
    let paths: Vec<_> = (4..).zip(logs).map(|(number, log)| (folder.join(format!("{number:06}.log")), log)).collect();
    paths.iter().for_each(|(path, log)| std::fs::write(path, log).expect("written"));
    let said = (damaged_log(folder).expect("read"), first_gap(folder).expect("read").is_some_and(|gap| gap.is_torn));
    assert!(paths.iter().all(|(path, log)| std::fs::read(path).expect("read") == **log), "a log was changed");
    said
}

fn short() -> Vec<u8> {
    [record(b"one"), record(b""), record(&[7; 40])].concat()
}

/// Two blocks: a write in parts over the border, and a whole one behind it.
fn long() -> Vec<u8> {
    let mut log = record(&[0xee; 700]);
    let rest = BLOCK_BYTES as usize - log.len() - HEADER_BYTES;
    log.extend(part(2, &vec![0xee; rest]));
    log.extend([part(4, &[0xee; 100]), record(&[0xee; 900])].concat());
    log
}

#[test]
fn a_short_log_of_any_bytes_is_judged() {
    alone(concat!(module_path!(), "::a_short_log_of_any_bytes_is_judged"), || {
        let folder = folder();
        feed("log", Meal { random: 1_000, mutations: 2_000 }, &[short()], |log| {
            judged(folder.path(), &[log]);
            Some(log.to_vec())
        });
        assert_eq!(judged(folder.path(), &[&short()]), (None, false));
    });
}

/// What is whole is neither damaged nor torn, and one that is cut short anywhere is not damaged.
#[test]
fn a_long_log_is_judged_however_it_is_cut_or_mutated() {
    let (folder, log) = (folder(), long());
    assert!(log.len() <= 64 * 1024);
    assert_eq!(judged(folder.path(), &[&log]), (None, false));
    for seed in 0..LONG_MUTATIONS {
        let mut dice = Dice::new(seed);
        let cut = dice.below(log.len() + 1);
        assert_eq!(judged(folder.path(), &[&log[..cut]]).0, None, "cut at {cut}");
        let bent = mutated(&log, &short(), &mut dice);
        let right = std::panic::catch_unwind(|| judged(folder.path(), &[&bent]));
        assert!(right.is_ok(), "seed {seed}");
    }
}

#[test]
fn logs_that_follow_each_other_are_judged_whatever_they_hold() {
    let folder = folder();
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let (first, second) = (mutated(&short(), &short(), &mut dice), mutated(&short(), &short(), &mut dice));
        let right = std::panic::catch_unwind(|| judged(folder.path(), &[&first, &second]));
        assert!(right.is_ok(), "seed {seed}");
    }
}
