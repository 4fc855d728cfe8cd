//! A storage in a folder.
//!
//! An object appears whole under its name, by a rename after its content is synced; then the folder is synced. What a crash leaves
//! is named after the object it was to become, so that removing the object removes it too, and nothing has to be searched for.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tidings_client::folder::{self, Access};
use tidings_client::whole_file;
use tokio::io::AsyncReadExt;

use super::{Capabilities, Content, Driver, Name, Pending, Reading, StorageError};

/// Objects as files below a folder. One process writes it at a time; any number may read.
pub struct FileStorage {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    /// One writer for each name at a time: two would share a draft.
    writers: [Mutex<()>; WRITERS],
    hasher: RandomState,
    /// Those whose names are durable.
    folders: Mutex<HashSet<PathBuf>>,
}

/// Locks that names are spread over.
const WRITERS: usize = 64;
/// Piece in which a read hands out, bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// Ending of a file that is not an object yet. No name contains a dot.
const DRAFT: &str = "draft";
/// Ending of a file that is locked while the object beside it is exchanged. It is empty and stays.
const LOCK: &str = "lock";

impl FileStorage {
    /// Objects below `root`, which is created with the first of them.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let writers = std::array::from_fn(|_| Mutex::new(()));
        Self { inner: Arc::new(Inner { root: root.into(), writers, hasher: RandomState::new(), folders: Mutex::default() }) }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static) -> Result<T, StorageError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|_| StorageError::Unavailable("the write was given up".into()))?.map_err(|error| storage_error(&error))
    }
}

impl Inner {
    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn write(&self, name: &Name, content: &Content, keep: Keep) -> io::Result<()> {
        let path = self.path(name);
        let at = usize::try_from(self.hasher.hash_one(name)).unwrap_or_default() % WRITERS;
        let _writer = self.writers[at].lock().unwrap_or_else(PoisonError::into_inner);
        let parent = path.parent().expect("a name is below the root");
        self.make_folder(parent)?;
        // A name is made of the content's hash: a file of its length is the object.
        if keep == Keep::Existing && path.metadata().is_ok_and(|found| length(content).is_ok_and(|length| length == found.len())) {
            // Whoever gave it its name may have ended before that was durable.
            return folder::sync(parent);
        }
        let draft = draft_of(&path);
        // Half a draft on a full disk would keep the space that everything else waits for.
        write_draft(&draft, content).inspect_err(|_| drop(fs::remove_file(&draft)))?;
        fs::rename(&draft, &path)?;
        folder::sync(parent)
    }

    /// Under the lock of a file beside the object, so that two processes do not exchange it at once. What a network's file system
    /// makes of that is its own business; where it has no locks, the comparison stands directly before the write.
    fn exchange(&self, name: &Name, seen: Option<&[u8]>, content: Bytes) -> io::Result<bool> {
        let path = self.path(name);
        self.make_folder(path.parent().expect("a name is below the root"))?;
        let beside = path.with_extension(LOCK);
        whole_file::require_or_none(&beside).map_err(|error| named(&beside, &error))?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(beside)?;
        match lock.lock() {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            _ => {}
        }
        let longest = seen.map_or(0, <[u8]>::len).max(content.len());
        let found = match whole_file::read(&path, longest as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // One that is longer is neither of the two.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(false),
            found => Some(found.map_err(|error| named(&path, &error))?),
        };
        let fits = found.as_deref() == seen || found.as_deref() == Some(&content);
        if fits {
            self.write(name, &Content::Bytes(content), Keep::New)?;
        }
        Ok(fits)
    }

    /// Makes the folder of an object, durably, once in the life of this process: whoever made it before may have ended too early.
    fn make_folder(&self, parent: &Path) -> io::Result<()> {
        if self.folders().contains(parent) && parent.is_dir() {
            return Ok(());
        }
        folder::make(parent, Access::Usual)?;
        self.folders().insert(parent.to_owned());
        Ok(())
    }

    fn folders(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, name: &Name) -> io::Result<()> {
        let path = self.path(name);
        let removed = [path.clone(), draft_of(&path)].map(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        removed.into_iter().collect::<io::Result<()>>()?;
        // Nobody asks for it again: a removal that a power cut undid would leave the object for ever.
        match path.parent().map_or(Ok(()), folder::sync) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn list(&self, prefix: &Name) -> io::Result<Vec<Name>> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let (entry, path) = entry.map(|entry| {
                    let path = entry.path();
                    (entry, path)
                })?;
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else if let Some(name) = self.name(&path).filter(|name| name.is_below(prefix)) {
                    found.push(name);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn name(&self, path: &Path) -> Option<Name> {
        let relative = path.strip_prefix(&self.root).ok()?.to_str()?;
        Name::new(relative.replace(std::path::MAIN_SEPARATOR, "/")).ok()
    }
}

/// Whether a file that is there already is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Existing,
    New,
}

impl Driver for FileStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, consistent: true, list: true, write: true }
    }

    fn address(&self) -> String {
        format!("file://{}", self.inner.root.display())
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        let name = name.clone();
        Box::pin(self.blocking(move |inner| inner.write(&name, &content, Keep::Existing)))
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        let name = name.clone();
        Box::pin(self.blocking(move |inner| inner.write(&name, &Content::Bytes(content), Keep::New)))
    }

    fn exchange<'a>(&'a self, name: &'a Name, seen: Option<Bytes>, content: Bytes) -> Pending<'a, Result<bool, StorageError>> {
        let name = name.clone();
        Box::pin(self.blocking(move |inner| inner.exchange(&name, seen.as_deref(), content)))
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(async move {
            let path = self.inner.path(name);
            // Before it is opened: a pipe would be waited for without end.
            if !tokio::fs::metadata(&path).await.map_err(|error| storage_error(&error))?.is_file() {
                return Err(StorageError::Missing);
            }
            let file = tokio::fs::File::open(path).await.map_err(|error| storage_error(&error))?;
            let found = file.metadata().await.map_err(|error| storage_error(&error))?;
            if !found.is_file() {
                return Err(StorageError::Missing);
            }
            if found.len() > limit {
                return Err(StorageError::TooLarge);
            }
            Ok(Reading { size: found.len(), bytes: stream::try_unfold((file, limit), piece).boxed() })
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        let name = name.clone();
        Box::pin(self.blocking(move |inner| inner.remove(&name)))
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        let prefix = prefix.clone();
        Box::pin(self.blocking(move |inner| inner.list(&prefix)))
    }
}

type Rest = (tokio::fs::File, u64);

/// The next piece of a file; the file may grow while it is read.
async fn piece((mut file, limit): Rest) -> Result<Option<(Bytes, Rest)>, StorageError> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    let read = file.read_buf(&mut piece).await.map_err(|error| storage_error(&error))? as u64;
    let left = limit.checked_sub(read).ok_or(StorageError::TooLarge)?;
    Ok((read > 0).then(|| (piece.freeze(), (file, left))))
}

fn length(content: &Content) -> io::Result<u64> {
    match content {
        Content::Bytes(bytes) => Ok(bytes.len() as u64),
        Content::File(path) => Ok(fs::metadata(path)?.len()),
    }
}

fn draft_of(path: &Path) -> PathBuf {
    path.with_extension(DRAFT)
}

fn write_draft(draft: &Path, content: &Content) -> io::Result<()> {
    whole_file::require_or_none(draft).map_err(|error| named(draft, &error))?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(draft)?;
    match content {
        Content::Bytes(bytes) => file.write_all(bytes)?,
        Content::File(path) => drop(io::copy(&mut File::open(path)?, &mut file)?),
    }
    file.sync_all()
}

/// The same error with the name of the file.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn storage_error(error: &io::Error) -> StorageError {
    use io::ErrorKind::{
        InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    match error.kind() {
        NotFound => StorageError::Missing,
        PermissionDenied | ReadOnlyFilesystem | StorageFull | QuotaExceeded | NotADirectory | IsADirectory | InvalidInput => {
            StorageError::Refused(error.to_string())
        }
        _ => StorageError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, feed};

    use super::*;

    fn name() -> Name {
        Name::new("objects/0f/0f00").expect("a name")
    }

    #[tokio::test]
    async fn removing_an_object_removes_what_a_crash_left_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = FileStorage::new(folder.path());
        let draft = folder.path().join("objects/0f/0f00.draft");
        fs::create_dir_all(draft.parent().expect("a folder")).expect("created");
        fs::write(&draft, b"half").expect("written");
        storage.remove(&name()).await.expect("removed");
        assert!(!draft.exists());
    }

    #[tokio::test]
    async fn a_draft_is_no_object() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = FileStorage::new(folder.path());
        fs::write(folder.path().join("a.draft"), b"half").expect("written");
        assert_eq!(storage.read(&Name::new("a").expect("a name"), 9).await.err(), Some(StorageError::Missing));
        assert_eq!(storage.inner.list(&Name::new("a").expect("a name")).expect("listed"), []);
    }

    #[tokio::test]
    async fn an_object_that_a_disk_cut_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = FileStorage::new(folder.path());
        storage.create(&name(), Content::Bytes("whole".into())).await.expect("written");
        fs::write(folder.path().join("objects/0f/0f00"), b"wh").expect("cut");
        storage.create(&name(), Content::Bytes("whole".into())).await.expect("written");
        assert_eq!(fs::read(folder.path().join("objects/0f/0f00")).expect("read"), b"whole");
    }

    /// Whoever may write to the folder names its files: a listing knows those alone that an object can have.
    #[cfg(unix)]
    #[test]
    fn a_file_of_any_name_is_an_object_or_none() {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let storage = FileStorage::new("/storage");
        let honest = ["/storage/a", "/storage/objects/0f/0f00"].map(|path| path.as_bytes().to_vec());
        feed("file of a listing", Meal::LARGE, &honest, |bytes| {
            let name = storage.inner.name(&PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec())))?;
            let path = storage.inner.path(&name);
            // A path may be written with more separators than one: the file is the same.
            assert_eq!(path, PathBuf::from(std::ffi::OsStr::from_bytes(bytes)));
            Some(bytes.to_vec())
        });
    }

    /// A pipe in the place of the object that is exchanged was waited for without end, and a long file read whole.
    #[cfg(unix)]
    #[tokio::test]
    async fn whatever_takes_the_place_of_an_object_is_not_waited_for_and_not_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = FileStorage::new(folder.path());
        let (name, path) = (Name::new("head").expect("a name"), folder.path().join("head"));
        let exchange = || storage.exchange(&name, Some("old".into()), "new".into());
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("it runs").success());
        assert!(matches!(exchange().await, Err(StorageError::Refused(_))));
        fs::remove_file(&path).expect("removed");
        File::create(&path).and_then(|file| file.set_len(10 << 30)).expect("made");
        assert_eq!(exchange().await, Ok(false));
        fs::write(&path, "old and more").expect("written");
        assert_eq!(exchange().await, Ok(false));
        fs::write(&path, "old").expect("written");
        assert_eq!(exchange().await, Ok(true));
        assert_eq!(fs::read(&path).expect("read"), b"new");
    }
}
