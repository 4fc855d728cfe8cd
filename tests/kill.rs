//! Broker, owner and reader are killed at any moment, alone and together, again and again: nothing that was acknowledged is lost, and
//! nothing happens twice.

mod kill {
    pub(crate) mod chance;
    mod doctored; // histories with a defect, which must be seen
    pub(crate) mod ending;
    pub(crate) mod evidence;
    pub(crate) mod lab;
    pub(crate) mod load;
    mod planted; // a defect of real parts, which must be seen
    pub(crate) mod printed;
    pub(crate) mod process;
    mod refill;
    pub(crate) mod round;
    pub(crate) mod scene;
    pub(crate) mod witnessed;
    pub(crate) mod written;
}
#[path = "command/world.rs"]
#[allow(dead_code, reason = "half of it is for the tests of the command")]
mod world;

/// [P-3] [P-7] [P-15] `make kill-lab ROUNDS=n` runs more, and goes on where it stopped.
#[test]
fn whoever_is_killed_nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let sum = kill::lab::run();
    println!("{sum:#?}");
    assert_eq!(sum.violations, Vec::<String>::new());
    assert!(sum.receipts_checked > 10 * sum.rounds && sum.changes_checked > sum.rounds, "too little happened: {sum:?}");
}
