//! A process ends between any two steps: nothing that was done is lost, nothing that is needed is removed, and nothing is left.
//!
//! This binary runs itself again as the process that ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidings_client::{Nowhere, Publisher, PublisherConfig, State};
use tidings_datastore::own::{FailHook, FailPoint};
use tidings_datastore::storage::faulty::{Fault, Faults};
use tidings_datastore::storage::{Capabilities, Content, Driver, Faulty, FileStorage, Name, Pending, Reading, StorageError};
use tidings_datastore::{Datastore, DatastoreConfig, Source, object_name};

use crate::{key, large, path, value};

const HOME: &str = "TIDINGS_TEST_HOME";
const POINT: &str = "TIDINGS_TEST_POINT";
const TURN: &str = "TIDINGS_TEST_TURN";
/// In the place of a point: the process ends while a file is written in storage.
const TORN: &str = "Torn";

/// One step of the process, in the order in which it takes them.
#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, u8),
    PutRefused(&'static str, u8),
    Delete(&'static str),
    Import,
    Collect,
}

const STEPS: [Step; 11] = [
    Step::Put("/a", 1),
    Step::Put("/b", 2),
    Step::Put("/a", 3),
    Step::PutRefused("/a", 4),
    Step::Delete("/b"),
    Step::Put("/c", 5),
    Step::Import,
    Step::Collect,
    Step::Import,
    Step::Put("/b", 6),
    Step::Collect,
];

/// Files of the folder that is imported: every second one needs an object.
const FILES: usize = 9;

fn file_value(at: usize) -> Bytes {
    vec![100 + at as u8; if at.is_multiple_of(2) { 6_000 } else { 50 }].into()
}

#[test]
fn a_crash_at_any_point_loses_and_leaves_nothing() {
    let unsettled = [FailPoint::SettleChecked, FailPoint::SettleReleased];
    for point in FailPoint::ALL.iter().filter(|point| !unsettled.contains(point)) {
        for turn in 1..=2 {
            let home = home();
            let crashed = run(home.path(), &format!("{point:?}"), turn);
            assert!(crashed || turn == 2, "{point:?} was not reached");
            check(home.path(), &format!("{point:?} for the {turn}. time"));
        }
    }
}

#[test]
fn a_crash_while_settling_a_crash_loses_and_leaves_nothing() {
    for point in [FailPoint::SettleChecked, FailPoint::SettleReleased] {
        let home = home();
        assert!(run(home.path(), "PutStored", 3) && run(home.path(), &format!("{point:?}"), 1), "{point:?} was not reached");
        check(home.path(), &format!("{point:?}"));
    }
}

#[test]
fn a_crash_in_the_middle_of_a_file_leaves_nothing_of_it() {
    for turn in 1..=6 {
        let home = home();
        assert!(run(home.path(), TORN, turn), "there are as many objects");
        check(home.path(), &format!("torn for the {turn}. time"));
    }
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join("files")).expect("a folder");
    for at in 0..FILES {
        fs::write(home.path().join(format!("files/{at}")), file_value(at)).expect("a file");
    }
    home
}

/// Runs the process; gives whether it ended where it was told to.
fn run(home: &Path, point: &str, turn: u64) -> bool {
    let this = std::env::current_exe().expect("this binary");
    let mut process = Command::new(this);
    process.args(["--exact", "crashes::the_process", "--nocapture"]);
    let output = process.env(HOME, home).env(POINT, point).env(TURN, turn.to_string()).output().expect("it runs");
    if output.status.success() {
        return false;
    }
    let aborted = output.status.code().is_none();
    assert!(aborted, "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Not a test by itself: what runs in the process that ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else { return };
    let point = std::env::var(POINT).expect("a point");
    let left = AtomicU64::new(std::env::var(TURN).expect("a turn").parse().expect("a number"));
    let torn = (point == TORN).then(|| left.load(Ordering::Relaxed));
    let hook: FailHook = Arc::new(move |reached| {
        if format!("{reached:?}") == point && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    });
    let storage = Torn { inner: FileStorage::new(home.join("storage")), root: home.join("storage"), left: torn.map(AtomicU64::new) };
    let storage = Arc::new(Faulty::new(Arc::new(storage), [1; 32], Faults::NONE));
    let (datastore, _) = open(&home, storage.clone(), Some(hook)).await;
    for step in &STEPS {
        take(step, &home, &datastore, &storage).await;
        let mut done = OpenOptions::new().create(true).append(true).open(home.join("done")).expect("a file");
        done.write_all(b".").expect("written");
    }
}

async fn take(step: &Step, home: &Path, datastore: &Datastore, storage: &Faulty) {
    match step {
        Step::Put(at, fill) => drop(datastore.put(path(at), Source::Bytes(large(*fill)), String::new()).await.expect("put")),
        Step::PutRefused(at, fill) => {
            storage.fail_next(Fault::AnswerLost);
            assert!(datastore.put(path(at), Source::Bytes(large(*fill)), String::new()).await.is_err());
        }
        Step::Delete(at) => drop(datastore.delete(path(at)).await.expect("deleted")),
        Step::Import => drop(datastore.import(&home.join("files"), "/in", &mut |_| {}).await.expect("imported")),
        Step::Collect => drop(datastore.collect().await.expect("collected")),
    }
}

async fn open(home: &Path, storage: Arc<dyn Driver>, fail_hook: Option<FailHook>) -> (Datastore, Publisher) {
    let state = State::open(&home.join("state.redb")).expect("a state");
    let publisher = Publisher::open(state.clone(), key(), PublisherConfig::new(Arc::new(Nowhere), Vec::new())).expect("a publisher");
    let config = DatastoreConfig { grace: Duration::ZERO, fail_hook, ..DatastoreConfig::new(storage, home.join("spool")) };
    (Datastore::open(state, publisher.clone(), config).await.expect("a datastore"), publisher)
}

/// What the next process finds.
fn check(home: &Path, crashed: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (datastore, publisher) = open(home, Arc::new(FileStorage::new(home.join("storage"))), None).await;
        datastore.collect().await.expect("collected");
        let (done, next) = expected(home);
        for at in done.keys().chain(next.keys()) {
            let found = value(&datastore, at).await;
            let fits = [done.get(at), next.get(at)].into_iter().flatten().any(|expected| *expected == found);
            assert!(fits || (found.is_none() && !done.contains_key(at)), "{crashed}: {at} has {:?} bytes", found.map(|value| value.len()));
        }
        let named = publisher.list("").expect("listed").into_iter().filter_map(|own| own.mutation.object);
        let named: BTreeSet<_> = named.map(|object| object_name(&object.id).to_string()).collect();
        assert_eq!(files(&home.join("storage")), named, "{crashed}: objects");
        assert_eq!(files(&home.join("spool")), BTreeSet::new(), "{crashed}: spool");
    });
}

/// Values after the steps that were done, and those that the step after them may have written.
fn expected(home: &Path) -> (BTreeMap<String, Option<Bytes>>, BTreeMap<String, Option<Bytes>>) {
    let steps = fs::read(home.join("done")).unwrap_or_default().len();
    let mut done = BTreeMap::new();
    STEPS[..steps].iter().for_each(|step| apply(step, &mut done));
    let mut next = BTreeMap::new();
    STEPS.get(steps).into_iter().for_each(|step| apply(step, &mut next));
    (done, next)
}

fn apply(step: &Step, values: &mut BTreeMap<String, Option<Bytes>>) {
    match step {
        Step::Put(at, fill) => drop(values.insert((*at).into(), Some(large(*fill)))),
        Step::Delete(at) => drop(values.insert((*at).into(), None)),
        Step::Import => values.extend((0..FILES).map(|at| (format!("/in/{at}"), Some(file_value(at))))),
        Step::PutRefused(..) | Step::Collect => {}
    }
}

/// Files below a folder, drafts among them.
fn files(folder: &Path) -> BTreeSet<String> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).expect("below it").to_str().expect("a name").to_owned());
            }
        }
    }
    found
}

/// Storage in a folder under which the process ends in the middle of a file.
struct Torn {
    inner: FileStorage,
    root: PathBuf,
    /// Files until then.
    left: Option<AtomicU64>,
}

impl Driver for Torn {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        if self.left.as_ref().is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) == 1) {
            let draft = self.root.join(name.as_str()).with_extension("draft");
            fs::create_dir_all(draft.parent().expect("a folder")).expect("created");
            fs::write(draft, b"half of it").expect("written");
            std::process::abort();
        }
        self.inner.create(name, content)
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        self.inner.replace(name, content)
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        self.inner.read(name, limit)
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        self.inner.remove(name)
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        self.inner.list(prefix)
    }
}
