//! The own queue in the own storages, for readers that reach no broker. [P-21]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_client::{Publisher, State, Witness};
use tidings_core::SignedHead;
use tidings_datastore::channel::{Channel, ChannelConfig, ChannelError, ChannelStatus, StorageWitness};
use tidings_datastore::storage::Driver;
use tidings_proto::HeadRank;

use super::Reach;
use crate::home::Home;

/// Writes what is published to the storages: as it goes where the node stays, else at the end of a command that published something.
pub(crate) struct Shelf {
    state: State,
    storage: Arc<dyn Driver>,
    reach: Reach,
    /// What was receipted before this node began.
    before: HeadRank,
    channel: Mutex<Option<Channel>>,
}

impl Shelf {
    pub(super) fn new(state: State, publisher: &Publisher, storage: Arc<dyn Driver>, reach: Reach) -> Self {
        let (_, before) = standing(publisher);
        let shelf = Self { state, storage, reach, before, channel: Mutex::default() };
        if reach == Reach::Standing {
            *shelf.lock() = Some(shelf.start(publisher));
        }
        shelf
    }

    /// Shows in the storages what was published since the beginning, within `patience`. What was not is not waited for.
    ///
    /// # Errors
    /// It is not there yet.
    pub(super) async fn show(&self, publisher: &Publisher, patience: Duration) -> Result<(), ChannelError> {
        let (signed, receipted) = standing(publisher);
        if receipted <= self.before || signed != receipted || self.reach == Reach::Offline {
            return Ok(());
        }
        let channel = self.take().unwrap_or_else(|| self.start(publisher));
        let written = channel.status().borrow().written;
        let shown = if written < receipted { channel.flush(patience).await } else { Ok(()) };
        channel.close().await;
        shown
    }

    /// Ends the work.
    pub(super) async fn close(&self) {
        if let Some(channel) = self.take() {
            channel.close().await;
        }
    }

    /// What the channel says of itself, if it runs.
    pub(crate) fn status(&self) -> Option<ChannelStatus> {
        self.lock().as_ref().map(|channel| channel.status().borrow().clone())
    }

    /// The head that the storages show, as they say it now; `None` if they show none of this node's within `patience`.
    pub(crate) async fn shown(&self, home: &Home, publisher: &Publisher, patience: Duration) -> Option<HeadRank> {
        let (queue, key) = (publisher.status().ok()?.queue, home.key.verifying_key());
        let witness = StorageWitness::new(Arc::clone(&self.storage), queue, key);
        let bytes = tokio::time::timeout(patience, witness.newest()).await.ok()??;
        let head = SignedHead::parse(bytes).ok()?;
        head.verify(&key).is_ok().then(|| head.rank())
    }

    fn start(&self, publisher: &Publisher) -> Channel {
        Channel::start(self.state.clone(), publisher.clone(), Arc::clone(&self.storage), ChannelConfig::default())
    }

    fn take(&self) -> Option<Channel> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest signed head and the newest receipted one, as the state has them: what watches the publisher hears of it a moment later.
fn standing(publisher: &Publisher) -> (HeadRank, HeadRank) {
    let status = publisher.status().ok();
    let receipted = status.as_ref().and_then(|status| status.receipt.as_ref()).map(|receipt| receipt.rank);
    (status.map(|status| status.head).unwrap_or_default(), receipted.unwrap_or_default())
}
