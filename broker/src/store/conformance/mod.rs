//! One suite for every store: what the trait promises, each sentence a check. Test code, public for stores kept elsewhere.

pub(super) mod adoptions;
mod lookups;
pub mod publisher;
mod publishes;
mod scans;
mod walk;

use super::{Store, StoreError};

/// Runs every check, each on a fresh empty store.
///
/// # Panics
/// At the first promise that the store does not keep.
pub fn suite<S: Store>(make: impl Fn() -> S) {
    for (sentence, check) in checks::<S>() {
        // Captured by the test runner and shown with a failure: which promise it was.
        println!("{sentence}");
        check(&make());
    }
    suite_reopened(make, |store| store);
}

/// Runs a long random history against the reference, through `reopen` now and then: nothing that was answered is lost by it.
///
/// # Panics
/// At the first difference from the reference.
pub fn suite_reopened<S: Store>(make: impl Fn() -> S, reopen: impl Fn(S) -> S) {
    for seed in 0..4 {
        println!("seed {seed}: every answer is the reference's");
        walk::walk(make(), &reopen, seed);
    }
}

type Check<S> = (&'static str, fn(&S));

fn checks<S: Store>() -> Vec<Check<S>> {
    let mut checks = publishes::checks::<S>();
    checks.extend(scans::checks::<S>());
    checks.extend(lookups::checks::<S>());
    checks.extend(adoptions::checks::<S>());
    checks
}

/// A check under the name of its function, with spaces.
macro_rules! named_checks {
    ($($check:ident),* $(,)?) => {
        vec![$((stringify!($check), $check::<S> as fn(&S))),*]
    };
}
use named_checks;

/// The value of an operation that has no reason to fail.
fn done<T>(result: Result<T, StoreError>) -> T {
    result.expect("the store has no reason to fail")
}
