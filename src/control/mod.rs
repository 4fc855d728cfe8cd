//! One process runs the node; others give it their commands through a socket in the home, and lend it their streams.
//!
//! The caller parses the command line and opens the files that it names; the process that runs the node carries the command
//! out with the caller's streams, in a thread of its own, so that a caller that stops reading holds up only itself.

mod approach;
mod caller;
mod frame;
#[cfg(test)]
mod hostile_tests;
mod server;
mod session;
mod socket;
mod streams;

use std::time::Duration;

pub(crate) use approach::{Way, approach};
pub(crate) use server::Server;

/// How often whoever carries a command out says that it goes on.
const ALIVE: Duration = Duration::from_secs(5);

/// What both sides must be: a command line of another version may mean something else.
const VERSION: &str = env!("CARGO_PKG_VERSION");
