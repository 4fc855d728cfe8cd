//! A look at a folder that another process may be writing: takes no lock, changes nothing, sees one moment.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ::rocksdb::{Cache, ColumnFamilyDescriptor, DB, Direction, ErrorKind, IteratorMode, Options, ReadOptions};
use tidings_proto::QueueId;

use super::super::{Cause, StoreError};
use super::RocksStore;
use super::folder::fault;
use super::keys::{self, Column, FORMAT};
use super::open::{self, OpenError, Settings};
use super::torn_write::first_gap;
use super::tuning::Tuning;
use super::writes::Writes;

/// A running broker may remove a file between the list of files and its opening; then the list is read again, after a pause in
/// which a burst of compactions gets ahead.
const TRIES: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);
/// What is damaged stays so, and each look at it may take long.
const LONGEST: Duration = Duration::from_secs(10);

impl RocksStore {
    /// Opens what `folder` holds at this moment, for reading alone: every write answers `Poisoned`. Reads the log into memory (at most
    /// what a broker lets it grow to, 64 MiB and what is being flushed) and holds every table open.
    ///
    /// # Errors
    /// See [`OpenError`]; never `Locked`.
    pub fn open_read_only(folder: &Path) -> Result<Self, OpenError> {
        let settings = Settings::default();
        let mut options = Tuning::default().database(&settings);
        options.create_if_missing(false);
        // A table that is open is not gone when the broker removes it.
        options.set_max_open_files(-1);
        let (mut tries, began) = (1, Instant::now());
        loop {
            match Self::look(folder, &options, &settings) {
                Err(OpenError::Io(_) | OpenError::Damaged(_)) if tries < TRIES && began.elapsed() < LONGEST => {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                opened => return opened,
            }
        }
    }

    fn look(folder: &Path, options: &Options, settings: &Settings) -> Result<Self, OpenError> {
        let cache = Cache::new_lru_cache(settings.block_cache_bytes);
        if let Some(fault) = fault(folder).map_err(open::unusable)? {
            return Err(open::damaged(&fault));
        }
        let names = DB::list_cf(options, folder)?;
        let tuning = Tuning::default();
        let columns = || names.iter().map(|name| ColumnFamilyDescriptor::new(name, tuning.column(open::column_of(name), &cache)));
        let db = open::or_torn(
            options,
            || first_gap(folder).ok()?,
            |options| DB::open_cf_descriptors_read_only(options, folder, columns(), false),
        )?;
        match open::format(&db)? {
            Some(FORMAT) => open::require_all(&db)?,
            Some(found) if found > FORMAT => return Err(OpenError::TooNew { found }),
            Some(found) => return Err(OpenError::Older { found }),
            None => return Err(open::damaged("rows without a format")),
        }
        Ok(Self { db, counted: None, writing: Mutex::new(Writes::stopped("opened only for reading")) })
    }

    /// Ids of the queues, ascending. One that cannot be read ends the list.
    pub fn queues(&self) -> impl Iterator<Item = Result<QueueId, StoreError>> + '_ {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        let rows = self.db.iterator_cf_opt(self.column(Column::Queues), options, IteratorMode::From(&[], Direction::Forward));
        let queues = rows.filter(|row| !matches!(row, Ok((key, _)) if keys::is_access_state(key)));
        queues.map(|row| {
            let (key, _) = row.map_err(failed)?;
            let id = <[u8; 32]>::try_from(&*key).map_err(|_| damaged("a key that is no queue's id"))?;
            Ok(QueueId::new(id))
        })
    }
}

fn failed(error: ::rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => damaged(&error.into_string()),
        _ => StoreError::Unavailable(Cause::new(error.into_string())),
    }
}

fn damaged(detail: &str) -> StoreError {
    StoreError::Damaged { queue: None, detail: detail.to_owned() }
}
