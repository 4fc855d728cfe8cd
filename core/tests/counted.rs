//! What a reader asks of its tables, counted and not timed: for each entry a few rows, whatever is held already.

#[path = "paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of several packages")]
mod paper;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use paper::{Owner, PaperBroker, Session, path};
use tidings_core::key::NodeKey;
use tidings_core::path::RecordPath;
use tidings_core::reader::{Change, HeldRow, MemoryReaderStore, ReaderStore, StagedRow};
use tidings_core::{Reader, Step};
use tidings_proto::frames::Reply;
use tidings_proto::{Birth, Offset};

type Calls = BTreeMap<&'static str, u64>;

/// The tables in memory, and how often each call was made.
#[derive(Default)]
struct CountedStore {
    store: MemoryReaderStore,
    calls: RefCell<Calls>,
}

impl CountedStore {
    fn count(&self, call: &'static str) -> &MemoryReaderStore {
        *self.calls.borrow_mut().entry(call).or_default() += 1;
        &self.store
    }

    fn count_mut(&mut self, call: &'static str) -> &mut MemoryReaderStore {
        *self.calls.get_mut().entry(call).or_default() += 1;
        &mut self.store
    }
}

impl ReaderStore for CountedStore {
    type Error = Infallible;

    fn held(&self, birth: Birth) -> Result<Option<HeldRow>, Infallible> {
        self.count("held").held(birth)
    }

    fn put_held(&mut self, row: HeldRow, old: Option<&HeldRow>) -> Result<(), Infallible> {
        self.count_mut("put_held").put_held(row, old)
    }

    fn remove_held(&mut self, birth: Birth) -> Result<(), Infallible> {
        self.count_mut("remove_held").remove_held(birth)
    }

    fn held_after(&self, after: Birth, limit: usize) -> Result<Vec<HeldRow>, Infallible> {
        self.count("held_after").held_after(after, limit)
    }

    fn winner(&self, path: &RecordPath) -> Result<Option<HeldRow>, Infallible> {
        self.count("winner").winner(path)
    }

    fn ending_through(&self, floor: Offset) -> Result<Vec<HeldRow>, Infallible> {
        self.count("ending_through").ending_through(floor)
    }

    fn stage(&mut self, row: StagedRow) -> Result<(), Infallible> {
        self.count_mut("stage").stage(row)
    }

    fn unstage(&mut self, birth: Birth) -> Result<(), Infallible> {
        self.count_mut("unstage").unstage(birth)
    }

    fn staged_after(&self, after: Birth, limit: usize) -> Result<Vec<StagedRow>, Infallible> {
        self.count("staged_after").staged_after(after, limit)
    }

    fn clear_staged(&mut self) -> Result<(), Infallible> {
        self.count_mut("clear_staged").clear_staged()
    }

    fn set_aside(&mut self) -> Result<(), Infallible> {
        self.count_mut("set_aside").set_aside()
    }

    fn aside(&self, path: &RecordPath) -> Result<Option<HeldRow>, Infallible> {
        self.count("aside").aside(path)
    }

    fn aside_paths(&self) -> Result<Vec<RecordPath>, Infallible> {
        self.count("aside_paths").aside_paths()
    }

    fn clear_aside(&mut self) -> Result<(), Infallible> {
        self.count_mut("clear_aside").clear_aside()
    }

    fn change(&mut self, change: Change) -> Result<(), Infallible> {
        self.count_mut("change").change(change)
    }
}

/// An owner, a broker that has what it signed, and a reader in the middle of a session.
struct World {
    owner: Owner,
    broker: PaperBroker,
    reader: Reader,
    store: CountedStore,
    session: Session,
}

impl World {
    fn new() -> Self {
        let (mut owner, key) = (Owner::new(1), NodeKey::from_seed([9; 32]));
        let grant = owner.grant(&key);
        let mut reader = Reader::join(owner.writer.descriptor().clone(), &grant, &key).expect("the grant is this reader's");
        let mut store = CountedStore::default();
        let session = Session::new(&reader.begin("broker", &mut store).expect("memory does not fail"));
        Self { owner, broker: PaperBroker::default(), reader, store, session }
    }

    /// The owner writes these records, at most 1,000 in a publish.
    fn publish(&mut self, records: std::ops::Range<u64>) {
        for first in records.clone().step_by(1_000) {
            let some = first..records.end.min(first + 1_000);
            let changes: Vec<_> = some.map(|number| (path(number), Some(Bytes::from_static(b"value")))).collect();
            self.owner.publish(&changes, None);
        }
    }

    /// The reader takes all that is new, 500 entries in a chunk: what that asked of its tables.
    fn accept(&mut self) -> Calls {
        self.broker.receive(&self.owner.log, usize::MAX);
        self.store.calls.get_mut().clear();
        loop {
            for reply in self.session.next(&self.broker, 500) {
                let step = match reply {
                    Reply::Announce(announce) => self.reader.on_announce(&announce, &mut self.store),
                    Reply::Chunk(chunk) => self.reader.on_chunk(&chunk, &mut self.store),
                    other => panic!("no frame of a delta: {other:?}"),
                };
                if let Ok(Step::Accepted(_)) = step {
                    return std::mem::take(self.store.calls.get_mut());
                }
                assert!(matches!(step, Ok(Step::Continue)));
            }
        }
    }
}

/// Staged once, put once, told once; and read a bounded number of times. Pages are of 1,024 rows, and there are three passes.
#[test]
fn a_catch_up_touches_each_entry_a_bounded_number_of_times() {
    const ENTRIES: u64 = 3_000;
    let mut world = World::new();
    world.publish(0..ENTRIES);
    let calls = world.accept();
    assert_eq!((calls["stage"], calls["put_held"], calls["change"]), (ENTRIES, ENTRIES, ENTRIES));
    assert!(calls["held"] <= ENTRIES, "{calls:?}");
    assert_eq!(calls.get("winner"), None, "nothing was there before, and what is there now is in memory");
    assert!(calls["staged_after"] <= 3 * (ENTRIES / 1_024 + 2), "{calls:?}");
    assert_eq!(calls.get("held_after"), None);
}

/// The price of a live delta is that of what it brings.
#[test]
fn a_live_delta_asks_the_same_of_a_reader_that_holds_much_and_of_one_that_holds_little() {
    let [little, much] = [10, 3_000].map(|held| {
        let mut world = World::new();
        world.publish(0..held);
        world.accept();
        world.publish(5..6);
        world.accept()
    });
    assert_eq!(little, much);
    assert!(little.values().sum::<u64>() <= 14, "{little:?}");
}

/// Hundred mutations of each record are one entry for a reader that was away.
#[test]
fn a_conflated_delta_asks_no_more_than_one_without_a_past() {
    let [once, often] = [1, 100].map(|times| {
        let mut world = World::new();
        (0..times).for_each(|_| world.publish(0..50));
        world.accept()
    });
    assert_eq!(once, often);
}
