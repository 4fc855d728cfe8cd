//! A look at a folder that another process may be writing: takes no lock, changes nothing, sees one moment.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ::rocksdb::{Cache, ColumnFamilyDescriptor, DB, ErrorKind, Options, ReadOptions};
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
        Ok(Self { db, counted: None, damages: None, writing: Mutex::new(Writes::stopped("opened only for reading")) })
    }

    /// Ids of the queues, ascending. Where the rows of queues are damaged, those that have a reader are found by it, and every queue's owner
    /// is one; that damage is the last item.
    pub fn queues(&self) -> impl Iterator<Item = Result<QueueId, StoreError>> + '_ {
        let (mut last, mut damage, mut ended) = (None, None, false);
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let found = self.queue_behind(Column::Queues, last).or_else(|error| {
                damage.get_or_insert(error);
                self.queue_behind(Column::Access, last)
            });
            match found {
                Ok(Some(queue)) => {
                    last = Some(queue);
                    Some(Ok(queue))
                }
                Ok(None) | Err(_) => {
                    ended = true;
                    damage.take().map(Err)
                }
            }
        })
    }

    /// The first queue that has a row in `column`, of those behind `last`.
    fn queue_behind(&self, column: Column, last: Option<QueueId>) -> Result<Option<QueueId>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        options.set_total_order_seek(true);
        let mut rows = self.db.raw_iterator_cf_opt(self.column(column), options);
        match last {
            Some(last) => rows.seek(keys::above(&last)),
            None => rows.seek_to_first(),
        }
        rows.status().map_err(failed)?;
        let id = |key: &[u8]| key.first_chunk().copied().map(QueueId::new).ok_or_else(|| damaged("a key without a queue's id"));
        rows.key().map(id).transpose()
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
