//! Logs: to standard error, in words or as JSON. They carry short ids, sizes, counts and codes, never payloads, paths or keys.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts logging with the filter given, else that of `RUST_LOG`, else `default`.
///
/// # Errors
/// The filter is none.
pub(crate) fn start(filter: Option<&str>, format: LogFormat, default: &str) -> Result<(), Failure> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let text = filter.map(str::to_owned).or(from_environment).unwrap_or_else(|| default.to_owned());
    let wrong = |error| Failure::usage(format!("{text:?} is no log filter: {error}"), "write a level (info) or module=level,...");
    let filter = EnvFilter::try_new(&text).map_err(wrong)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Human => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Failure::new(error, "report this as a bug"))
}
