//! What only a store on a disk can show: it is opened again, copied, locked, limited and damaged.

mod branches;
mod cost;
mod counted;
mod damage;
mod formats;
mod logs;
mod read_only;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tidings_proto::HeadNumber;

use super::super::conformance::{self, publisher::Publisher};
use super::*;

/// Set for a test that runs itself again in another process: the folder to use there.
const FOLDER: &str = "TIDINGS_TEST_FOLDER";
const EVERYTHING: ScanLimit = ScanLimit { entries: usize::MAX, bytes: usize::MAX };

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

fn open(folder: &Path) -> RocksStore {
    RocksStore::open(folder, &Settings::default()).expect("the folder opens")
}

fn refusal(folder: &Path) -> OpenError {
    RocksStore::open(folder, &Settings::default()).expect_err("the folder does not open")
}

fn owner(id: u8) -> Publisher {
    Publisher::new(QueueId::new([id; 32]))
}

fn entries(store: &RocksStore, owner: &Publisher) -> Result<usize, StoreError> {
    store.scan(&owner.queue, Offset::ZERO, EVERYTHING).map(|scan| scan.map_or(0, |scan| scan.entries.len()))
}

/// Makes a store in a new folder each time.
fn maker(parent: &TempDir) -> impl Fn() -> RocksStore {
    let (parent, made) = (parent.path().to_owned(), AtomicUsize::new(0));
    move || open(&parent.join(made.fetch_add(1, Ordering::Relaxed).to_string()))
}

/// Files of `folder` with this extension, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).expect("the folder is there").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

fn flip(file: &Path, place: usize) {
    let mut bytes = std::fs::read(file).expect("the file is there");
    bytes[place] ^= 0x80;
    std::fs::write(file, bytes).expect("the file can be written");
}

/// Runs the test of this name again in another process, through `shell` with the program as `$0` and its arguments behind.
fn again(test: &str, shell: &str, folder: &Path) -> (bool, String) {
    let program = std::env::current_exe().expect("the test program");
    let name = format!("store::rocksdb::tests::{test}");
    let output = Command::new("sh").arg("-c").arg(shell).arg(program).args(["--exact", &name, "--nocapture"]).env(FOLDER, folder).output();
    let output = output.expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success() && text.contains("1 passed"), text)
}

fn given_folder() -> Option<OsString> {
    std::env::var_os(FOLDER)
}

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).expect("the folder is there") {
        let path = file.expect("a file").path();
        std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
}

#[test]
fn it_keeps_every_promise_of_a_store() {
    let parent = folder();
    conformance::suite(maker(&parent));
}

#[test]
fn it_keeps_them_when_it_is_opened_again() {
    let parent = folder();
    conformance::suite_reopened(maker(&parent), |store| {
        let path = store.db.path().to_owned();
        drop(store);
        open(&path)
    });
}

#[test]
fn it_keeps_them_when_everything_is_compacted() {
    let parent = folder();
    conformance::suite_reopened(maker(&parent), |store| {
        compact(&store);
        store
    });
}

/// The files as they are while the store runs are what a killed process leaves. [P-7]
#[test]
fn what_was_answered_survives_a_killed_process() {
    let (running, left) = (folder(), folder());
    let (store, mut owner) = (open(running.path()), owner(5));
    store.append(&[owner.records(3)]).expect("a write");
    store.acknowledge(&[owner.acked(1, 1, 1)]).expect("a write");
    copy(running.path(), left.path());
    let found = open(left.path());
    assert_eq!(entries(&found, &owner), Ok(3));
    assert_eq!(found.acknowledgements(&owner.queue), store.acknowledgements(&owner.queue));
}

/// A copy of the files cannot tell what reached the disk, so the syncs are counted. [P-7]
#[test]
fn every_write_is_synced_before_it_is_answered() {
    let folder = folder();
    let counting = Tuning { counts: true, ..Tuning::default() };
    let store = RocksStore::open_tuned(folder.path(), &Settings::default(), &counting).expect("the folder opens");
    let mut owner = owner(5);
    let before = store.figures().done.syncs;
    store.append(&[owner.records(1), owner.records(1)]).expect("a write");
    store.acknowledge(&[owner.acked(1, 1, 1)]).expect("a write");
    assert_eq!(store.figures().done.syncs - before, 2);
}

#[test]
fn a_second_store_on_the_folder_is_locked_out() {
    let folder = folder();
    let _running = open(folder.path());
    assert_eq!(refusal(folder.path()), OpenError::Locked);
}

#[test]
fn another_process_on_the_folder_is_locked_out() {
    if let Some(folder) = given_folder() {
        return assert_eq!(refusal(Path::new(&folder)), OpenError::Locked);
    }
    let folder = folder();
    let _running = open(folder.path());
    let (passed, output) = again("another_process_on_the_folder_is_locked_out", r#"exec "$0" "$@""#, folder.path());
    assert!(passed, "{output}");
}

/// [P-20]
#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = folder();
    open(folder.path()).db.put(keys::FORMAT_KEY, (keys::FORMAT + 1).to_be_bytes()).expect("a write");
    assert_eq!(refusal(folder.path()), OpenError::TooNew { found: keys::FORMAT + 1 });
}

#[test]
fn a_newer_format_with_column_families_of_its_own_is_refused_by_name_too() {
    let folder = folder();
    let mut store = open(folder.path());
    store.db.create_cf("pulses", &::rocksdb::Options::default()).expect("a column family");
    store.db.put(keys::FORMAT_KEY, 9_u32.to_be_bytes()).expect("a write");
    drop(store);
    assert_eq!(refusal(folder.path()), OpenError::TooNew { found: 9 });
}

/// The store of a build before former readers were remembered.
#[test]
fn a_folder_of_format_1_is_taken_over_as_it_is() {
    let folder = folder();
    let (mut store, mut owner) = (open(folder.path()), owner(5));
    store.append(&[owner.records(3)]).expect("a write");
    store.db.drop_cf(Column::Removed.name()).expect("a column family to lose");
    store.db.put(keys::FORMAT_KEY, 1_u32.to_be_bytes()).expect("a write");
    drop(store);
    drop(open(folder.path()));
    let store = open(folder.path());
    assert_eq!((entries(&store, &owner), store.was_removed(&owner.queue, &Pseudonym::ZERO)), (Ok(3), Ok(false)));
}

#[test]
fn a_creation_cut_short_is_gone_on_with() {
    let folder = folder();
    open(folder.path()).db.delete(keys::FORMAT_KEY).expect("a write");
    let store = open(folder.path());
    assert_eq!(store.append(&[owner(5).records(1)]), Ok(()));
}

#[test]
fn rows_without_a_format_are_damage() {
    let folder = folder();
    let store = open(folder.path());
    store.append(&[owner(5).records(1)]).expect("a write");
    store.db.delete(keys::FORMAT_KEY).expect("a write");
    drop(store);
    assert!(matches!(refusal(folder.path()), OpenError::Damaged(_)));
}

#[test]
fn settings_reach_the_database() {
    let folder = folder();
    let store = RocksStore::open(folder.path(), &Settings { block_cache_bytes: 9 << 20, open_files_max: 77 }).expect("the folder opens");
    assert_eq!(store.db.property_int_value("rocksdb.block-cache-capacity"), Ok(Some(9 << 20)));
    let options = std::fs::read_dir(folder.path()).expect("the folder").filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
    assert!(options.into_iter().any(|text| text.contains("max_open_files=77")));
}

/// The lower bound rises over what was deleted, and does not stay below what is live.
#[test]
fn a_scan_begins_at_the_first_live_entry() {
    let folder = folder();
    let (store, mut owner) = (open(folder.path()), owner(5));
    let first =
        |store: &RocksStore, owner: &Publisher| store.view(&owner.queue).standing().expect("a read").expect("a queue").first.value();
    store.append(&[owner.records(4), owner.purge(&[Birth::new(2)])]).expect("a write");
    assert_eq!(first(&store, &owner), 1);
    store.append(&[owner.publish(&[Some(Birth::new(1))])]).expect("a write");
    assert_eq!(first(&store, &owner), 3);
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_any_more() {
    if let Some(folder) = given_folder() {
        return write_until_the_disk_is_full(Path::new(&folder));
    }
    // Files of at most 1 MiB stand for a full disk; the signal that comes with the error is ignored.
    let shell = r#"trap '' XFSZ; ulimit -f 2048; exec "$0" "$@""#;
    let folder = folder();
    let (passed, output) = again("after_a_failed_write_nothing_is_acknowledged_any_more", shell, folder.path());
    assert!(passed, "{output}");
}

fn write_until_the_disk_is_full(folder: &Path) {
    let (store, mut owner) = (open(folder), owner(5));
    let failed = std::iter::repeat_with(|| store.append(&[owner.records(100)])).take(1_000).find(Result::is_err);
    assert!(matches!(failed, Some(Err(StoreError::Indeterminate(_)))), "{failed:?}");
    let stands = store.queue(&owner.queue).expect("reads go on").expect("the queue is there");
    assert_eq!(store.append(&[owner.records(1)]), Err(StoreError::Poisoned));
    assert_eq!(store.acknowledge(&[owner.acked(1, 1, 1)]), Err(StoreError::Poisoned));
    assert_eq!(store.queue(&owner.queue), Ok(Some(stands)));
}

fn compact(store: &RocksStore) {
    store.flush().expect("a flush");
    store.compact();
}

/// Two queues with many entries in one table, the first of which was damaged on the disk.
fn damaged_table(folder: &Path) -> (RocksStore, Publisher, Publisher) {
    let (store, mut broken, mut whole) = (open(folder), owner(1), owner(9));
    store.append(&[broken.records(1_000), whole.records(1_000)]).expect("a write");
    compact(&store);
    let tables = store.db.live_files().expect("a list of tables");
    let table = tables.into_iter().find(|table| table.column_family_name == Column::Entries.name()).expect("a table of entries");
    drop(store);
    flip(&folder.join(table.name.trim_start_matches('/')), 1_000);
    (open(folder), broken, whole)
}

#[test]
fn damage_to_one_queue_is_named_and_the_others_are_served() {
    let folder = folder();
    let (store, broken, whole) = damaged_table(folder.path());
    let damaged = entries(&store, &broken);
    assert!(matches!(&damaged, Err(StoreError::Damaged { queue: Some(queue), .. }) if *queue == broken.queue), "{damaged:?}");
    assert_eq!(entries(&store, &whole), Ok(1_000));
}

#[test]
fn a_queue_beside_a_damaged_one_goes_on() {
    let folder = folder();
    let (store, _broken, mut whole) = damaged_table(folder.path());
    store.append(&[whole.records(1)]).expect("a write");
    assert_eq!(entries(&store, &whole), Ok(1_001));
}

#[test]
fn a_compaction_that_meets_damage_ends_all_writing_but_no_reading() {
    let folder = folder();
    let (store, mut broken, mut whole) = damaged_table(folder.path());
    store.append(&[broken.records(1), whole.records(1)]).expect("a write");
    // Either may say what it met, or a compaction in the background may have met it before.
    let _flushed = store.db.flush_cf(store.column(Column::Entries));
    store.db.compact_range_cf(store.column(Column::Entries), None::<&[u8]>, None::<&[u8]>);
    assert!(matches!(store.append(&[whole.records(1)]), Err(StoreError::Indeterminate(_))));
    assert_eq!(store.append(&[whole.records(1)]), Err(StoreError::Poisoned));
    assert_eq!(entries(&store, &whole), Ok(1_001));
}

#[test]
fn a_missing_table_is_named() {
    let folder = folder();
    drop(damaged_table(folder.path()));
    for table in files(folder.path(), "sst") {
        std::fs::remove_file(table).expect("a table to lose");
    }
    assert!(matches!(refusal(folder.path()), OpenError::Damaged(cause) if cause.to_string().contains(".sst")));
}

#[test]
fn a_damaged_manifest_is_named() {
    let folder = folder();
    drop(damaged_table(folder.path()));
    let all = std::fs::read_dir(folder.path()).expect("the folder").map(|file| file.expect("a file").path());
    let manifest = all.into_iter().find(|path| path.to_string_lossy().contains("MANIFEST-")).expect("a manifest");
    flip(&manifest, 100);
    assert!(matches!(refusal(folder.path()), OpenError::Damaged(_)));
}

#[test]
fn a_row_that_does_not_parse_is_damage_to_its_queue() {
    let folder = folder();
    let (store, mut owner) = (open(folder.path()), owner(5));
    store.db.put_cf(store.column(Column::Queues), owner.queue.bytes(), b"\x01rubbish").expect("a write");
    assert!(matches!(store.queue(&owner.queue), Err(StoreError::Damaged { queue: Some(_), .. })));
    assert!(matches!(store.append(&[owner.records(1)]), Err(StoreError::Damaged { queue: Some(_), .. })));
}

/// A folder whose log holds `publishes` publishes, the log, and where in it each but the first begins.
fn log_of(publishes: u64) -> (TempDir, PathBuf, Publisher, Vec<usize>) {
    let (folder, mut owner) = (folder(), owner(5));
    let store = open(folder.path());
    let log = files(folder.path(), "log").pop().expect("a log");
    let length = || std::fs::metadata(&log).expect("the log").len() as usize;
    let mut places = Vec::new();
    for _ in 0..publishes {
        places.push(length());
        store.append(&[owner.records(1)]).expect("a write");
    }
    drop(store);
    (folder, log, owner, places)
}

fn number(store: &RocksStore, owner: &Publisher) -> Option<HeadNumber> {
    let row = store.queue(&owner.queue).expect("a read")?;
    Some(tidings_core::SignedHead::parse(row.head).expect("a head").rank().number)
}

#[test]
fn a_log_that_ends_inside_a_write_loses_that_write_only() {
    let (folder, log, owner, places) = log_of(3);
    let file = std::fs::OpenOptions::new().write(true).open(&log).expect("the log");
    file.set_len(places[2] as u64 + 100).expect("a shorter log");
    assert_eq!(number(&open(folder.path()), &owner), Some(HeadNumber::new(2)));
}

/// Whichever byte of an acknowledged write is damaged: the store does not open as if that write had never been.
#[test]
fn a_damaged_byte_in_the_middle_of_the_log_is_named() {
    let (folder, log, _owner, places) = log_of(3);
    let bytes = std::fs::read(&log).expect("the log");
    for place in (places[1]..places[1] + 16).chain((places[1]..places[2]).step_by(501)) {
        flip(&log, place);
        let copied = self::folder();
        copy(folder.path(), copied.path());
        assert!(matches!(refusal(copied.path()), OpenError::Damaged(_)), "byte {place}");
        std::fs::write(&log, &bytes).expect("the log is mended");
    }
}
