//! What a crash left between a staged row and its release.

use tidings_client::Write;

use super::ledger::{STAGED, Staged, sequence};
use super::stage::{blocking, newest_clock};
use super::{Datastore, DatastoreError, FailPoint};
use crate::object::is_whole;

/// Rows read at once.
const PAGE: usize = 256;

impl Datastore {
    /// Releases or withdraws every staged row that no call works at, the newest first: of two for one record that one wins.
    pub(super) async fn settle(&self) -> Result<(), DatastoreError> {
        let mut rows = self.staged().await?;
        while let Some((sequence, staged)) = rows.pop() {
            if !self.shared.active.contains(sequence) {
                self.settle_one(sequence, staged).await?;
            }
        }
        Ok(())
    }

    async fn staged(&self) -> Result<Vec<(u64, Staged)>, DatastoreError> {
        let state = self.shared.state.clone();
        blocking(move || {
            let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
            loop {
                let page = state.rows(STAGED, &[], after.as_deref(), PAGE)?;
                let Some((last, _)) = page.last() else { return Ok(found) };
                after = Some(last.clone());
                for (key, value) in &page {
                    found.push((sequence(key)?, Staged::decode(value)?));
                }
            }
        })
        .await
    }

    async fn settle_one(&self, sequence: u64, staged: Staged) -> Result<(), DatastoreError> {
        let (publisher, path) = (self.shared.publisher.clone(), staged.path.clone());
        let clock = blocking(move || Ok(newest_clock(&publisher.named(&path)?))).await?;
        let whole = if clock == staged.clock { is_whole(self.shared.config.storage.as_ref(), &staged.object).await } else { Ok(false) };
        match whole {
            Ok(true) => {
                self.reach(FailPoint::SettleChecked);
                self.release_one(Write::PutObject { path: staged.path, object: staged.object }, Some(sequence)).await?;
                self.reach(FailPoint::SettleReleased);
            }
            Ok(false) => self.withdraw(sequence, &staged.path, &staged.object).await?,
            // Whether it is there is not known: later.
            Err(error) => tracing::debug!(%error, "a staged value waits for its storage"),
        }
        Ok(())
    }
}
