//! The owner's storage as something to compare with and to go on from. [P-5] [P-21]

use std::sync::Arc;

use bytes::Bytes;
use tidings_client::{Archive, ArchiveError, Archived};
use tidings_core::{AccessPart, QueueDescriptor};
use tidings_proto::caps::TRANSFER_HISTORY_MAX;
use tidings_proto::frames::Transfer;

use super::error::IndexError;
use super::index::Index;
use crate::storage::{Driver, StorageError};

/// Entries or attachments of one part, bytes.
const PART_BYTES: usize = 512 * 1024;

/// The queue of one descriptor as its owner's storage has it.
///
/// Holds the bitmap of live offsets and one object of the storage at a time in memory, never the whole queue: that is what the parts
/// are given to.
pub struct StorageArchive {
    storage: Arc<dyn Driver>,
    index: Index,
}

impl StorageArchive {
    /// What `storage` has of the queue of `descriptor`.
    pub fn new(storage: Arc<dyn Driver>, descriptor: &QueueDescriptor) -> Self {
        let index = Index::new(storage.clone(), descriptor.id(), descriptor.signing_key);
        Self { storage, index }
    }
}

impl Archive for StorageArchive {
    fn newest(&self) -> Archived<'_, Option<Bytes>> {
        Box::pin(async move {
            match self.index.head_bytes().await {
                Err(IndexError::Storage(StorageError::Missing)) => Ok(None),
                bytes => Ok(Some(self.index.view(&bytes?)?.head.bytes().clone())),
            }
        })
    }

    fn recover<'a>(&'a self, descriptor: QueueDescriptor, take: &'a mut (dyn FnMut(Transfer) -> bool + Send)) -> Archived<'a, ()> {
        let index = Index::new(self.storage.clone(), descriptor.id(), descriptor.signing_key);
        Box::pin(async move { Ok(Giving { index, take }.all().await?) })
    }
}

impl From<IndexError> for ArchiveError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Contradiction(_) => Self::Damaged(error.to_string()),
            // What a newer build wrote is nobody's damage. [P-20]
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// One recovery.
struct Giving<'a> {
    index: Index,
    take: &'a mut (dyn FnMut(Transfer) -> bool + Send),
}

impl Giving<'_> {
    /// Everything that the head object names, in the order of [`Transfer`]s from zero, until somebody has enough.
    async fn all(mut self) -> Result<(), IndexError> {
        let view = self.index.view(&self.index.head_bytes().await?)?;
        for run in &view.history {
            for hashes in self.index.run(run).await?.chunks(TRANSFER_HISTORY_MAX) {
                if !(self.take)(Transfer { history: hashes.to_vec(), ..Transfer::default() }) {
                    return Ok(());
                }
            }
        }
        let live = self.index.live(&view).await?;
        for segment in view.segments.iter().filter(|segment| live.range_cardinality(segment.first.value()..=segment.last.value()) > 0) {
            let entries = self.index.entries(segment).await?.into_iter();
            let mut entries = entries.filter(|(offset, _)| live.contains(offset.value())).map(|(_, bytes)| bytes).peekable();
            while let Some(entries) = next_part(&mut entries) {
                if !(self.take)(Transfer { entries, ..Transfer::default() }) {
                    return Ok(());
                }
            }
        }
        let access = self.index.access(&view).await?;
        let mut attachments = attachments(&access).into_iter().peekable();
        while let Some(attachments) = next_part(&mut attachments) {
            if !(self.take)(Transfer { attachments, ..Transfer::default() }) {
                return Ok(());
            }
        }
        (self.take)(Transfer { head: view.head.bytes().clone(), rows: access.encoded_rows(), ..Transfer::default() });
        Ok(())
    }
}

/// The next of `items` that fill one part, at least one of them.
fn next_part(items: &mut std::iter::Peekable<impl Iterator<Item = Bytes>>) -> Option<Vec<Bytes>> {
    let mut part = vec![items.next()?];
    let mut bytes = part[0].len();
    while let Some(next) = items.next_if(|next| bytes + next.len() <= PART_BYTES) {
        bytes += next.len();
        part.push(next);
    }
    Some(part)
}

/// What the rows name, each once.
fn attachments(access: &AccessPart) -> Vec<Bytes> {
    let mut names: Vec<_> = access.rows().flat_map(|row| [row.grant, row.owner_copy]).collect();
    names.sort();
    names.dedup();
    names.iter().filter_map(|name| access.attachment(name).cloned()).collect()
}
