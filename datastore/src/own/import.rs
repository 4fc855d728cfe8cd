//! Whole folders, in batches: one transaction stages a batch, one releases it, and its objects are written at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tidings_client::Write;
use tidings_core::{RecordPath, ValueHasher};
use tokio::io::AsyncReadExt;

use super::put::nothing_written;
use super::release::Intent;
use super::stage::{Turn, blocking};
use super::walk::{Found, walk};
use super::{Datastore, DatastoreError, FailPoint};
use crate::object::{Prepared, Sealed, Source, prepare};

/// Files of one batch.
const BATCH_FILES_MAX: usize = 256;
/// Sum of their sizes, but one file always fits. What waits sealed is bounded by this.
const BATCH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Objects on their way to storage at once.
const STORES_MAX: usize = 8;
/// Piece in which a file is hashed, bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Called after each file.
pub type Importing<'p> = &'p mut (dyn FnMut(Imported) + Send);

/// A file that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its record.
    pub path: RecordPath,
    /// Its length, bytes.
    pub size: u64,
    /// Whether the record was written; else it has this value already.
    pub written: bool,
    /// Files done, this one included.
    pub done: u64,
    /// Files that were found.
    pub total: u64,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Records written.
    pub written: u64,
    /// Files whose record has their value already.
    pub unchanged: u64,
    /// Bytes of the values written.
    pub bytes: u64,
    /// What is no record.
    pub skipped: Vec<Skipped>,
}

/// A file that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

/// Why a file is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// A symbolic link; links are not followed.
    Link,
    /// Neither a file nor a folder.
    Special,
    /// Its name cannot be part of a path: not UTF-8, not in normal form C, a control character, or the path is too long.
    Name,
    /// It is longer than a value may be.
    TooLarge,
    /// It cannot be read.
    Unreadable,
}

impl SkipReason {
    /// The words in listings.
    pub fn words(self) -> &'static str {
        match self {
            Self::Link => "a link",
            Self::Special => "not a file",
            Self::Name => "no name for a record",
            Self::TooLarge => "too large",
            Self::Unreadable => "cannot be read",
        }
    }
}

/// A file of a batch, read.
struct Read {
    found: Found,
    content: Content,
}

enum Content {
    Unchanged,
    Prepared(Prepared),
    Skipped(SkipReason),
}

impl Datastore {
    /// Puts every file below `folder` as a record below `prefix` (a path, or empty). A file whose record has the same value is left
    /// as it is; links, special files and names that are no path are listed. Returns when everything is durable here; wait for
    /// receipts with the publisher's `flush`.
    ///
    /// # Errors
    /// What was reported to `progress` is written; of the rest nothing, and it can be repeated.
    pub async fn import(&self, folder: &Path, prefix: &str, progress: Importing<'_>) -> Result<ImportReport, DatastoreError> {
        let (folder, prefix) = (folder.to_owned(), checked(prefix)?);
        let (found, skipped) = blocking(move || walk(&folder, &prefix).map_err(DatastoreError::Source)).await?;
        let total = found.len() as u64;
        let (mut report, mut done) = (ImportReport { skipped, ..ImportReport::default() }, 0);
        let mut found = found.into_iter().peekable();
        while let Some(first) = found.next() {
            let (mut batch, mut bytes) = (vec![first], 0);
            bytes += batch[0].size;
            while let Some(next) = found.next_if(|next| batch.len() < BATCH_FILES_MAX && bytes + next.size <= BATCH_BYTES_MAX) {
                bytes += next.size;
                batch.push(next);
            }
            for (path, size, written) in self.import_batch(batch, &mut report).await? {
                done += 1;
                progress(Imported { path, size, written, done, total });
            }
        }
        Ok(report)
    }

    async fn import_batch(&self, batch: Vec<Found>, report: &mut ImportReport) -> Result<Vec<(RecordPath, u64, bool)>, DatastoreError> {
        let mut read = Vec::with_capacity(batch.len());
        for found in batch {
            let content = self.read_file(&found).await?;
            read.push(Read { found, content });
        }
        self.reach(FailPoint::ImportSealed);
        self.write_batch(&read).await?;
        Ok(read.into_iter().filter_map(|read| report.count(read)).collect())
    }

    async fn read_file(&self, found: &Found) -> Result<Content, DatastoreError> {
        let (publisher, path) = (self.shared.publisher.clone(), found.path.clone());
        let own = blocking(move || Ok(publisher.get(&path)?)).await?;
        let same_size = own.filter(|own| own.mutation.size() == found.size);
        if let Some(own) = same_size
            && own.mutation.value_hash() == hash(&found.file).await
        {
            return Ok(Content::Unchanged);
        }
        match prepare(Source::File(found.file.clone()), String::new(), &self.shared.config.spool).await.map_err(DatastoreError::from) {
            Ok(prepared) => Ok(Content::Prepared(prepared)),
            // It grew, or went, since the folder was read.
            Err(DatastoreError::Value(_)) => Ok(Content::Skipped(SkipReason::TooLarge)),
            Err(DatastoreError::Source(_)) => Ok(Content::Skipped(SkipReason::Unreadable)),
            Err(error) => Err(error),
        }
    }

    async fn write_batch(&self, read: &[Read]) -> Result<(), DatastoreError> {
        let sealed: Vec<_> = read.iter().filter_map(|read| Some((&read.found.path, read.sealed()?))).collect();
        let turns = if sealed.is_empty() {
            Vec::new()
        } else {
            self.stage(sealed.iter().map(|(path, sealed)| ((*path).clone(), sealed.reference.clone())).collect()).await?
        };
        self.reach(FailPoint::ImportStaged);
        let done = self.store_and_release(read, &sealed, &turns).await;
        if done.as_ref().is_err_and(nothing_written) {
            for ((path, sealed), turn) in sealed.iter().zip(&turns) {
                self.withdraw(turn, path, &sealed.reference).await?;
            }
        }
        done
    }

    async fn store_and_release(&self, read: &[Read], sealed: &[(&RecordPath, &Sealed)], turns: &[Arc<Turn>]) -> Result<(), DatastoreError> {
        let stored = stream::iter(sealed).map(|(_, sealed)| async move {
            self.store(sealed).await?;
            self.reach(FailPoint::ImportStoredOne);
            Ok::<_, DatastoreError>(())
        });
        stored.buffer_unordered(STORES_MAX).try_collect::<()>().await?;
        self.reach(FailPoint::ImportStored);
        let mut turns = turns.iter();
        let intents: Vec<_> = read.iter().filter_map(|read| read.intent(&mut turns)).collect();
        if !intents.is_empty() {
            self.shared.releases.release(intents).await?;
        }
        self.reach(FailPoint::ImportReleased);
        Ok(())
    }
}

impl Read {
    fn sealed(&self) -> Option<&Sealed> {
        match &self.content {
            Content::Prepared(Prepared::Sealed(sealed)) => Some(sealed),
            _ => None,
        }
    }

    fn intent<'t>(&self, turns: &mut impl Iterator<Item = &'t Arc<Turn>>) -> Option<Intent> {
        let path = self.found.path.clone();
        match &self.content {
            Content::Prepared(Prepared::Inline(value)) => {
                let write = Write::Put { path, value: value.clone(), content_type: String::new() };
                Some(Intent { write, staged: None })
            }
            Content::Prepared(Prepared::Sealed(sealed)) => {
                let staged = turns.next().map(Arc::clone);
                Some(Intent { write: Write::PutObject { path, object: sealed.reference.clone() }, staged })
            }
            Content::Unchanged | Content::Skipped(_) => None,
        }
    }
}

impl ImportReport {
    /// Counts a file; gives what is told of it, unless it was skipped.
    fn count(&mut self, read: Read) -> Option<(RecordPath, u64, bool)> {
        let size = match read.content {
            Content::Skipped(reason) => {
                self.skipped.push(Skipped { file: read.found.file, reason });
                return None;
            }
            Content::Unchanged => {
                self.unchanged += 1;
                return Some((read.found.path, read.found.size, false));
            }
            Content::Prepared(Prepared::Inline(value)) => value.len() as u64,
            Content::Prepared(Prepared::Sealed(sealed)) => sealed.reference.size,
        };
        self.written += 1;
        self.bytes += size;
        Some((read.found.path, size, true))
    }
}

/// An empty prefix, or one that is a path.
fn checked(prefix: &str) -> Result<String, DatastoreError> {
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() {
        prefix.parse::<RecordPath>()?;
    }
    Ok(prefix.to_owned())
}

/// Hash of a file; `None` if it cannot be read, which the next step finds too.
async fn hash(file: &Path) -> Option<[u8; 32]> {
    let mut file = tokio::fs::File::open(file).await.ok()?;
    let (mut hasher, mut piece) = (ValueHasher::new(), Vec::with_capacity(PIECE_BYTES));
    loop {
        piece.clear();
        if (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).await.ok()? == 0 {
            return Some(hasher.finish());
        }
        hasher.update(&piece);
    }
}
