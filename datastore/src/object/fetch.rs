//! From storage into a file, verified.

use std::io;
use std::path::Path;

use futures_util::StreamExt;
use tidings_core::sealed_object::sealed_bytes;
use tidings_core::{ObjectHasher, ObjectReference};
use tokio::io::AsyncWriteExt;

use super::draft::Draft;
use super::object_name;
use crate::storage::{Driver, StorageError};

/// Why there is no verified value. Nothing was given out and no file appeared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The object is not in the storage, or not visible yet. Catch up to a newer head, then ask again.
    #[error("the storage does not have the object")]
    Missing,
    /// What the storage gave is not what the owner sealed. Asking another storage, or this one later, may help.
    #[error("the storage gave something else than the owner sealed")]
    Altered,
    /// The owner sealed something that does not fit its own reference. Asking again does not help.
    #[error("the object does not fit its reference")]
    Malformed,
    /// The object needs a newer version of this program. [P-20]
    #[error("the object needs a newer version of this program")]
    TooNew,
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
    /// A file of this machine cannot be read or written.
    #[error("a temporary file cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl From<StorageError> for FetchError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Missing => Self::Missing,
            // Longer than a sealed value of this size ever is.
            StorageError::TooLarge => Self::Altered,
            other => Self::Storage(other),
        }
    }
}

/// Brings the sealed bytes of an object into the file `into`, whose folder exists. The file appears when all of it is there, has
/// the hash that the reference names, and is synced; a file of that name is replaced. Of several copies the first good one is taken.
///
/// In memory is one piece of it. Safe to cancel: then a `.part` file beside `into` is removed.
pub async fn fetch(driver: &dyn Driver, reference: &ObjectReference, into: &Path) -> Result<(), FetchError> {
    if driver.copies().is_empty() {
        return fetch_one(driver, reference, into).await;
    }
    let mut worst = FetchError::Missing;
    for copy in driver.copies() {
        match Box::pin(fetch(copy.as_ref(), reference, into)).await {
            Ok(()) => return Ok(()),
            Err(error) => worst = graver(worst, error),
        }
    }
    Err(worst)
}

/// Whether every copy of the storage has the object, whole.
pub(crate) async fn is_whole(driver: &dyn Driver, reference: &ObjectReference) -> Result<bool, StorageError> {
    for copy in driver.copies() {
        if !Box::pin(is_whole(copy.as_ref(), reference)).await? {
            return Ok(false);
        }
    }
    if !driver.copies().is_empty() {
        return Ok(true);
    }
    match hashed(driver, reference, None).await {
        Ok(()) => Ok(true),
        Err(FetchError::Storage(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

async fn fetch_one(driver: &dyn Driver, reference: &ObjectReference, into: &Path) -> Result<(), FetchError> {
    let folder = into.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (draft, file) = Draft::create(folder)?;
    let mut file = tokio::fs::File::from_std(file);
    hashed(driver, reference, Some(&mut file)).await?;
    // Without this a crash could leave a file with the right name and nothing in it.
    file.sync_data().await?;
    Ok(draft.rename(into)?)
}

/// Reads an object to its end and compares its hash with its id.
async fn hashed(driver: &dyn Driver, reference: &ObjectReference, mut into: Option<&mut tokio::fs::File>) -> Result<(), FetchError> {
    let limit = sealed_bytes(reference.size).ok_or(FetchError::Malformed)?;
    let mut reading = driver.read(&object_name(&reference.id), limit).await?;
    let mut hasher = ObjectHasher::new();
    while let Some(piece) = reading.bytes.next().await {
        let piece = piece?;
        hasher.update(&piece);
        if let Some(file) = &mut into {
            file.write_all(&piece).await?;
        }
    }
    if let Some(file) = into {
        file.flush().await?;
    }
    if hasher.finish() == reference.id { Ok(()) } else { Err(FetchError::Altered) }
}

/// What is told of two copies that failed: that one could not be asked, else that one was altered.
fn graver(one: FetchError, other: FetchError) -> FetchError {
    let rank = |error: &FetchError| match error {
        FetchError::Missing => 0,
        FetchError::Altered => 1,
        _ => 2,
    };
    if rank(&other) > rank(&one) { other } else { one }
}
