//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{apply, broker, completions, follow, get, grant, id, init, ls, put, readers, rm, status, unfollow, watch};
use crate::demo;
use crate::failure::Failure;
use crate::home::{self, Home};
use crate::log::LogFormat;
use crate::output::Form;

/// Sealed records of yours, published through a broker that can read nothing.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 refused or denied, 4 verification failed, 5 nothing could be reached in time.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// Folder of the node; else TIDINGS_HOME, else ~/.tidings
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print JSON, one object per line; errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to wait for a broker, or for another command in the same folder: 500ms, 30s, 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Progress bars on standard error
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) progress: ProgressMode,
    /// What to log on standard error: a level, or module=level,...; else RUST_LOG
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human")]
    pub(crate) log_format: LogFormat,
}

impl Globals {
    /// How the command prints.
    pub(crate) fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Words }
    }

    /// The home that is meant.
    pub(crate) fn folder(&self) -> Result<PathBuf, Failure> {
        let from_environment = || std::env::var_os("TIDINGS_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        home::folder(self.home.clone().or_else(from_environment))
    }

    /// Opens that home; waits up to `--timeout` for another process that uses it.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        Home::open(&self.folder()?, self.timeout)
    }
}

/// When a progress bar is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// If standard error is a terminal.
    Auto,
    /// Always; without a terminal as plain lines.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Broker(broker::BrokerArgs),
    Init(init::InitArgs),
    Id(id::IdArgs),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Ls(ls::LsArgs),
    Rm(rm::RmArgs),
    Apply(apply::ApplyArgs),
    Grant(grant::GrantArgs),
    Readers(readers::ReadersArgs),
    Follow(follow::FollowArgs),
    Unfollow(unfollow::UnfollowArgs),
    Watch(watch::WatchArgs),
    Status(status::StatusArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Carries it out.
    pub(crate) async fn run(self, globals: Globals) -> Result<(), Failure> {
        match self {
            Self::Broker(args) => broker::run(globals, args).await,
            Self::Init(args) => init::run(globals, args),
            Self::Id(args) => id::run(globals, args),
            Self::Put(args) => put::run(globals, args).await,
            Self::Get(args) => get::run(globals, args).await,
            Self::Ls(args) => ls::run(globals, args).await,
            Self::Rm(args) => rm::run(globals, args).await,
            Self::Apply(args) => apply::run(globals, args).await,
            Self::Grant(args) => grant::run(globals, args).await,
            Self::Readers(args) => readers::run(globals, args).await,
            Self::Follow(args) => follow::run(globals, args).await,
            Self::Unfollow(args) => unfollow::run(globals, args).await,
            Self::Watch(args) => watch::run(globals, args).await,
            Self::Status(args) => status::run(globals, args).await,
            Self::Demo(args) => demo::run(globals, args).await,
            Self::Completions(args) => completions::run(args),
        }
    }

    /// What it logs if nobody says what: a server tells what it does, a tool keeps standard error to its errors.
    pub(crate) fn default_log(&self) -> &'static str {
        match self {
            Self::Broker(_) => "info",
            _ => "off",
        }
    }
}

/// Reads `500ms`, `30s`, `2m`, or seconds without a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "write it like 500ms, 30s or 2m".to_owned())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned()),
        unit => Err(format!("{unit} is no unit; write it like 500ms, 30s or 2m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_unit() {
        let read = ["500ms", "30s", "30", "2m"].map(|text| duration(text).expect(text).as_millis());
        assert_eq!(read, [500, 30_000, 30_000, 120_000]);
        assert!(duration("2h").is_err() && duration("s").is_err() && duration("").is_err());
    }
}
