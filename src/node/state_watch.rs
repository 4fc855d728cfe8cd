//! What a node that stays does when its state fails.

use std::time::Duration;

use tidings_client::{State, StateFailure};

use super::Node;
use crate::failure::Failure;
use crate::signal::Stop;

/// How often a node that stays looks whether its state has failed.
const LOOK: Duration = Duration::from_millis(500);
/// Pause before a state that met a full disk is opened anew.
const PAUSE: Duration = Duration::from_secs(2);

impl Node {
    /// Waits until the state has failed.
    pub(crate) async fn state_failed(&self) -> StateFailure {
        failed(&self.state).await
    }
}

async fn failed(state: &State) -> StateFailure {
    loop {
        if let Some(failure) = state.failure() {
            return failure;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits before the node is opened anew after `failure`, or until it is asked to end.
///
/// # Errors
/// Opening it anew would not help: only a full disk gets better by itself.
pub(crate) async fn pause(failure: StateFailure, stop: &Stop) -> Result<(), Failure> {
    if failure != StateFailure::Full {
        let what = if failure == StateFailure::Sync { "synced" } else { "written" };
        let error = format!("state.redb cannot be {what}, so nothing more is written or published");
        return Err(Failure::new(error, "check the disk, then start it again: what was saved is there"));
    }
    tracing::error!("the disk is full: nothing can be saved; the node is opened anew when there is space");
    wait(stop).await;
    Ok(())
}

/// The pause itself.
pub(crate) async fn wait(stop: &Stop) {
    tokio::select! {
        () = stop.wait() => {}
        () = tokio::time::sleep(PAUSE) => {}
    }
}
