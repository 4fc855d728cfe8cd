//! Many mutations of few records, sent so that none waits beside another of its record: each becomes an entry of its own.

use std::io::Write;

use super::children::{Running, failed};
use crate::failure::Failure;

/// Mutations in all.
pub(super) const MUTATIONS: usize = 5_000;
/// Records they are of.
pub(super) const RECORDS: usize = 200;

/// How many of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    /// Deletes.
    pub(super) deletes: usize,
    /// Creations of a record that had been deleted.
    pub(super) again: usize,
}

/// Whether mutation `at` deletes its record: every tenth does, but never one that is not there.
fn deletes(at: usize) -> bool {
    let (round, record) = (at / RECORDS, at % RECORDS);
    round > 0 && (round + record) % 10 == 9
}

/// Counts deletes and re-creations.
pub(super) fn kinds() -> Kinds {
    let deletes = (0..MUTATIONS).filter(|at| deletes(*at)).count();
    let again = (RECORDS..MUTATIONS).filter(|at| self::deletes(*at - RECORDS)).count();
    Kinds { deletes, again }
}

fn line(at: usize) -> String {
    let path = format!("/busy/{:03}", at % RECORDS);
    match deletes(at) {
        true => serde_json::json!({ "op": "rm", "path": path }).to_string(),
        false => serde_json::json!({ "op": "put", "path": path, "value": format!("mutation {at}") }).to_string(),
    }
}

/// Feeds all mutations to a running `tidings apply`; calls `midway` once, with mutations on their way. All must be receipted.
pub(super) fn send(apply: &mut Running, mut midway: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let mut input = apply.input.take().ok_or_else(|| failed("alice", &"apply reads nothing"))?;
    let mut sent = 0;
    for receipted in 0..MUTATIONS {
        while sent < MUTATIONS && sent - receipted < RECORDS {
            writeln!(input, "{}", line(sent)).map_err(|error| failed("alice: tidings apply", &error))?;
            sent += 1;
        }
        if receipted == MUTATIONS / 2 {
            midway()?;
        }
        let result = apply.json()?;
        if result["result"] != "receipted" {
            return Err(failed("alice: tidings apply", &result));
        }
    }
    drop(input);
    apply.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_is_deleted_that_is_not_there() {
        let mut there = [false; RECORDS];
        for at in 0..MUTATIONS {
            assert!(there[at % RECORDS] || !deletes(at), "mutation {at}");
            there[at % RECORDS] = !deletes(at);
        }
    }

    #[test]
    fn deletes_and_creations_after_them_are_among_the_mutations() {
        let kinds = kinds();
        assert!(kinds.deletes > 400 && kinds.again > 400, "{kinds:?}");
    }
}
