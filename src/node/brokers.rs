//! Changes of the brokers of a node that runs: one at a time, each to its end, whoever still waits for it.

use std::sync::Arc;
use std::time::Duration;

use super::Running;
use crate::failure::{Effect, Failure};

impl Running {
    /// Carries out a change of brokers on the threads of the node, once no other one is under way. It goes on if the command that
    /// wanted it ends, so that settings and node never say different things.
    ///
    /// # Errors
    /// That of the change; or another one is under way still after `patience`, and nothing was changed.
    pub(crate) async fn change_brokers<T, F>(
        self: &Arc<Self>,
        patience: Duration,
        change: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let turn = tokio::time::timeout(patience, Arc::clone(&self.moving).lock_owned()).await;
        let turn = turn.map_err(|_| Failure::new("another change of brokers is under way", "repeat later"))?;
        let change = change(Arc::clone(self));
        let changed = self.runtime.spawn(async move {
            let changed = change.await;
            drop(turn);
            changed
        });
        let ended = |_| Failure::new("the node ended before its brokers were changed", "repeat").effect(Effect::Unknown);
        changed.await.map_err(ended)?
    }
}
