//! What is written for each byte that was published, and how long writes wait, with the tuning that a broker runs with and with others.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_broker::store::{Append, Figures, RocksStore, ScanLimit, Settings, Store, Tuning};
use tidings_proto::{Offset, caps};

use super::author::{Author, Dice};
use super::meter::{mib, process_cpu, ratio, timed};
use super::note::{full, note};

const MIB: usize = 1 << 20;
const QUEUES: u64 = 8;
const RECORDS: usize = 10_000;
const ENTRY_BYTES: usize = 1_100;
const BY_PUBLISH: usize = 4;
const BY_GROUP: usize = 64;
const CHUNK: ScanLimit = ScanLimit { entries: caps::CHUNK_ENTRIES_MAX, bytes: caps::CHUNK_BYTES_MAX };

/// Those compared: the first is what a broker runs with.
fn tunings() -> Vec<(&'static str, Tuning)> {
    let run = Tuning::default;
    vec![
        ("as a broker runs", run()),
        ("due at 512 deletions of 1,024 rows", Tuning { deletions_due: Some((1_024, 512)), ..run() }),
        ("never due for deletions", Tuning { deletions_due: None, ..run() }),
        ("2 overlapping tables", Tuning { overlapping_tables: 2, ..run() }),
        ("8 overlapping tables", Tuning { overlapping_tables: 8, ..run() }),
        (
            "buffers half as large",
            Tuning { buffers_bytes_max: 32 * MIB, entries_buffer_bytes: 8 * MIB, column_buffer_bytes: 2 * MIB, ..run() },
        ),
        (
            "buffers twice as large",
            Tuning { buffers_bytes_max: 128 * MIB, entries_buffer_bytes: 32 * MIB, column_buffer_bytes: 8 * MIB, ..run() },
        ),
        ("buffers of other columns 16 MiB", Tuning { column_buffer_bytes: 16 * MIB, ..run() }),
        ("entries in files of their own", Tuning { separate_entries_bytes: Some(512), ..run() }),
        ("one background thread", Tuning { background_threads: 1, ..run() }),
        ("no filters in the last level", Tuning { last_level_filters: false, ..run() }),
        ("log of 256 MiB", Tuning { log_bytes_max: 256 * MIB as u64, ..run() }),
        ("as a broker runs, once more", run()),
    ]
}

/// What a load did.
#[derive(Clone, Copy)]
struct Ran {
    published: u64,
    cpu: Duration,
    wall: Duration,
    longest: Duration,
    figures: Figures,
    /// Reading one queue whole, afterwards.
    scan: Duration,
}

impl Ran {
    /// Bytes written for each byte published.
    fn amplification(&self) -> f64 {
        let done = self.figures.done;
        (done.logged + done.flushed + done.compacted + done.separated) as f64 / self.published as f64
    }

    fn json(&self, first: &Ran) -> Value {
        let done = self.figures.done;
        let by_byte = |bytes: u64| ratio(bytes as f64, self.published as f64);
        json!({
            "written_by_byte": { "log": by_byte(done.logged), "flushes": by_byte(done.flushed), "compactions": by_byte(done.compacted),
                "files_of_entries": by_byte(done.separated), "all": ratio(self.amplification(), 1.0) },
            "stalled_ms": done.stalled / 1_000, "longest_append_ms": self.longest.as_millis() as u64,
            "tables_mib": mib(self.figures.tables), "published_mib": mib(self.published),
            "wall_s": ratio(self.wall.as_secs_f64(), 1.0), "cpu_s": ratio(self.cpu.as_secs_f64(), 1.0),
            "scan_of_one_queue_ms": ratio(self.scan.as_secs_f64() * 1e3, 1.0),
            "to_the_first": { "written": ratio(self.amplification(), first.amplification()), "cpu": ratio(self.cpu.as_secs_f64(), first.cpu.as_secs_f64()),
                "wall": ratio(self.wall.as_secs_f64(), first.wall.as_secs_f64()), "scan": ratio(self.scan.as_secs_f64(), first.scan.as_secs_f64()) },
        })
    }
}

/// The queues with their first entries.
fn filled(store: &RocksStore) -> Vec<Author> {
    let mut authors: Vec<Author> = (0..QUEUES).map(|number| Author::new(number, ENTRY_BYTES)).collect();
    for author in &mut authors {
        while author.live.len() < RECORDS {
            store.append(&[author.add(500)]).expect("stored");
        }
    }
    authors
}

/// Replaces entries of all queues until `bytes` were published.
fn load(store: &RocksStore, authors: &mut [Author], bytes: u64) -> (u64, Duration) {
    let (mut dice, mut published, mut longest) = (Dice::new(9), 0, Duration::ZERO);
    while published < bytes {
        let group: Vec<Append> =
            (0..BY_GROUP).map(|place| authors[place % QUEUES as usize].update(&dice.some_of(0..RECORDS, BY_PUBLISH))).collect();
        published += (BY_GROUP * BY_PUBLISH * ENTRY_BYTES) as u64;
        let (stored, took) = timed(|| store.append(&group));
        stored.expect("stored");
        longest = longest.max(took);
    }
    (published, longest)
}

fn run(folder: &Path, tuning: &Tuning, bytes: u64) -> Ran {
    let tuning = Tuning { counts: true, ..tuning.clone() };
    let store = RocksStore::open_tuned(folder, &Settings::default(), &tuning).expect("the folder opens");
    let mut authors = filled(&store);
    store.flush().expect("a flush");
    store.compact();
    let (before, cpu, started) = (store.figures().done, process_cpu(), Instant::now());
    let (published, longest) = load(&store, &mut authors, bytes);
    let (cpu, wall) = (process_cpu() - cpu, started.elapsed());
    let mut figures = store.figures();
    for (now, then) in [
        (&mut figures.done.logged, before.logged),
        (&mut figures.done.flushed, before.flushed),
        (&mut figures.done.compacted, before.compacted),
        (&mut figures.done.separated, before.separated),
        (&mut figures.done.stalled, before.stalled),
    ] {
        *now -= then;
    }
    let scan = (0..3).map(|_| timed(|| scan(&store, &authors[0])).1).min().expect("three");
    Ran { published, cpu, wall, longest, figures, scan }
}

fn scan(store: &RocksStore, author: &Author) -> usize {
    let (mut after, mut entries) = (Offset::ZERO, 0);
    loop {
        let scan = store.scan(&author.queue, after, CHUNK).expect("a read").expect("the queue");
        entries += scan.entries.len();
        match scan.entries.last() {
            Some((last, _)) if !scan.complete => after = *last,
            _ => return entries,
        }
    }
}

#[test]
#[ignore = "measures: make store-lab"]
fn tunings_compared() {
    let bytes = if full() { 4 << 30 } else { 384 << 20 };
    let mut first = None;
    let mut all = Vec::new();
    for (name, tuning) in tunings() {
        let folder = tempfile::tempdir().expect("a folder");
        let ran = run(folder.path(), &tuning, bytes);
        let first = *first.get_or_insert(ran);
        let figures = json!({ "tuning": name, "figures": ran.json(&first) });
        println!("{figures}");
        all.push(figures);
    }
    note("tunings", json!({ "queues": QUEUES, "live_records_of_each": RECORDS, "entry_bytes": ENTRY_BYTES, "compared": all }));
}
