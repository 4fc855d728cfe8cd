//! What the storage shows before a write, and whether it may be written over. [P-5] [P-21]

use std::sync::Arc;

use bytes::Bytes;
use tidings_client::{ArchivedHead, OwnSnapshot, Publisher};
use tidings_core::{DecodeError, Object, StorageHead};
use tidings_proto::caps::STORAGE_HEAD_BYTES_MAX;
use tidings_proto::{QueueId, VerifyingKey};

use super::error::ChannelError;
use super::names::head_name;
use super::rows::Rows;
use crate::storage::{Driver, StorageError};

/// What the storage shows, as the next head object may take its place.
#[derive(Debug)]
pub(super) struct Before {
    /// The head object; `None` if there is none.
    pub(super) bytes: Option<Bytes>,
    /// The same, if this channel wrote it: its parts are there, and of the own history.
    pub(super) own: Option<StorageHead>,
    /// The same, if it is another one with a head of this owner: its parts are known from now on.
    pub(super) left: Option<StorageHead>,
}

/// The head object in `storage` as it is.
pub(super) async fn head_object(storage: &Arc<dyn Driver>, queue: &QueueId) -> Result<Option<Bytes>, StorageError> {
    let limit = STORAGE_HEAD_BYTES_MAX as u64;
    match storage.read(&head_name(queue), limit).await {
        Ok(reading) => reading.whole(limit).await.map(Some),
        Err(StorageError::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a head object says, if `owner` signed the head in it. `None` is what a storage lost or made up: there is nothing to merge.
///
/// # Errors
/// A newer build wrote it.
fn view(bytes: &[u8], queue: &QueueId, owner: &VerifyingKey) -> Result<Option<StorageHead>, ChannelError> {
    match StorageHead::decode(bytes) {
        Ok(view) => Ok(Some(view).filter(|view| view.head.head().queue == *queue && view.head.verify(owner).is_ok())),
        Err(DecodeError::TooNew { .. }) => Err(ChannelError::TooNew),
        Err(_) => Ok(None),
    }
}

impl Before {
    /// Compares what `storage` shows with the own history. `attempted` is a head object of this channel that may be there although
    /// the storage did not say so.
    ///
    /// # Errors
    /// What is there may not be written over by `snapshot`: it is to be merged, or the merge is not in the snapshot yet.
    pub(super) async fn look(
        publisher: &Publisher,
        rows: &Rows,
        storage: &Arc<dyn Driver>,
        snapshot: &OwnSnapshot,
        attempted: Option<&Bytes>,
    ) -> Result<Self, ChannelError> {
        let descriptor = snapshot.descriptor();
        let queue = descriptor.id();
        let bytes = head_object(storage, &queue).await?;
        let Some(found) = &bytes else { return Ok(Self { bytes, own: None, left: None }) };
        let Some(view) = view(found, &queue, &descriptor.signing_key)? else { return Ok(Self { bytes, own: None, left: None }) };
        match publisher.archived(&view.head)? {
            ArchivedHead::Own => {
                // Parts of a head object that somebody else made are not known to be what the head signs.
                let written = rows.written()?.is_some_and(|written| written.encode() == **found);
                let (own, left) = if written || attempted == Some(found) { (Some(view), None) } else { (None, Some(view)) };
                Ok(Self { bytes, own, left })
            }
            // Of the left branch nothing is taken over: its offsets name other entries.
            ArchivedHead::Merged(through) if snapshot.head().rank().number >= through => Ok(Self { bytes, own: None, left: Some(view) }),
            ArchivedHead::Merged(_) | ArchivedHead::Merging => Err(ChannelError::NotReceipted),
            ArchivedHead::Other => {
                publisher.compare_archive().await;
                Err(ChannelError::NotMerged(view.head.rank()))
            }
        }
    }
}
