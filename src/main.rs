//! The command: a thin layer over the client and the broker. One file per subcommand; outside scripts rely on its output.

mod args;
mod clock;
mod commands;
mod demo;
mod failure;
mod home;
mod input;
mod lines;
mod log;
mod node;
mod output;
mod place;
mod progress;
mod signal;
mod toml_file;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let json = cli.globals.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(json);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    log::start(cli.globals.log.as_deref(), cli.globals.log_format, cli.command.default_log())?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(format!("the program cannot start its threads: {error}"), "raise the limits of this user"))?;
    let result = runtime.block_on(cli.command.run(cli.globals));
    // A task that hangs on the network must not keep a finished command.
    runtime.shutdown_background();
    result
}

/// Help and version are no mistakes. A mistake is told in the form that was asked for, although the line could not be parsed.
fn misused(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && is_json {
        let message = error.render().to_string();
        let (message, _) = message.split_once("\n\nUsage").unwrap_or((&message, ""));
        Failure::usage(message.trim_start_matches("error: ").trim(), "see `tidings help`").report(true);
    } else if error.print().is_err() {
        return ExitCode::from(Exit::Failed as u8);
    }
    if error.use_stderr() { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS }
}
