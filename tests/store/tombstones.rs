//! What deleted rows cost whoever reads what is live. [P-9]

use std::path::Path;

use serde_json::{Value, json};
use tidings_broker::store::{RocksStore, ScanLimit, Settings, Store, Tuning};
use tidings_proto::{Offset, caps};

use super::author::{Author, Dice};
use super::meter::{mib, micros, timed};
use super::note::{full, note};

const ENTRY_BYTES: usize = 300;
const BY_PUBLISH: usize = 256;
const CHUNK: ScanLimit = ScanLimit { entries: caps::CHUNK_ENTRIES_MAX, bytes: caps::CHUNK_BYTES_MAX };

/// Which records change.
#[derive(Clone, Copy, Debug)]
enum Changes {
    /// Any.
    All,
    /// All but the first, whose entry stays below everything that is deleted.
    AllButTheFirst,
}

fn open(folder: &Path, tuning: &Tuning) -> RocksStore {
    RocksStore::open_tuned(folder, &Settings::default(), &Tuning { counts: true, ..tuning.clone() }).expect("the folder opens")
}

/// A queue with this many live records.
fn filled(store: &RocksStore, records: usize) -> Author {
    let mut author = Author::new(1, ENTRY_BYTES);
    while author.live.len() < records {
        let count = BY_PUBLISH.min(records - author.live.len());
        store.append(&[author.add(count)]).expect("stored");
    }
    author
}

/// Replaces entries until this many were, in groups of 16 publishes.
fn retire(store: &RocksStore, author: &mut Author, dice: &mut Dice, changes: Changes, until: usize) {
    let first = usize::from(matches!(changes, Changes::AllButTheFirst));
    let by_publish = BY_PUBLISH.min(author.live.len() / 4);
    while (author.offset() as usize) < until + author.live.len() {
        let records = first..author.live.len();
        let group: Vec<_> = (0..16).map(|_| author.update(&dice.some_of(records.clone(), by_publish))).collect();
        store.append(&group).expect("stored");
    }
}

/// One way to read, with what it stepped over.
fn reading(store: &RocksStore, read: impl Fn() -> usize) -> (Value, u64) {
    let before = store.figures().done;
    let (entries, first) = timed(&read);
    let after = store.figures().done;
    let least = (0..4).map(|_| timed(&read).1).min().expect("four");
    let skipped = after.skipped - before.skipped;
    let value = json!({
        "entries": entries, "skipped": skipped, "blocks": after.blocks - before.blocks,
        "us_first": micros(first), "us_least_of_4_more": micros(least),
    });
    (value, skipped)
}

/// All live entries above an offset, chunk by chunk, as a reader gets them.
fn scan(store: &RocksStore, author: &Author, from: u64) -> usize {
    let (mut after, mut entries) = (Offset::new(from), 0);
    loop {
        let scan = store.scan(&author.queue, after, CHUNK).expect("a read").expect("the queue");
        entries += scan.entries.len();
        match scan.entries.last() {
            Some((last, _)) if !scan.complete => after = *last,
            _ => return entries,
        }
    }
}

/// Every way to read this queue.
fn readings(store: &RocksStore, author: &Author) -> Value {
    let mut offsets: Vec<u64> = author.live.iter().map(|row| row.offset.value()).collect();
    offsets.sort_unstable();
    let newest_tenth = offsets[offsets.len() * 9 / 10] - 1;
    let bitmap = || {
        let (live, _) = store.bitmap(&author.queue, Offset::new(author.offset()), CHUNK).expect("a read").expect("the queue");
        live.len() as usize
    };
    let births: Vec<_> = author.live.iter().step_by(author.live.len() / 256 + 1).map(|row| row.birth).collect();
    json!({
        "from_the_start": reading(store, || scan(store, author, 0)).0,
        "newest_tenth": reading(store, || scan(store, author, newest_tenth)).0,
        "bitmap": reading(store, bitmap).0,
        "digests_of_records": reading(store, || store.live_of(&author.queue, &births).expect("a read").len()).0,
        "tables_mib": mib(store.figures().tables),
    })
}

fn curve(changes: Changes, tuning: &Tuning, sizes: &[usize]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), tuning);
    let (mut author, mut dice) = (filled(&store, 10_000), Dice::new(5));
    let mut points = vec![json!({ "retired": 0, "as_it_lies": readings(&store, &author) })];
    for size in sizes {
        retire(&store, &mut author, &mut dice, changes, *size);
        points.push(json!({ "retired": size, "as_it_lies": readings(&store, &author) }));
        println!("{changes:?} {}", points.last().expect("one"));
    }
    store.flush().expect("a flush");
    store.compact();
    points.push(json!({ "retired": sizes.last(), "compacted": readings(&store, &author) }));
    Value::Array(points)
}

#[test]
#[ignore = "measures: make store-lab"]
fn tombstones() {
    let sizes: &[usize] = if full() { &[100_000, 1_000_000, 10_000_000] } else { &[100_000, 1_000_000] };
    let often = Tuning { deletions_due: Some((1_024, 512)), ..Tuning::default() };
    let of = |changes, tuning: &Tuning| curve(changes, tuning, sizes);
    note(
        "tombstones",
        json!({
            "live_records": 10_000, "entry_bytes": ENTRY_BYTES,
            "every_record_changes": of(Changes::All, &Tuning::default()),
            "all_records_but_the_first_change": of(Changes::AllButTheFirst, &Tuning::default()),
            "the_same_with_a_compaction_at_512_deletions_of_1024_rows": of(Changes::AllButTheFirst, &often),
        }),
    );
}

/// What a scan steps over is bounded by what waits in memory and lies in few new tables, not by all that was ever retired.
#[test]
fn a_scan_does_not_step_over_all_that_was_ever_retired() {
    let folder = tempfile::tempdir().expect("a folder");
    let small = Tuning { entries_buffer_bytes: 256 << 10, column_buffer_bytes: 64 << 10, ..Tuning::default() };
    let store = open(folder.path(), &small);
    let (mut author, mut dice) = (filled(&store, 200), Dice::new(5));
    let mut most = 0;
    for until in [10_000, 20_000, 30_000, 40_000] {
        retire(&store, &mut author, &mut dice, Changes::AllButTheFirst, until);
        let (value, skipped) = reading(&store, || scan(&store, &author, 0));
        assert_eq!(value["entries"], 200);
        most = most.max(skipped);
    }
    assert!(most < 20_000, "{most} rows were stepped over to read 200");
}
