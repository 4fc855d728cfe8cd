//! SIGINT and SIGTERM as a request to end.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// Set once somebody asked this process to end. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    set: watch::Receiver<bool>,
}

impl Stop {
    /// Begins to listen. A second signal ends the process at once, as without this.
    ///
    /// # Errors
    /// The system does not let this process handle signals.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("signals cannot be handled: {error}"), "report this as a bug");
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let (sender, set) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            sender.send_replace(true);
            tokio::select! {
                _ = interrupt.recv() => std::process::exit(130),
                _ = terminate.recv() => std::process::exit(143),
            }
        });
        Ok(Self { set })
    }

    /// Set by another than this process's signals: when `set` turns true.
    pub(crate) fn told(set: watch::Receiver<bool>) -> Self {
        Self { set }
    }

    /// Waits until it is set.
    pub(crate) async fn wait(&self) {
        let mut set = self.set.clone();
        // The sender lives as long as the runtime; if it is gone, so is the reason to go on.
        let _ = set.wait_for(|set| *set).await;
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        *self.set.borrow()
    }
}
