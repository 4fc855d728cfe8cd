//! The command: a thin layer over the client and the broker. One file per subcommand; outside scripts rely on its output.

mod args;
mod clock;
mod commands;
mod console;
mod control;
mod demo;
mod failure;
mod home;
mod input;
mod lines;
mod log;
mod node;
mod output;
mod place;
mod signal;
mod toml_file;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use console::Console;
use control::Way;
use failure::{Exit, Failure};
use node::Site;
use tidings_client::whole_file;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let json = cli.globals.json;
    run(cli).unwrap_or_else(|failure| {
        failure.report(&Console::default(), json);
        ExitCode::from(failure.exit as u8)
    })
}

fn run(mut cli: Cli) -> Result<ExitCode, Failure> {
    log::start(cli.globals.log.as_deref(), cli.globals.log_format, cli.command.default_log())?;
    cli.command.prepare(&mut cli.globals.console)?;
    if cli.command.goes_through() {
        match control::approach(&cli)? {
            Way::Through(call) => return call.carry(&cli.globals.console, cli.command.changes(), cli.command.is_stoppable()),
            Way::Alone(lock) => cli.globals.site = Site::locked(lock),
            Way::Nowhere => {}
        }
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(format!("the program cannot start its threads: {error}"), "raise the limits of this user"))?;
    let result = runtime.block_on(cli.command.run(cli.globals));
    // A task that hangs on the network must not keep a finished command.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// Help and version are no mistakes. A mistake is told in the form that was asked for, although the line could not be parsed.
fn misused(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && is_json {
        let message = error.render().to_string();
        let (message, _) = message.split_once("\n\nUsage").unwrap_or((&message, ""));
        Failure::usage(message.trim_start_matches("error: ").trim(), "see `tidings help`").report(&Console::default(), true);
    } else if error.print().is_err() {
        return ExitCode::from(Exit::Failed as u8);
    }
    if error.use_stderr() { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS }
}
