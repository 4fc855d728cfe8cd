//! `tidings completions`: what a shell needs to complete this command.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::{Cli, Globals};
use crate::failure::Failure;

/// Print completions for a shell
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(globals: Globals, args: CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidings", &mut script);
    globals.form().write(&script)
}
