//! What goes to standard output: lines for people, or one JSON object per line.

use std::io;

use serde::Serialize;

use crate::console::Console;
use crate::failure::{Effect, Failure};

/// How a command prints, and where.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    console: Console,
    is_json: bool,
}

impl Form {
    /// Lines for people, or JSON.
    pub(crate) fn new(console: Console, is_json: bool) -> Self {
        Self { console, is_json }
    }

    /// Whether it is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Prints one item: `words` or `object`, as one flushed line.
    pub(crate) fn line(&self, object: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.is_json {
            true => print(&self.console, &serde_json::to_string(object).map_err(|error| Failure::new(error, "report this as a bug"))?),
            false => print(&self.console, &words()),
        }
    }

    /// Writes a value as it is.
    pub(crate) fn write(&self, value: &[u8]) -> Result<(), Failure> {
        write(&self.console, value)
    }
}

/// Prints one line to standard output and flushes it.
///
/// # Errors
/// Nobody reads (any more). What a caller keeps until it is printed must be kept.
pub(crate) fn print(console: &Console, line: &str) -> Result<(), Failure> {
    write(console, format!("{line}\n").as_bytes())
}

/// Writes a value to standard output as it is.
pub(crate) fn write(console: &Console, value: &[u8]) -> Result<(), Failure> {
    console.out(value).map_err(unread)
}

fn unread(error: io::Error) -> Failure {
    // Whatever a command does, it does before it prints.
    let action = "look with `tidings status` or `ls` before you repeat a write; changes that were not printed are kept";
    Failure::new(format!("standard output cannot be written: {error}"), action).effect(Effect::Unknown)
}
