//! Where a command reads and prints: the streams of this process, or of the one that sent the command here.

mod local;
mod progress;
mod stream;

pub(crate) use progress::Progress;
pub(crate) use stream::Stream;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::args::ProgressMode;

/// Standard input, output and error of whoever gave a command. Clones are the same.
#[derive(Clone)]
pub(crate) struct Console(Arc<dyn Streams>);

/// Three streams. Each call may block as long as their owner likes.
pub(crate) trait Streams: Send + Sync {
    /// Writes to standard output and flushes; returns when whoever reads there has it.
    ///
    /// # Errors
    /// It was not written, or not all of it.
    fn out(&self, bytes: &[u8]) -> io::Result<()>;

    /// Writes to standard error. What cannot be written there is lost: there is nobody to tell.
    fn err(&self, bytes: &[u8]);

    /// Standard input. An end in the middle of it, since its owner is gone, is an error and no end.
    fn input(&self) -> Box<dyn Read + Send>;

    /// Columns of standard error if it is a terminal.
    fn terminal(&self) -> Option<u16>;

    /// Whether the streams are those of this process.
    fn is_local(&self) -> bool {
        false
    }
}

impl Console {
    /// Streams of somebody else.
    pub(crate) fn of(streams: impl Streams + 'static) -> Self {
        Self(Arc::new(streams))
    }

    /// The streams of this process with something else as standard input.
    pub(crate) fn with_input(input: impl Read + Send + 'static) -> Self {
        Self::of(local::Local::with_input(Box::new(input)))
    }

    /// Writes one line to standard error.
    pub(crate) fn tell(&self, line: impl fmt::Display) {
        self.0.err(format!("{line}\n").as_bytes());
    }

    /// A progress bar for `what` on standard error.
    pub(crate) fn progress(&self, mode: ProgressMode, what: &'static str) -> Progress {
        Progress::new(self.clone(), mode, what)
    }
}

impl std::ops::Deref for Console {
    type Target = dyn Streams;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Default for Console {
    /// The streams of this process.
    fn default() -> Self {
        Self::of(local::Local::default())
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}
