//! A guard against regressions of the main paths: their instructions are counted, not timed.
//!
//! Each path of [`paths`] runs alone under `valgrind --tool=callgrind`, with fixed input and fixed randomness, and what is
//! collected while it works is compared with its mark in `benches/counts.json`. A busy machine counts the same as an idle one. Processors
//! differ, and libraries choose their code by what the processor can; under valgrind they see the processor that it plays, so that only
//! the kinds in [`marks::Counted`] have to be told apart.
//!
//! `make counts` accepts what is counted now as the new marks.

#[path = "guard/callgrind.rs"]
mod callgrind;
#[path = "guard/marks.rs"]
mod marks;
#[path = "../core/tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of several packages")]
mod paper;
#[path = "guard/paths.rs"]
mod paths;
#[path = "guard/scenes.rs"]
mod scenes;

use std::collections::BTreeMap;

use callgrind::{CHILD, count};
use marks::{Counted, Marks};
use paths::PATHS;

/// Runs the path that the variable names, in the process that valgrind watches; else lets each be counted and judges them.
#[test]
fn the_main_paths_take_no_more_instructions_than_their_marks() {
    if let Ok(name) = std::env::var(CHILD) {
        let (_, work) = PATHS.iter().find(|(path, _)| *path == name).expect("a path of the table");
        return work();
    }
    let Some(by) = Counted::here() else { return };
    let counts: BTreeMap<String, u64> = PATHS.iter().map(|(name, _)| (name.to_string(), count(name))).collect();
    counts.iter().for_each(|(name, count)| println!("{name}: {count} instructions"));
    if std::env::var_os("TIDINGS_COUNTS_ACCEPT").is_some() {
        return Marks::new(by, counts).keep();
    }
    let found = Marks::kept().judge(&by, &counts);
    assert!(found.is_empty(), "{}\n", found.join("\n"));
}
