//! Which process carries a command out.

use std::time::Instant;

use super::caller::Call;
use crate::args::Cli;
use crate::failure::Failure;
use crate::home::{self, Lock, RETRY};

/// How a command reaches its node.
pub(crate) enum Way {
    /// This process runs the node itself, with the lock of its home.
    Alone(Lock),
    /// Another process runs it, and has taken the command.
    Through(Call),
    /// There is no node, which the command says best itself.
    Nowhere,
}

/// Waits up to `--timeout` for the lock of the home, or for the process that runs the node there.
///
/// # Errors
/// Another process holds the lock and takes no commands; the failure names its pid. Or it is of another version, or has too much to
/// do. Nothing was changed.
pub(crate) fn approach(cli: &Cli) -> Result<Way, Failure> {
    let folder = cli.globals.folder()?;
    if !home::is_home(&folder) {
        return Ok(Way::Nowhere);
    }
    let deadline = Instant::now() + cli.globals.timeout;
    loop {
        // A socket beside a free lock is stale.
        if let Some(lock) = Lock::attempt(&folder)? {
            return Ok(Way::Alone(lock));
        }
        if let Some(call) = Call::begin(&folder, cli)? {
            return Ok(Way::Through(call));
        }
        if Instant::now() >= deadline {
            return Err(Lock::held(&folder));
        }
        std::thread::sleep(RETRY);
    }
}
