//! `tidings bench ids`: who the owners of a seed are.

use clap::Args;
use serde::Serialize;

use super::seed::Seed;
use crate::args::Globals;
use crate::failure::Failure;

/// Print the names of the owners that a seed makes, for `tidings broker allow`
#[derive(Debug, Args)]
pub(super) struct IdsArgs {
    /// The seed, as the other workloads take it
    #[arg(long, value_name = "HEX64")]
    seed: Seed,
    /// How many
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=super::owner::OWNERS_MAX))]
    owners: u64,
}

#[derive(Serialize)]
struct Id {
    did: String,
}

/// Prints a line for each.
pub(super) fn run(globals: Globals, args: &IdsArgs) -> Result<(), Failure> {
    let (mut keys, _) = args.seed.keys();
    (0..args.owners).try_for_each(|_| {
        let id = Id { did: keys.next().did().to_string() };
        globals.form().line(&id, || id.did.clone())
    })
}
