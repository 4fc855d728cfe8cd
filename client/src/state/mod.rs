//! The durable state of one node: one file, and every step one transaction. [P-3, P-15]
//!
//! The file holds secrets (epoch secrets, pseudonym seeds, what was written), so only its owner may read it.

mod beside; // rows of the layer above
mod branches; // other branches of the own queue, and who wrote them
mod claim;
mod disk; // the file under it
mod error;
mod follows;
mod live; // what lives
mod mark; // whether this lies where it lay
mod migrate; // from older layouts
mod outbox; // what waits to be signed
mod own;
mod reader_store;
mod rebuild; // the own tables made anew
mod rewound; // rewinds that are not confirmed
mod rows;
mod sealed; // what the owner signed, byte for byte
mod tables;

pub(crate) use beside::put_rows;
pub use beside::{KeyAndValue, Row};
pub(crate) use branches::{DOUBTFUL_MAX, MergeRow, MergedReader, ReaderRow};
pub(crate) use claim::{Claim, Claimed};
pub use disk::StateFailure;
pub use error::StateError;
pub(crate) use follows::{About, FollowStep, FollowView};
pub(crate) use live::LiveTables;
pub(crate) use outbox::OutboxTables;
pub(crate) use own::{OwnStep, OwnView, Waiting, receipted, receipted_offset};
pub(crate) use reader_store::{FollowTables, Staged};
pub(crate) use rebuild::Rebuilt;
pub use rewound::Rewound;
pub(crate) use rows::{HandedOut, LossRow, PendingRow};
pub(crate) use sealed::SealedView;

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, StorageBackend, WriteTransaction};

use tokio::sync::Semaphore;

use disk::{Disk, Failures};

/// Layout of the tables. A file with a higher number is refused by name; an older one is migrated at opening.
pub const FORMAT: u32 = 5;

/// The durable state of one node. Clones are handles to the same one.
#[derive(Clone)]
pub struct State {
    database: Arc<Database>,
    claims: Arc<claim::Claims>,
    failures: Failures,
    /// What all follows together may have in memory of deltas that have not come whole, bytes.
    pub(crate) deltas: Arc<Semaphore>,
    /// Where the mark lies; `None` in memory.
    mark: Option<Arc<Path>>,
}

/// What redb may keep in memory, bytes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Of deltas that have not come whole, bytes; above that they are written.
const DELTAS_BYTES: usize = 64 * 1024 * 1024;

impl State {
    /// Opens the state at `path`, or creates it with mode 0600 if there is no file.
    ///
    /// # Errors
    /// `Locked` while another process has it open, `TooNew` if a newer build wrote it, `Damaged` if it is not a whole
    /// state. An existing file is never replaced.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        if !path.try_exists()? {
            create(path)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() == 0 {
            return Err(StateError::Damaged(format!("{} is empty", path.display())));
        }
        let over = Self::over(path, FileBackend::new(file).map_err(|error| StateError::opening(path, error))?)?;
        let state = Self { mark: Some(path.with_extension("mark").into()), ..over };
        state.check_format()?;
        Ok(state)
    }

    /// How it failed, if it did: then nothing more is changed or shown until it is opened anew, here or in another process.
    pub fn failure(&self) -> Option<StateFailure> {
        self.failures.first()
    }

    /// A state that ends with the last handle. For tests and examples.
    pub fn in_memory() -> Result<Self, StateError> {
        let state = Self::over(Path::new("memory"), InMemoryBackend::new())?;
        tables::create(&state.database)?;
        Ok(state)
    }

    fn over(path: &Path, file: impl StorageBackend) -> Result<Self, StateError> {
        let failures = Failures::default();
        let disk = Disk::new(file, failures.clone());
        // Checked whole: a page that rotted must be an error here and not a wrong number signed later.
        let opened = Database::builder().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create_with_backend(disk);
        let database = opened.map_err(|error| StateError::opening(path, error))?;
        let deltas = Arc::new(Semaphore::new(DELTAS_BYTES));
        Ok(Self { database: Arc::new(database), claims: Arc::default(), failures, deltas, mark: None })
    }

    /// Takes what only one task of this process may do; `None` if another one has it.
    pub(crate) fn claim(&self, claim: Claim) -> Option<Claimed> {
        Claimed::take(&self.claims, claim)
    }

    fn check_format(&self) -> Result<(), StateError> {
        match self.read(tables::format)? {
            FORMAT => Ok(()),
            older @ 1..FORMAT => migrate::migrate(&self.database, older),
            found if found > FORMAT => Err(StateError::TooNew { found }),
            found => Err(StateError::Damaged(format!("there never was a format {found}"))),
        }
    }

    /// One consistent snapshot, for as long as it is kept. The file keeps what it shows.
    pub(crate) fn snapshot(&self) -> Result<ReadTransaction, StateError> {
        self.database.begin_read().map_err(|error| self.unused(error.into()))
    }

    /// Looks at one consistent snapshot.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&ReadTransaction) -> Result<T, StateError>) -> Result<T, StateError> {
        look(&self.snapshot()?)
    }

    /// Changes what `change` changes, durably and whole, or nothing.
    pub(crate) fn write<T, E: From<StateError>>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T, E>) -> Result<T, E> {
        self.write_with(|transaction| Ok((change(transaction)?, Keep::Durably)))
    }

    /// The same, but `change` decides whether a crash may lose it: only what can be fetched again may be lost. A lost change
    /// takes those after it along.
    pub(crate) fn write_with<T, E: From<StateError>>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(T, Keep), E>,
    ) -> Result<T, E> {
        let mut transaction = self.database.begin_write().map_err(|error| self.unused(error.into()))?;
        let (done, keep) = change(&transaction)?;
        let durability = match keep {
            Keep::Durably => Durability::Immediate,
            Keep::UntilCrash => Durability::None,
            Keep::Nothing => {
                transaction.abort().map_err(StateError::from)?;
                return Ok(done);
            }
        };
        transaction.set_durability(durability).map_err(StateError::from)?;
        transaction.commit().map_err(|error| self.uncommitted(error.into()))?;
        Ok(done)
    }
}

impl State {
    /// Why nothing is begun after a failure: of one for want of space its reason is told again.
    fn unused(&self, error: StateError) -> StateError {
        match (self.failures.first(), error) {
            (Some(failure), StateError::Failed) => failure.into(),
            (_, error) => error,
        }
    }

    /// What a commit that failed means for the change.
    fn uncommitted(&self, error: StateError) -> StateError {
        match (self.failures.first(), error) {
            (Some(StateFailure::Sync), StateError::Io(error) | StateError::Full(error)) => StateError::Unsynced(error),
            (_, error) => error,
        }
    }
}

/// Whether a change survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Durably,
    UntilCrash,
    /// Nothing was changed.
    Nothing,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

/// A new file appears whole under its name or not at all: a half-made one would look like a damaged state.
fn create(path: &Path) -> Result<(), StateError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let made = make_draft(&draft).and_then(|()| Ok(fs::hard_link(&draft, path)?));
    fs::remove_file(&draft)?;
    match made {
        Ok(()) => Ok(File::open(parent)?.sync_all()?),
        // Another process was faster; its file is as good.
        Err(StateError::Io(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn make_draft(draft: &Path) -> Result<(), StateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(draft)?;
    let backend = FileBackend::new(file).map_err(|error| StateError::opening(draft, error))?;
    let database = Database::builder().create_with_backend(backend).map_err(|error| StateError::opening(draft, error))?;
    tables::create(&database)
}

/// Whether `path` is `prefix` or below it. An empty prefix or `/` is above all.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
