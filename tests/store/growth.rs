//! Whether a publish costs the same in a large queue, and beside many.

use std::path::Path;

use serde_json::{Value, json};
use tidings_broker::store::{Append, RocksStore, Settings, Store, Tuning};

use super::author::{Author, Dice};
use super::meter::{bytes_of, mib, micros, middle, ratio, resident, sync_once, timed};
use super::note::{full, note};
use super::restart::look;

const ENTRY_BYTES: usize = 300;
const TRIALS: usize = 64;
const BATCH: usize = 256;

fn open(folder: &Path) -> RocksStore {
    RocksStore::open_tuned(folder, &Settings::default(), &Tuning { counts: true, ..Tuning::default() }).expect("the folder opens")
}

/// Middle of many appends, beside each of them one small write and its sync; and blocks and rows that each append read.
fn appends(folder: &Path, store: &RocksStore, mut next: impl FnMut() -> Vec<Append>) -> Value {
    let before = store.figures().done;
    let (mut times, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..TRIALS {
        let group = next();
        let (stored, took) = timed(|| store.append(&group));
        stored.expect("stored");
        times.push(took);
        syncs.push(sync_once(folder, 1_024));
    }
    let (took, sync) = (micros(middle(times)), micros(middle(syncs)));
    let after = store.figures().done;
    let each = |now: u64, then: u64| ratio((now - then) as f64, TRIALS as f64);
    json!({
        "us": took, "one_synced_write_us": sync, "to_one_synced_write": ratio(took, sync),
        "blocks_read": each(after.blocks, before.blocks), "rows_stepped_over": each(after.skipped, before.skipped),
        "logged_bytes": each(after.logged, before.logged),
    })
}

fn entries_point(folder: &Path, store: &RocksStore, author: &mut Author, dice: &mut Dice) -> Value {
    let entries = author.live.len();
    let new = appends(folder, store, || vec![author.add(1)]);
    let replaced = appends(folder, store, || vec![author.update(&[dice.below(entries)])]);
    let batch = appends(folder, store, || vec![author.update(&dice.some_of(0..entries, BATCH))]);
    let digests =
        middle((0..TRIALS).map(|_| timed(|| store.live_of(&author.queue, &[author.live[dice.below(entries)].birth])).1).collect());
    json!({
        "entries": entries, "new_entry": new, "replaced_entry": replaced, "batch_of_256_replaced": batch,
        "digest_of_one_record_us": micros(digests),
        "tables_mib": mib(store.figures().tables),
    })
}

#[test]
#[ignore = "measures: make store-lab"]
fn growth_of_one_queue() {
    let sizes: &[usize] = if full() { &[10_000, 100_000, 1_000_000, 10_000_000] } else { &[10_000, 100_000, 1_000_000] };
    let folder = tempfile::tempdir().expect("a folder");
    let (store, mut author, mut dice) = (open(folder.path()), Author::new(1, ENTRY_BYTES), Dice::new(3));
    let mut points = Vec::new();
    for size in sizes {
        while author.live.len() < *size {
            let group: Vec<Append> = (0..16).map(|_| author.add(BATCH)).collect();
            store.append(&group).expect("stored");
        }
        points.push(entries_point(folder.path(), &store, &mut author, &mut dice));
        println!("{}", points.last().expect("one"));
    }
    note("growth_of_one_queue", json!({ "entry_bytes": ENTRY_BYTES, "trials": TRIALS, "points": points }));
}

/// Queues of one entry each. Only a few authors are kept: the test is to fit memory at a million queues.
struct Queues {
    kept: Vec<Author>,
    made: u64,
    every: u64,
}

impl Queues {
    fn grow(&mut self, store: &RocksStore, to: u64) {
        while self.made < to {
            let count = (to - self.made).min(256);
            let mut authors: Vec<Author> = (self.made..self.made + count).map(|number| Author::new(number, ENTRY_BYTES)).collect();
            let group: Vec<Append> = authors.iter_mut().map(|author| author.add(1)).collect();
            store.append(&group).expect("stored");
            let numbered = (self.made..).zip(authors);
            self.kept.extend(numbered.filter(|(number, _)| number % self.every == 0).map(|(_, author)| author));
            self.made += count;
        }
    }

    fn any(&mut self, dice: &mut Dice) -> &mut Author {
        let place = dice.below(self.kept.len());
        &mut self.kept[place]
    }

    /// One publish of each of so many different queues.
    fn group(&mut self, dice: &mut Dice, count: usize) -> Vec<Append> {
        dice.some_of(0..self.kept.len(), count).into_iter().map(|place| self.kept[place].update(&[0])).collect()
    }
}

fn queues_point(folder: &Path, store: &RocksStore, queues: &mut Queues, dice: &mut Dice) -> Value {
    let single = appends(folder, store, || vec![queues.any(dice).update(&[0])]);
    let count = BATCH.min(queues.kept.len());
    let group = appends(folder, store, || queues.group(dice, count));
    json!({
        "queues": queues.made, "publish": single, "group_of": count, "group": group, "tables_mib": mib(store.figures().tables),
    })
}

#[test]
#[ignore = "measures: make store-lab"]
fn growth_of_many_queues() {
    let sizes: &[u64] = if full() { &[1, 100, 10_000, 100_000, 1_000_000] } else { &[1, 100, 10_000, 100_000] };
    let folder = tempfile::tempdir().expect("a folder");
    let mut queues = Queues { kept: Vec::new(), made: 0, every: sizes.last().expect("some").div_ceil(20_000) };
    let mut dice = Dice::new(4);
    let mut points = Vec::new();
    for size in sizes {
        let store = open(folder.path());
        queues.grow(&store, *size);
        let mut point = queues_point(folder.path(), &store, &mut queues, &mut dice);
        let log = bytes_of(folder.path(), ".log");
        drop(store);
        point["log_mib_at_stop"] = json!(mib(log));
        point["opened_in_another_process"] = look(folder.path(), 0);
        println!("{point} {} KiB here", resident());
        points.push(point);
    }
    note("growth_of_many_queues", json!({ "entry_bytes": ENTRY_BYTES, "trials": TRIALS, "points": points }));
}
