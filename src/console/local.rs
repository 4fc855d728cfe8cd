//! The streams of this process.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::{Mutex, PoisonError};

use super::Streams;

/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;

/// Standard streams; something else may stand for standard input.
#[derive(Default)]
pub(super) struct Local {
    input: Mutex<Option<Box<dyn Read + Send>>>,
}

impl Local {
    pub(super) fn with_input(input: Box<dyn Read + Send>) -> Self {
        Self { input: Mutex::new(Some(input)) }
    }
}

impl Streams for Local {
    fn out(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    fn err(&self, bytes: &[u8]) {
        let _ = io::stderr().lock().write_all(bytes);
    }

    fn input(&self) -> Box<dyn Read + Send> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| Box::new(io::stdin()))
    }

    fn terminal(&self) -> Option<u16> {
        let columns = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(COLUMNS);
        io::stderr().is_terminal().then(columns)
    }

    fn is_local(&self) -> bool {
        true
    }
}
