//! A reader's disk fails.

use std::collections::BTreeSet;

use super::stage::Stage;
use super::{Tally, assert_orderly, injections, run};
use crate::faults::strace;
use crate::world::{Done, json};

/// Positions that are tried in a run of all tests.
const COUNT: usize = 10;
/// Records that wait for bob.
const RECORDS: usize = 3;

/// Paths of the changes that were printed.
fn printed(done: &Done) -> BTreeSet<String> {
    let lines = done.out.lines().map(json).filter(|line| line["event"] == "change");
    lines.map(|line| line["path"].as_str().expect("a path").to_owned()).collect()
}

/// [P-15] Each change is printed at least once, by this watch or by the next one.
#[test]
fn a_watch_whose_disk_fails_anywhere_leaves_what_it_did_not_print_to_the_next_one() {
    if !strace::is_there() {
        return;
    }
    let stage = Stage::new();
    let mut tally = Tally::default();
    let write = || {
        (0..RECORDS - 1).for_each(|number| stage.world.put(&format!("/new/{number}"), "x"));
        stage.world.ok("alice", &["put", "/new/big", &stage.world.file("big", vec![9; 100_000])]);
    };
    let watch = || stage.world.command("bob", &["--timeout", "10s", "watch", "--once"]);
    let broker = stage.broker();
    write();
    let (done, pid) = run(&stage.world, &watch(), None);
    assert_eq!((done.code, printed(&done).len()), (0, RECORDS), "{done:?}");
    let all = strace::positions(&stage.world.path("strace"), pid, &stage.world.path("bob"));
    drop(broker);
    for injection in injections(all, COUNT, &mut tally) {
        stage.reset();
        let _broker = stage.broker();
        write();
        let story = format!("{injection:?}");
        let (done, pid) = run(&stage.world, &watch(), Some(&injection));
        tally.tried += 1;
        tally.met += usize::from(strace::was_met(&stage.world.path("strace"), pid));
        tally.refused += usize::from(done.code != 0);
        assert_orderly(&story, &done);
        let rest = stage.world.run("bob", &["watch", "--once"]);
        assert_eq!(rest.code, 0, "{story}: {rest:?}");
        let all: BTreeSet<_> = printed(&done).union(&printed(&rest)).cloned().collect();
        assert_eq!(all.iter().filter(|path| path.starts_with("/new/")).count(), RECORDS, "{story}: {done:?}, {rest:?}");
        stage.assert_clean(&story);
    }
    tally.tell("watch");
}
