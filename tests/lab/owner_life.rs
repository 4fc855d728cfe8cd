//! The life of an owner that is killed: what it does step by step, and what it writes down about it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tidings_client::{Publisher, State, Ticket};
use tidings_core::Mutation;
use tidings_datastore::own::FailHook;
use tidings_datastore::storage::faulty::{Fault, Faults};
use tidings_datastore::storage::{Faulty, FileStorage};
use tidings_datastore::{Datastore, DatastoreConfig, Source, Value, object_name};
use tokio::task::JoinSet;

use super::child;
use super::nodes::{LONG, key, owner, path};
use crate::world::Running;

/// The reader that is granted access first.
pub(super) const READER: u64 = 7;
/// A point beside those of the datastore: a head is signed and not receipted.
pub(super) const SIGNED: &str = "Signed";
/// Files of the folder that is imported: every second one needs an object.
const FILES: usize = 7;

/// What a put that is refused would have written.
const REFUSED: u8 = 255;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A value in storage.
    Put(&'static str, u8),
    /// A value in the queue.
    PutSmall(&'static str, u8),
    /// A put whose storage fails although it took the object.
    PutRefused(&'static str),
    Delete(&'static str),
    /// All receipts have come.
    Flush,
    Import(&'static str),
    Collect,
}

use Step::{Collect, Delete, Flush, Import, Put, PutRefused, PutSmall};

const STEPS: [Step; 23] = [
    Put("/a", 1),
    Put("/b", 2),
    PutSmall("/small", 3),
    Put("/c", 4),
    Put("/a", 5),
    PutRefused("/a"),
    Import("/one"),
    Flush,
    Delete("/b"),
    Delete("/c"),
    PutRefused("/b"),
    Import("/two"),
    Flush,
    Collect,
    Put("/b", 6),
    Delete("/b"),
    PutSmall("/a", 7),
    PutRefused("/d"),
    Import("/three"),
    Collect,
    Put("/d", 8),
    Flush,
    Collect,
];

/// What an owner has open.
pub(super) struct Node {
    pub(super) publisher: Publisher,
    pub(super) datastore: Datastore,
    storage: Arc<Faulty>,
}

/// What was written down.
pub(super) struct Kept {
    /// Steps that returned.
    pub(super) steps: usize,
    /// How long the datastore kept objects.
    pub(super) grace: Duration,
    /// Term, number and hash of heads that were receipted.
    pub(super) receipts: Vec<(u64, u64, String)>,
    /// What stood at an offset when it was receipted.
    pub(super) signed: Vec<(u64, String)>,
    objects: Vec<String>,
}

impl Kept {
    /// Objects that receipted entries name or named.
    pub(super) fn objects(&self) -> impl Iterator<Item = &String> {
        self.objects.iter()
    }
}

impl Node {
    /// Opens what is in `folder`, for the owner with this number.
    pub(super) async fn open(folder: &Path, address: &str, number: u64, grace: Duration, fail_hook: Option<FailHook>) -> Self {
        let state = State::open(&folder.join("state.redb")).expect("a state");
        let publisher = owner(&state, key(2_000_000 + number), address);
        let storage = Arc::new(Faulty::new(Arc::new(FileStorage::new(folder.join("storage"))), [1; 32], Faults::NONE));
        let config = DatastoreConfig { grace, fail_hook, ..DatastoreConfig::new(storage.clone(), folder.join("spool")) };
        let datastore = Datastore::open(state, publisher.clone(), config).await.expect("a datastore");
        Self { publisher, datastore, storage }
    }

    /// The value of a record, from wherever it is.
    pub(super) async fn value(&self, at: &str) -> Option<Bytes> {
        Some(bytes(self.datastore.get(&path(at)).await.expect("a value that is there")?).await)
    }

    pub(super) async fn close(self) {
        self.datastore.close().await;
        self.publisher.close().await;
    }

    /// Does a step; gives what waits for a receipt.
    async fn take(&self, step: Step, folder: &Path) -> Option<(&'static str, Ticket)> {
        let put = async |at, value| self.datastore.put(path(at), Source::Bytes(value), String::new()).await;
        match step {
            Put(at, fill) => return Some((at, put(at, large(fill)).await.expect("put"))),
            PutSmall(at, fill) => return Some((at, put(at, small(fill)).await.expect("put"))),
            Delete(at) => return Some((at, self.datastore.delete(path(at)).await.expect("deleted"))),
            PutRefused(at) => {
                self.storage.fail_next(Fault::AnswerLost);
                put(at, large(REFUSED)).await.expect_err("refused");
            }
            Import(prefix) => drop(self.datastore.import(&folder.join("files"), prefix, &mut |_| {}).await.expect("imported")),
            Flush => self.publisher.flush(LONG).await.expect("published"),
            Collect => drop(self.datastore.collect().await.expect("collected")),
        }
        None
    }
}

pub(super) async fn bytes(value: Value) -> Bytes {
    match value {
        Value::Inline(bytes) => bytes,
        Value::File(file) => file.bytes().await.expect("read"),
    }
}

/// Makes the folder of an owner, with files to import.
pub(super) fn furnish(folder: &Path) {
    for name in ["files", "storage", "spool"] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    for at in 0..FILES {
        fs::write(folder.join(format!("files/{at}")), file_value(at)).expect("a file");
    }
}

fn large(fill: u8) -> Bytes {
    vec![fill; 6_000].into()
}

fn small(fill: u8) -> Bytes {
    vec![fill; 100].into()
}

fn file_value(at: usize) -> Bytes {
    let fill = 100 + u8::try_from(at).expect("few");
    if at.is_multiple_of(2) { large(fill) } else { small(fill) }
}

/// Values after the steps that were done, and those that the step after them may have written.
pub(super) fn expected(steps: usize) -> (BTreeMap<String, Option<Bytes>>, BTreeMap<String, Option<Bytes>>) {
    let (mut done, mut next) = (BTreeMap::new(), BTreeMap::new());
    STEPS[..steps].iter().for_each(|step| apply(*step, &mut done));
    match STEPS.get(steps) {
        // Cut off before it was refused, it has an object in storage and may be gone on with.
        Some(PutRefused(at)) => drop(next.insert((*at).into(), Some(large(REFUSED)))),
        Some(step) => apply(*step, &mut next),
        None => {}
    }
    (done, next)
}

fn apply(step: Step, values: &mut BTreeMap<String, Option<Bytes>>) {
    match step {
        Put(at, fill) => drop(values.insert(at.into(), Some(large(fill)))),
        PutSmall(at, fill) => drop(values.insert(at.into(), Some(small(fill)))),
        Delete(at) => drop(values.insert(at.into(), None)),
        Import(prefix) => values.extend((0..FILES).map(|at| (format!("{prefix}/{at}"), Some(file_value(at))))),
        PutRefused(_) | Flush | Collect => {}
    }
}

/// What an entry says, in words that differ if anything of it does.
pub(super) fn version(mutation: &Mutation) -> String {
    format!("{} {:?}", mutation.path, mutation.version)
}

/// Begins a life that ends where a point is reached for the `turn`th time, if it is.
pub(super) fn begin(folder: &Path, address: &str, number: u64, point: &str, turn: u64, grace: Duration) -> Running {
    let (number, turn, grace) = (number.to_string(), turn.to_string(), grace.as_secs().to_string());
    child::begin("lab::owner_life::the_owner_that_is_killed", folder, &[address, &number, point, &turn, &grace])
}

/// No test by itself: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is begun by another test"]
async fn the_owner_that_is_killed() {
    let Some((folder, orders)) = child::orders() else { return };
    let [address, owner, point, turn, grace] = &orders[..] else { panic!("five orders") };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let (owner, grace) = (number(owner), number(grace));
    let fatal = Arc::new(Fatal { point: point.clone(), left: AtomicU64::new(number(turn)) });
    let hook: FailHook = {
        let fatal = fatal.clone();
        Arc::new(move |reached| fatal.reach(&format!("{reached:?}")))
    };
    let node = Node::open(&folder, address, owner, Duration::from_secs(grace), Some(hook)).await;
    live(&node, &folder, grace, fatal).await;
    child::say("done");
    child::listen().await;
}

/// Where the process ends by itself.
struct Fatal {
    point: String,
    left: AtomicU64,
}

impl Fatal {
    fn reach(&self, point: &str) {
        if self.point == point && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}

/// All steps, with everything that comes of them written down as it comes.
async fn live(node: &Node, folder: &Path, grace: u64, fatal: Arc<Fatal>) {
    let log = Arc::new(OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a file"));
    note(&log, &json!({ "grace": grace }));
    let invitation = node.publisher.grant(key(READER).card(), "reader".into()).await.expect("granted");
    fs::write(folder.join("invitation"), invitation).expect("writable");
    child::say("ready");
    tokio::spawn(watch_signing(node.publisher.clone(), fatal));
    let mut receipts = JoinSet::new();
    for step in STEPS {
        if let Some((at, ticket)) = node.take(step, folder).await {
            receipts.spawn(note_receipt(log.clone(), node.publisher.clone(), at, ticket));
        }
        note(&log, &json!({ "step": format!("{step:?}") }));
    }
    node.publisher.flush(LONG).await.expect("published");
    receipts.join_all().await;
}

async fn watch_signing(publisher: Publisher, fatal: Arc<Fatal>) {
    let mut mark = publisher.mark();
    while mark.changed().await.is_ok() {
        let mark = *mark.borrow_and_update();
        if mark.signed > mark.receipted {
            fatal.reach(SIGNED);
        }
    }
}

async fn note_receipt(log: Arc<File>, publisher: Publisher, at: &'static str, ticket: Ticket) {
    // A record that was created and deleted before either was signed has none.
    let Ok(receipt) = ticket.receipted().await else { return };
    note(&log, &json!({ "receipt": [receipt.rank.term.value(), receipt.rank.number.value(), receipt.head.to_string()] }));
    if let Some((mutation, offset)) = publisher.named(&path(at)).expect("readable").signed {
        let object = mutation.object.as_ref().map(|object| object_name(&object.id).to_string());
        note(&log, &json!({ "signed": offset.value(), "version": version(&mutation), "object": object }));
    }
}

/// One line, with one write: a kill leaves all of it or nothing.
fn note(mut log: &File, line: &Json) {
    log.write_all(format!("{line}\n").as_bytes()).expect("writable");
}

/// What the lives in this folder wrote down.
pub(super) fn log_of(folder: &Path) -> Kept {
    let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    let number = |value: &Json| value.as_u64().expect("a number");
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    let of = |name: &'static str| lines.iter().filter(move |line| !line[name].is_null());
    Kept {
        steps: of("step").count(),
        grace: of("grace").map(|line| Duration::from_secs(number(&line["grace"]))).next().unwrap_or_default(),
        receipts: of("receipt").map(|line| &line["receipt"]).map(|it| (number(&it[0]), number(&it[1]), text(&it[2]))).collect(),
        signed: of("signed").map(|line| (number(&line["signed"]), text(&line["version"]))).collect(),
        objects: of("object").map(|line| text(&line["object"])).collect(),
    }
}
