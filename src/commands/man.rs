//! `tidings man`: the manual page.

use clap::{Args, CommandFactory};

use crate::args::{Cli, Globals};
use crate::failure::Failure;

/// Print the manual page of this command, or of one of its commands
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Which command
    command: Option<String>,
}

/// Prints it.
pub(crate) fn run(globals: Globals, args: ManArgs) -> Result<(), Failure> {
    let mut program = Cli::command();
    program.build();
    let shown = match &args.command {
        None => &program,
        Some(name) => program
            .find_subcommand(name)
            .ok_or_else(|| Failure::usage(format!("{name}: there is no such command"), "see `tidings help`"))?,
    };
    let mut page = Vec::new();
    let failed = |error| Failure::new(format!("the page cannot be made: {error}"), "report this as a bug");
    clap_mangen::Man::new(shown.clone()).render(&mut page).map_err(failed)?;
    globals.form().write(&page)
}
