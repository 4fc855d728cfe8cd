//! Opening a folder: settings, the lock, the format.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use ::rocksdb::{Cache, ColumnFamilyDescriptor, DB, DBRecoveryMode, ErrorKind, IteratorMode, Options, WriteOptions};

use super::super::Cause;
use super::RocksStore;
use super::damages::Damages;
use super::folder::fault;
use super::keys::{Column, FORMAT, FORMAT_KEY};
use super::log_tail::damaged_log;
use super::torn_write::{Gap, first_gap};
use super::tuning::Tuning;
use super::writes::Writes;

const MIB: usize = 1024 * 1024;

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Memory for what was read lately, with indexes and filters; bytes.
    pub block_cache_bytes: usize,
    /// Table files held open at once.
    pub open_files_max: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { block_cache_bytes: 64 * MIB, open_files_max: 256 }
    }
}

/// Why a folder was not opened. No row in it was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another broker runs on this folder.
    #[error("another broker runs on this folder")]
    Locked,
    /// A newer build wrote this folder.
    #[error("the folder has format {found}; this build reads format {FORMAT} and older")]
    TooNew {
        /// Its format.
        found: u32,
    },
    /// An older build wrote this folder, and it was opened only for reading.
    #[error("the folder has format {found}; the broker takes it over when it starts")]
    Older {
        /// Its format.
        found: u32,
    },
    /// What is stored cannot be read: a log or manifest is damaged, or a part is missing.
    #[error("stored data is damaged")]
    Damaged(#[source] Cause),
    /// The folder cannot be read or written.
    #[error("the folder cannot be used")]
    Io(#[source] Cause),
}

impl From<::rocksdb::Error> for OpenError {
    fn from(error: ::rocksdb::Error) -> Self {
        let (kind, text) = (error.kind(), error.into_string());
        match kind {
            // RocksDB has no kind for this: another process ("While lock file") or this one ("lock hold by current process").
            ErrorKind::IOError if text.contains("lock file") || text.contains("lock hold by") => Self::Locked,
            ErrorKind::Corruption => Self::Damaged(Cause::new(text)),
            _ => Self::Io(Cause::new(text)),
        }
    }
}

impl RocksStore {
    /// Opens the store in `folder`, or makes one there. Takes a moment for each 10 MB of log that a crash left.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, settings: &Settings) -> Result<Self, OpenError> {
        Self::open_tuned(folder, settings, &Tuning::default())
    }

    /// As [`RocksStore::open`], with another tuning, which may change each time.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_tuned(folder: &Path, settings: &Settings, tuning: &Tuning) -> Result<Self, OpenError> {
        let options = &tuning.database(settings);
        let cache = Cache::new_lru_cache(settings.block_cache_bytes);
        // What is there is opened and its format read before anything is added to it.
        if let Some(fault) = fault(folder).map_err(unusable)? {
            return Err(damaged(&fault));
        }
        // The logs are gone once they were read.
        let gap = if folder.join("CURRENT").exists() { first_gap(folder).map_err(unusable)? } else { None };
        let mut names: BTreeSet<String> = BTreeSet::from([Column::Meta.name().to_owned()]);
        if folder.join("CURRENT").exists() {
            if let Some(log) = damaged_log(folder).map_err(unusable)? {
                return Err(damaged(&format!("{log}: whole writes behind one that does not end")));
            }
            names.extend(DB::list_cf(options, folder)?);
        }
        let columns = || names.iter().map(|name| ColumnFamilyDescriptor::new(name, tuning.column(column_of(name), &cache)));
        let mut db = or_torn(options, || gap.clone(), |options| DB::open_cf_descriptors(options, folder, columns()))?;
        gap.inspect(left_out);
        // RocksDB removed the logs that it read. If a power cut brought one back, its torn end would stand before whole writes.
        crate::folder::sync(folder).map_err(unusable)?;
        match format(&db)? {
            Some(found) if found > FORMAT => return Err(OpenError::TooNew { found }),
            Some(FORMAT) => require_all(&db)?,
            Some(2) => require_all(&db).and_then(|()| Ok(db.put_opt(FORMAT_KEY, FORMAT.to_be_bytes(), &synced())?))?,
            Some(_) => migrate(&mut db, &names, |column| tuning.column(Some(column), &cache))?,
            None => create(&mut db, &names, |column| tuning.column(Some(column), &cache))?,
        }
        let counted = tuning.counts.then(|| options.clone());
        Ok(Self { db, counted, damages: Some(Damages::default()), writing: Mutex::new(Writes::taken()) })
    }
}

/// Opens a store; where its last write is there only in part, without that write. Asks for the gap in its logs only if it is damaged.
pub(super) fn or_torn(
    options: &Options,
    gap: impl FnOnce() -> Option<Gap>,
    open: impl Fn(&Options) -> Result<DB, ::rocksdb::Error>,
) -> Result<DB, OpenError> {
    let error = match open(options) {
        Err(error) if error.kind() == ErrorKind::Corruption => error,
        opened => return Ok(opened?),
    };
    match gap() {
        Some(gap) if gap.is_torn => {
            let mut options = options.clone();
            // Stops in silence at the first irregularity, which is that write: it was looked at.
            options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
            Ok(open(&options)?)
        }
        // RocksDB names every file but a log.
        Some(gap) if !error.as_ref().contains('/') => Err(damaged(&format!("{}, from byte {} on: {error}", gap.log, gap.bytes.start))),
        _ => Err(error.into()),
    }
}

/// Tells the operator what an open store was opened without.
fn left_out(gap: &Gap) {
    tracing::warn!(
        log = gap.log,
        from = gap.bytes.start,
        bytes = gap.bytes.end - gap.bytes.start,
        "the end of the log does not read as whole writes, as a crash leaves it, and was left out; what was receipted and is missing now, \
         its owner brings again when it connects"
    );
}

pub(super) fn column_of(name: &str) -> Option<Column> {
    Column::ALL.into_iter().find(|column| column.name() == name)
}

pub(super) fn format(db: &DB) -> Result<Option<u32>, OpenError> {
    let Some(bytes) = db.get(FORMAT_KEY)? else { return Ok(None) };
    let number = bytes.try_into().map_err(|_| damaged("the format is no number"))?;
    Ok(Some(u32::from_be_bytes(number)))
}

pub(super) fn require_all(db: &DB) -> Result<(), OpenError> {
    match Column::ALL.iter().find(|column| db.cf_handle(column.name()).is_none()) {
        Some(column) => Err(damaged(&format!("column family {} is missing", column.name()))),
        None => Ok(()),
    }
}

/// Adds what is missing, the format last, so that a creation cut short is gone on with and never taken for a whole one.
fn create(db: &mut DB, names: &BTreeSet<String>, options: impl Fn(Column) -> Options) -> Result<(), OpenError> {
    for name in names {
        let column = db.cf_handle(name).ok_or_else(|| damaged("a column family vanished"))?;
        if column_of(name).is_none() || db.iterator_cf(column, IteratorMode::Start).next().is_some() {
            return Err(damaged("rows without a format"));
        }
    }
    add_missing(db, names, options)
}

/// From format 1: nobody was remembered as a former reader, so whoever was removed then is a stranger now.
fn migrate(db: &mut DB, names: &BTreeSet<String>, options: impl Fn(Column) -> Options) -> Result<(), OpenError> {
    let lost = |column: &Column| *column != Column::Removed && !names.contains(column.name());
    match Column::ALL.iter().find(|column| lost(column)) {
        Some(column) => Err(damaged(&format!("column family {} is missing", column.name()))),
        None => add_missing(db, names, options),
    }
}

/// The format last, so that one cut short is gone on with.
fn add_missing(db: &mut DB, names: &BTreeSet<String>, options: impl Fn(Column) -> Options) -> Result<(), OpenError> {
    for column in Column::ALL.into_iter().filter(|column| !names.contains(column.name())) {
        db.create_cf(column.name(), &options(column))?;
    }
    Ok(db.put_opt(FORMAT_KEY, FORMAT.to_be_bytes(), &synced())?)
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

pub(super) fn unusable(error: io::Error) -> OpenError {
    OpenError::Io(Cause::new(error.to_string()))
}

pub(super) fn damaged(detail: &str) -> OpenError {
    OpenError::Damaged(Cause::new(detail))
}
