//! `tidings verify`: checks the own queue or a followed one against what was signed, or a file with evidence.

mod evidence;
mod followed;
mod own;

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::args::Globals;
use crate::failure::Failure;

/// Check every entry of the own queue, or of a followed one, against the signed head; or check a file with evidence
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct VerifyArgs {
    /// A name, a did:key or the beginning of one; else the own queue
    #[arg(conflicts_with = "evidence")]
    owner: Option<String>,
    /// A file with evidence, as `tidings status` names it. Needs no node
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
}

impl VerifyArgs {
    /// Whether it is about a node's state.
    pub(crate) fn needs_node(&self) -> bool {
        self.evidence.is_none()
    }
}

/// Prints what was found.
pub(crate) async fn run(globals: Globals, args: VerifyArgs) -> Result<(), Failure> {
    match (args.evidence, args.owner) {
        (Some(file), _) => evidence::run(&globals, &file),
        (None, Some(owner)) => followed::run(&globals, owner.trim_end_matches(':')).await,
        (None, None) => own::run(&globals).await,
    }
}
