//! What a crash, or a call that was dropped, left between a staged row and its release.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tidings_client::Write;
use tokio::sync::mpsc;

use super::ledger::{STAGED, Staged, sequence};
use super::stage::{Turn, blocking, newest_clock};
use super::{Datastore, DatastoreError, FailPoint, Shared};
use crate::object::is_whole;

/// Rows read at once.
const PAGE: usize = 256;
/// How long what cannot be settled now waits: the first time, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Settles what is left whenever there is word of it, again and again while it cannot be. Ends with the last handle.
pub(super) async fn run(shared: Weak<Shared>, mut left: mpsc::Receiver<()>) {
    while left.recv().await.is_some() {
        let mut pause = RETRY.0;
        while let Some(datastore) = shared.upgrade().map(|shared| Datastore { shared }) {
            match datastore.settle().await {
                Ok(0) => break,
                Ok(waiting) => tracing::debug!(waiting, "staged values wait for their storage"),
                Err(error) => tracing::warn!(%error, "staged values are settled later"),
            }
            drop(datastore);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }
}

impl Datastore {
    /// Releases or withdraws every staged row that no call works at, the newest first: of two for one record that one wins. How many
    /// could not be settled because their storage did not tell.
    pub(super) async fn settle(&self) -> Result<u64, DatastoreError> {
        let (mut rows, mut waiting) = (self.staged().await?, 0);
        while let Some(sequence) = rows.pop() {
            if let Some(turn) = self.shared.active.take(sequence).map(Arc::new) {
                waiting += u64::from(!self.settle_one(&turn).await?);
            }
        }
        Ok(waiting)
    }

    async fn staged(&self) -> Result<Vec<u64>, DatastoreError> {
        let state = self.shared.state.clone();
        blocking(move || {
            let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
            loop {
                let page = state.rows(STAGED, &[], after.as_deref(), PAGE)?;
                let Some((last, _)) = page.last() else { return Ok(found) };
                after = Some(last.clone());
                for (key, _) in &page {
                    found.push(sequence(key)?);
                }
            }
        })
        .await
    }

    /// The row as it is now. It may be gone since the list was read, its call done.
    async fn staged_row(&self, sequence: u64) -> Result<Option<Staged>, DatastoreError> {
        let state = self.shared.state.clone();
        blocking(move || Ok(state.row(STAGED, &sequence.to_be_bytes())?.map(|row| Staged::decode(&row)).transpose()?)).await
    }

    /// Whether it is settled.
    async fn settle_one(&self, turn: &Arc<Turn>) -> Result<bool, DatastoreError> {
        let Some(staged) = self.staged_row(turn.sequence).await? else {
            turn.end();
            return Ok(true);
        };
        let (publisher, path) = (self.shared.publisher.clone(), staged.path.clone());
        let clock = blocking(move || Ok(newest_clock(&publisher.named(&path)?))).await?;
        let whole = if clock == staged.clock { is_whole(self.shared.config.storage.as_ref(), &staged.object).await } else { Ok(false) };
        match whole {
            Ok(true) => {
                self.reach(FailPoint::SettleChecked);
                self.release_one(Write::PutObject { path: staged.path, object: staged.object }, Some(Arc::clone(turn))).await?;
                self.reach(FailPoint::SettleReleased);
            }
            Ok(false) => self.withdraw(turn, &staged.path, &staged.object).await?,
            Err(error) => {
                // Whether it is there is not known: later.
                turn.end();
                tracing::debug!(%error, "a staged value waits for its storage");
                return Ok(false);
            }
        }
        Ok(true)
    }
}
