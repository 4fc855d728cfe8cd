//! What goes to standard output: lines for people, or one JSON object per line.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::{Effect, Failure};

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Words,
    /// One JSON object per line.
    Json,
}

impl Form {
    /// Prints one item: `words` or `object`, as one flushed line.
    pub(crate) fn line(self, object: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        match self {
            Self::Json => print(&serde_json::to_string(object).map_err(|error| Failure::new(error, "report this as a bug"))?),
            Self::Words => print(&words()),
        }
    }
}

/// Prints one line to standard output and flushes it.
///
/// # Errors
/// Nobody reads (any more). What a caller keeps until it is printed must be kept.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(unread)
}

/// Writes a value to standard output as it is.
pub(crate) fn write(value: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(value).and_then(|()| out.flush()).map_err(unread)
}

fn unread(error: io::Error) -> Failure {
    // Whatever a command does, it does before it prints.
    let action = "look with `tidings status` or `ls` before you repeat a write; changes that were not printed are kept";
    Failure::new(format!("standard output cannot be written: {error}"), action).effect(Effect::Unknown)
}
