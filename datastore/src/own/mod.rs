//! The own datastore: values of any size, one publish for what a reader must see together.
//!
//! A value that does not fit into the queue is *staged* (a durable row that tells everything needed to finish), written to
//! storage, and then *released* into the publisher's outbox, in one transaction with the row's end. So what the queue names is in
//! storage, and what is in storage is known here.

mod adopt; // what another state of this owner wrote
mod collect; // what may go
mod error;
mod fail_point; // where tests crash
mod import; // whole folders
mod ledger; // rows
mod put;
mod release; // into the outbox, one at a time
mod settle; // what a crash or a dropped call left
mod stage;
mod walk; // files of a folder

pub use collect::Collected;
pub use error::DatastoreError;
pub use fail_point::{FailHook, FailPoint};
pub use import::{ImportReport, Imported, Importing, SkipReason, Skipped};
pub use put::Value;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_client::{Publisher, State};
use tokio::task::JoinHandle;

use crate::object;
use crate::storage::Driver;
use release::Releases;
use stage::Active;

/// How a datastore works.
#[derive(Clone)]
pub struct DatastoreConfig {
    /// Where objects are kept.
    pub storage: Arc<dyn Driver>,
    /// Folder for temporary files of this process alone. What is left in it is removed at opening.
    pub spool: PathBuf,
    /// How long an object outlives the receipt of what retired it. [P-22]
    pub grace: Duration,
    /// Called at every [`FailPoint`]; for tests of crashes.
    pub fail_hook: Option<FailHook>,
}

impl DatastoreConfig {
    /// Objects outlive their entries by seven days.
    pub fn new(storage: Arc<dyn Driver>, spool: PathBuf) -> Self {
        Self { storage, spool, grace: Duration::from_secs(7 * 24 * 60 * 60), fail_hook: None }
    }
}

/// The records of a node, values included. Clones are handles to the same one; a state has one at a time.
///
/// Everything that is written to the queue of a node with a datastore goes through it, or objects are noticed as unneeded only by
/// the next [`Self::collect`].
#[derive(Clone)]
pub struct Datastore {
    shared: Arc<Shared>,
}

struct Shared {
    state: State,
    publisher: Publisher,
    config: DatastoreConfig,
    releases: Releases,
    active: Active,
    settling: Mutex<Option<JoinHandle<()>>>,
}

impl Datastore {
    /// Opens the datastore beside `publisher`, whose state `state` is, and settles what an earlier process staged: each staged
    /// value that is whole in storage, and whose record was not written since, is released; every other one is withdrawn. What the
    /// storage cannot be asked about now, and what calls leave that are dropped, is settled as soon as can be.
    ///
    /// # Errors
    /// The spool or the state cannot be used. A storage that cannot be reached is no error.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(state: State, publisher: Publisher, config: DatastoreConfig) -> Result<Self, DatastoreError> {
        let spool = config.spool.clone();
        let cleaned = tokio::task::spawn_blocking(move || object::clean(&spool)).await;
        cleaned.map_err(|error| DatastoreError::Spool(std::io::Error::other(error)))?.map_err(DatastoreError::Spool)?;
        let releases = Releases::start(publisher.clone(), state.clone());
        let (active, left) = Active::after(&state)?;
        let shared = Arc::new_cyclic(|shared| {
            let settling = tokio::spawn(settle::run(shared.clone(), left));
            Shared { state, publisher, config, releases, active, settling: Mutex::new(Some(settling)) }
        });
        let datastore = Self { shared };
        if datastore.settle().await? > 0 {
            datastore.shared.active.leave();
        }
        datastore.adopt().await?;
        Ok(datastore)
    }

    /// How many values are staged: not in the outbox yet. Blocks for a pass over them.
    ///
    /// # Errors
    /// The state fails.
    pub fn staged_count(&self) -> Result<u64, DatastoreError> {
        Ok(ledger::staged_count(&self.shared.state)?)
    }

    /// Ends the tasks behind all handles, after what was asked before; then only handles hold the state. Everything written is
    /// durable; close the publisher afterwards.
    pub async fn close(self) {
        let settling = self.shared.settling.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(settling) = settling {
            settling.abort();
            let _ = settling.await;
        }
        self.shared.releases.close().await;
    }

    fn reach(&self, point: FailPoint) {
        if let Some(hook) = &self.shared.config.fail_hook {
            hook(point);
        }
    }
}

impl std::fmt::Debug for Datastore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Datastore")
    }
}
