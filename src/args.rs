//! The command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Deserializer, Serialize};

use crate::commands::{
    apply, bench, broker, brokers, completions, doctor, export, follow, get, grant, id, import, init, ls, man, put, readers, rescued,
    revoke, rm, status, unfollow, up, verify, watch,
};
use crate::console::Console;
use crate::demo;
use crate::failure::Failure;
use crate::home;
use crate::log::LogFormat;
use crate::node::{Running, Site};
use crate::output::Form;
use crate::signal::Stop;

/// Sealed records of yours, published through a broker that can read nothing.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 refused or denied, 4 verification failed, 5 nothing could be reached in time.
#[derive(Debug, Parser, Serialize, Deserialize)]
#[command(name = "tidings", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// Folder of the node; else TIDINGS_HOME, else ~/.tidings
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip)]
    home: Option<PathBuf>,
    /// Print JSON, one object per line; errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to wait for a broker, or for another command in the same folder: 500ms, 30s, 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = duration)]
    #[serde(deserialize_with = "bounded")]
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
    /// Where the command reads and prints.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) console: Console,
    /// What the command was given of its node.
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) site: Site,
}

impl Globals {
    /// How the command prints.
    pub(crate) fn form(&self) -> Form {
        Form::new(self.console.clone(), self.json)
    }

    /// The home that is meant.
    pub(crate) fn folder(&self) -> Result<PathBuf, Failure> {
        let from_environment = || std::env::var_os("TIDINGS_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        home::folder(self.home.clone().or_else(from_environment))
    }

    /// What asks the command to end: signals, or the caller whose command this is.
    ///
    /// # Errors
    /// The system does not let this process handle signals.
    pub(crate) fn stop(&self) -> Result<Stop, Failure> {
        self.site.stop.clone().map_or_else(Stop::listen, Ok)
    }

    /// Lends a command of another process what it needs here.
    pub(crate) fn lend(&mut self, console: Console, running: Arc<Running>, stop: Stop) {
        self.console = console;
        self.site = Site::borrowed(running, stop);
    }
}

/// When a progress bar is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum ProgressMode {
    /// If standard error is a terminal.
    Auto,
    /// Always; without a terminal as plain lines.
    Always,
    /// Never.
    Never,
}

/// What to do. A variant that is not serialized never goes to another process.
#[derive(Debug, Subcommand, Serialize, Deserialize)]
pub(crate) enum Command {
    #[serde(skip)]
    Broker(broker::BrokerArgs),
    Init(init::InitArgs),
    #[serde(skip)]
    Id(id::IdArgs),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Ls(ls::LsArgs),
    Rm(rm::RmArgs),
    Apply(apply::ApplyArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Grant(grant::GrantArgs),
    Revoke(revoke::RevokeArgs),
    Readers(readers::ReadersArgs),
    Brokers(brokers::BrokersArgs),
    Rescued(rescued::RescuedArgs),
    Follow(follow::FollowArgs),
    Unfollow(unfollow::UnfollowArgs),
    Watch(watch::WatchArgs),
    #[serde(skip)]
    Up(up::UpArgs),
    Status(status::StatusArgs),
    Verify(verify::VerifyArgs),
    Doctor(doctor::DoctorArgs),
    #[serde(skip)]
    Bench(bench::BenchArgs),
    #[serde(skip)]
    Demo(demo::DemoArgs),
    #[serde(skip)]
    Completions(completions::CompletionsArgs),
    #[serde(skip)]
    Man(man::ManArgs),
}

impl Command {
    /// Carries it out.
    pub(crate) async fn run(self, globals: Globals) -> Result<(), Failure> {
        match self {
            Self::Broker(args) => broker::run(globals, args).await,
            Self::Init(args) => init::run(globals, args).await,
            Self::Id(args) => id::run(globals, args),
            Self::Put(args) => put::run(globals, args).await,
            Self::Get(args) => get::run(globals, args).await,
            Self::Ls(args) => ls::run(globals, args).await,
            Self::Rm(args) => rm::run(globals, args).await,
            Self::Apply(args) => apply::run(globals, args).await,
            Self::Import(args) => import::run(globals, args).await,
            Self::Export(args) => export::run(globals, args).await,
            Self::Grant(args) => grant::run(globals, args).await,
            Self::Revoke(args) => revoke::run(globals, args).await,
            Self::Readers(args) => readers::run(globals, args).await,
            Self::Brokers(args) => brokers::run(globals, args).await,
            Self::Rescued(args) => rescued::run(globals, args).await,
            Self::Follow(args) => follow::run(globals, args).await,
            Self::Unfollow(args) => unfollow::run(globals, args).await,
            Self::Watch(args) => watch::run(globals, args).await,
            Self::Up(args) => up::run(globals, args).await,
            Self::Status(args) => status::run(globals, args).await,
            Self::Verify(args) => verify::run(globals, args).await,
            Self::Doctor(args) => doctor::run(globals, args).await,
            Self::Bench(args) => bench::run(globals, args).await,
            Self::Demo(args) => demo::run(globals, args).await,
            Self::Completions(args) => completions::run(globals, args),
            Self::Man(args) => man::run(globals, args),
        }
    }

    /// Takes from this process what only it has: files that the command line names, its standard input, its current folder. After
    /// this the command means the same in any process of this user.
    pub(crate) fn prepare(&mut self, console: &mut Console) -> Result<(), Failure> {
        match self {
            Self::Put(args) => args.prepare(console),
            Self::Apply(args) => args.prepare(console),
            Self::Get(args) => args.prepare(),
            Self::Import(args) => args.prepare(),
            Self::Export(args) => args.prepare(),
            Self::Grant(args) => args.prepare(),
            Self::Follow(args) => args.prepare(),
            _ => Ok(()),
        }
    }

    /// Whether the process that runs the node carries it out, if there is one.
    pub(crate) fn goes_through(&self) -> bool {
        match self {
            Self::Init(args) => args.needs_node(),
            Self::Broker(_) | Self::Id(_) | Self::Up(_) | Self::Bench(_) | Self::Demo(_) | Self::Completions(_) | Self::Man(_) => false,
            Self::Verify(args) => args.needs_node(),
            _ => true,
        }
    }

    /// Whether it may change something.
    pub(crate) fn changes(&self) -> bool {
        use Command::{Apply, Export, Follow, Grant, Import, Init, Put, Revoke, Rm, Unfollow};
        match self {
            Self::Brokers(args) => args.changes(),
            Self::Rescued(args) => args.changes(),
            _ => {
                matches!(self, Put(_) | Rm(_) | Apply(_) | Import(_) | Export(_) | Grant(_) | Revoke(_) | Follow(_) | Unfollow(_) | Init(_))
            }
        }
    }

    /// Whether a signal is a request to end and no failure.
    pub(crate) fn is_stoppable(&self) -> bool {
        matches!(self, Self::Watch(_))
    }

    /// What it logs if nobody says what: a server tells what it does, a tool keeps standard error to its errors.
    pub(crate) fn default_log(&self) -> &'static str {
        match self {
            Self::Broker(_) | Self::Up(_) => "info",
            _ => "off",
        }
    }
}

/// Longest time that is waited for: a century. Every clock reaches so far from now.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
const TOO_LONG: &str = "that is too long";

/// Reads `500ms`, `30s`, `2m`, or seconds without a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "write it like 500ms, 30s or 2m".to_owned())?;
    let duration = match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "" | "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        unit => return Err(format!("{unit} is no unit; write it like 500ms, 30s or 2m")),
    };
    if duration <= DURATION_MAX { Ok(duration) } else { Err(TOO_LONG.to_owned()) }
}

/// A time that another process read from its command line.
fn bounded<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let duration = Duration::deserialize(input)?;
    if duration <= DURATION_MAX { Ok(duration) } else { Err(serde::de::Error::custom(TOO_LONG)) }
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
        for long in ["18446744073709551615s", "18446744073709551615m", "4000000000"] {
            assert_eq!(duration(long), Err(TOO_LONG.to_owned()), "{long}");
        }
        assert!(duration("2h").is_err() && duration("s").is_err() && duration("").is_err());
    }
}
