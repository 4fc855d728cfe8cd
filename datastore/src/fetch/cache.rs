//! Fetched objects as files: sealed bytes as they came, so that a file here verifies like the object in storage.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tidings_client::folder::{self, Access};
use tidings_core::sealed_object::{SEGMENT_BYTES, object_name};
use tidings_core::{ObjectError, ObjectOpener, ObjectReference};
use tidings_proto::QueueId;

use crate::object::open_sealed;

/// The folder of fetched objects, as one follow uses it. What has its final name here was verified before it got it.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    /// Of this follow alone, so that what a stopped process left can be removed.
    drafts: PathBuf,
    drafted: AtomicU64,
}

/// Why a file does not give its value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// It is not what the owner sealed, or does not fit the reference.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Cache {
    /// Makes the folders at `root` and removes the drafts that a stopped process left for `queue`.
    pub(crate) fn open(root: &Path, queue: &QueueId) -> io::Result<Self> {
        let cache = Self { root: root.to_owned(), drafts: drafts(root, queue), drafted: AtomicU64::new(0) };
        remove_tree(&cache.drafts)?;
        folder::make(&cache.drafts, Access::Private)?;
        Ok(cache)
    }

    /// Where the object of this id is, if it is here.
    pub(crate) fn path(&self, id: &[u8; 32]) -> PathBuf {
        path_in(&self.root, id)
    }

    /// A name that nobody else uses, for what is not verified yet.
    pub(crate) fn draft(&self) -> PathBuf {
        self.drafts.join(self.drafted.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Folder for what is opened for a moment.
    pub(crate) fn drafts(&self) -> &Path {
        &self.drafts
    }

    /// Gives a verified draft, which is on disk, its name. [`Self::sync`] makes that durable.
    pub(crate) fn place(&self, draft: &Path, id: &[u8; 32]) -> io::Result<()> {
        let path = self.path(id);
        // Names of objects tell nothing, but when they came is nobody else's business.
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            folder::make(parent, Access::Private)?;
        }
        fs::rename(draft, path)
    }

    /// The name of the object of this id is on disk when this returns.
    pub(crate) fn sync(&self, id: &[u8; 32]) -> io::Result<()> {
        folder::sync(self.path(id).parent().unwrap_or(&self.root))
    }

    /// Removes the object of this id; one that is not here is removed already.
    pub(crate) fn remove(&self, id: &[u8; 32]) -> io::Result<()> {
        remove_file(&self.path(id))
    }
}

/// Where the object of this id is in the cache at `root`.
pub(crate) fn path_in(root: &Path, id: &[u8; 32]) -> PathBuf {
    root.join(object_name(id))
}

/// Drafts of one follow.
pub(crate) fn drafts(root: &Path, queue: &QueueId) -> PathBuf {
    root.join("drafts").join(queue.to_string())
}

/// Opens a sealed file to nowhere: the whole value was checked against its reference.
pub(crate) fn check(sealed: &Path, reference: &ObjectReference) -> Result<(), CacheError> {
    let mut opener = ObjectOpener::new(reference)?;
    let mut file = open_sealed(sealed)?.ok_or(ObjectError::Altered)?;
    let (mut piece, mut value) = (vec![0; SEGMENT_BYTES], Vec::with_capacity(2 * SEGMENT_BYTES));
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(opener.finish()?);
        }
        opener.update(&piece[..count], &mut value)?;
        value.clear();
    }
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    gone(fs::remove_file(path))
}

/// Removes a folder and what is in it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    gone(fs::remove_dir_all(path))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
