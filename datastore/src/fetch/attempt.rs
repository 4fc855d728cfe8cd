//! One object from the storage into the cache, verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidings_client::{State, StateError};
use tidings_core::sealed_object::sealed_bytes;
use tidings_core::{ObjectError, ObjectReference};

use super::cache::{self, Cache, CacheError, remove_file};
use super::{FetchLimits, USES};
use crate::object::{self, FetchError};
use crate::storage::Driver;

/// An attempt may take so long, and a second more for each of so many bytes: a storage that hangs must not hold a place for ever.
const ATTEMPT_MAX: Duration = Duration::from_secs(60);
const BYTES_PER_SECOND_MIN: u64 = 32 * 1024;

/// What fetching needs.
pub(crate) struct Depot {
    pub(crate) state: State,
    pub(crate) cache: Cache,
    pub(crate) storage: Option<Arc<dyn Driver>>,
    pub(crate) limits: Arc<FetchLimits>,
}

/// Why an object is not here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Shortfall {
    /// No storage is known.
    #[error("no storage of the owner is known")]
    NoStorage,
    /// The storage does not have it.
    #[error("the storage does not have the value")]
    Missing,
    /// The storage gave something else.
    #[error("the storage gave something that the owner did not sign")]
    Altered,
    /// The object needs a newer version of this program. [P-20]
    #[error("the value needs a newer version of this program")]
    TooNew,
    /// It could not be had this time.
    #[error("{0}")]
    Failed(String),
}

impl Depot {
    /// Waits for a turn, then brings the object. Safe to cancel.
    pub(crate) async fn bring_in_turn(self: &Arc<Self>, reference: &ObjectReference) -> Result<PathBuf, Shortfall> {
        let storage = self.storage.as_ref().ok_or(Shortfall::NoStorage)?;
        let _ticket = self.limits.enter(&storage.address(), sealed_bytes(reference.size).unwrap_or(0)).await;
        self.bring(reference).await
    }

    /// Brings the object: gives its verified file, which is the one in the cache if a row uses the object, else a draft that
    /// the caller removes. Needs a ticket. Safe to cancel; a draft may be left then.
    pub(crate) async fn bring(self: &Arc<Self>, reference: &ObjectReference) -> Result<PathBuf, Shortfall> {
        let storage = self.storage.as_ref().ok_or(Shortfall::NoStorage)?;
        let _alone = self.limits.alone(&reference.id).await;
        let wanted = reference.clone();
        if self.at_work(move |depot| depot.is_here(&wanted)).await? {
            return Ok(self.cache.path(&reference.id));
        }
        let (draft, wanted) = (self.cache.draft(), reference.clone());
        let bytes = sealed_bytes(reference.size).ok_or(Shortfall::Altered)?;
        let patience = ATTEMPT_MAX + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
        let fetched = tokio::time::timeout(patience, object::fetch(storage.as_ref(), reference, &draft)).await;
        let fetched = fetched.map_err(|_| Shortfall::Failed("the storage takes too long".into()))?;
        fetched.map_err(|error| fallen_short(error, storage.as_ref()))?;
        self.at_work(move |depot| depot.keep(&draft, &wanted)).await
    }

    async fn at_work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Shortfall> + Send + 'static,
    ) -> Result<T, Shortfall> {
        let depot = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&depot)).await;
        done.unwrap_or_else(|_| Err(Shortfall::Failed("the work was cut off".into())))
    }

    /// Whether a whole object is in the cache; one that rotted there is removed.
    fn is_here(&self, reference: &ObjectReference) -> Result<bool, Shortfall> {
        let path = self.cache.path(&reference.id);
        {
            let _moving = self.limits.moving();
            if !path.exists() {
                return Ok(false);
            }
        }
        match cache::check(&path, reference) {
            Ok(()) => Ok(true),
            Err(CacheError::Object(error)) => {
                tracing::warn!(%error, "a fetched object has rotted or is of another reference; it is fetched again");
                let _moving = self.limits.moving();
                // What is in the way is a person's: a folder is not removed.
                let stays = |error| Shortfall::Failed(format!("{} is in the way: {error}", path.display()));
                self.cache.remove(&reference.id).map_err(stays)?;
                Ok(false)
            }
            Err(CacheError::Io(error)) => Err(error.into()),
        }
    }

    /// Checks what a fetched draft opens to, and gives it its name.
    fn keep(&self, draft: &Path, reference: &ObjectReference) -> Result<PathBuf, Shortfall> {
        let kept = self.verified(draft, reference);
        if kept.is_err() {
            drop(remove_file(draft));
        }
        kept
    }

    fn verified(&self, draft: &Path, reference: &ObjectReference) -> Result<PathBuf, Shortfall> {
        cache::check(draft, reference).map_err(|error| match error {
            CacheError::Object(ObjectError::TooNew) => Shortfall::TooNew,
            // The bytes are those that the id names, so no storage is to blame.
            CacheError::Object(error) => {
                tracing::warn!(%error, "an object in storage does not fit the owner's reference");
                Shortfall::Altered
            }
            CacheError::Io(error) => error.into(),
        })?;
        if self.place(draft, &reference.id)? {
            self.cache.sync(&reference.id)?;
            return Ok(self.cache.path(&reference.id));
        }
        Ok(draft.to_owned())
    }

    /// Gives a draft its name, unless its object is not used: what was superseded on its way would never be removed.
    fn place(&self, draft: &Path, id: &[u8; 32]) -> Result<bool, Shortfall> {
        let _moving = self.limits.moving();
        let used = self.is_used(id)?;
        if used {
            self.cache.place(draft, id)?;
        }
        Ok(used)
    }

    fn is_used(&self, id: &[u8; 32]) -> Result<bool, StateError> {
        Ok(!self.state.rows(USES, id, None, 1)?.is_empty())
    }

    /// Removes the files of objects that nobody uses any more. Blocks.
    pub(crate) fn sweep(&self, ids: &[[u8; 32]]) -> Result<(), StateError> {
        for id in ids {
            let _moving = self.limits.moving();
            if !self.is_used(id)? {
                self.cache.remove(id)?;
            }
        }
        Ok(())
    }
}

fn fallen_short(error: FetchError, storage: &dyn Driver) -> Shortfall {
    match error {
        FetchError::Missing => Shortfall::Missing,
        FetchError::Altered | FetchError::Malformed => {
            tracing::warn!(storage = storage.address(), %error, "a fetched object does not verify");
            Shortfall::Altered
        }
        FetchError::TooNew => Shortfall::TooNew,
        error => Shortfall::Failed(error.to_string()),
    }
}

impl From<std::io::Error> for Shortfall {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StateError> for Shortfall {
    fn from(error: StateError) -> Self {
        Self::Failed(error.to_string())
    }
}
