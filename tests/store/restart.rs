//! How soon a store answers after its process was killed. A process that writes and one that opens are this program, run again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tidings_broker::store::{RocksStore, ScanLimit, Settings, Store, Tuning};
use tidings_proto::Offset;

use super::author::{Author, Dice, queue_id};
use super::meter::{bytes_of, mib, ratio, resident, timed};
use super::note::{full, note};

/// What a process that is run again is to do, in which folder, and with what.
const TASK: &str = "TIDINGS_STORE_LAB_TASK";
const FOLDER: &str = "TIDINGS_STORE_LAB_STORE";
const NUMBER: &str = "TIDINGS_STORE_LAB_NUMBER";
const LOG: &str = "TIDINGS_STORE_LAB_LOG";
/// What its answers begin with.
const ANSWER: &str = "answer: ";

const ENTRY_BYTES: usize = 1_100;

fn again(task: &str, folder: &Path, number: u64, log_bytes_max: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "store::restart::a_process_of_the_store_lab", "--include-ignored", "--nocapture"]);
    command.env(TASK, task).env(FOLDER, folder).env(NUMBER, number.to_string()).env(LOG, log_bytes_max.to_string()).stdout(Stdio::piped());
    command
}

fn number_of(name: &str) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).expect("a number")
}

/// Does what it was started for; nothing where it was not.
#[test]
#[ignore = "a part of others"]
fn a_process_of_the_store_lab() {
    let (Ok(task), Some(folder)) = (std::env::var(TASK), std::env::var_os(FOLDER).map(PathBuf::from)) else { return };
    match task.as_str() {
        "write" => write(&folder),
        _ => println!("\n{ANSWER}{}", opened(&folder)),
    }
}

/// Writes until it is killed, and says how much each time.
fn write(folder: &Path) {
    let tuning = Tuning { log_bytes_max: number_of(LOG), ..Tuning::default() };
    let store = RocksStore::open_tuned(folder, &Settings::default(), &tuning).expect("the folder opens");
    let seed = number_of(NUMBER);
    let (mut authors, mut dice) = ((0..4).map(|place| Author::new(1_000 * seed + place, ENTRY_BYTES)).collect::<Vec<_>>(), Dice::new(seed));
    loop {
        let mut group = Vec::new();
        for author in &mut authors {
            group.push(author.add(96));
            let old = dice.some_of(0..author.live.len() - 96, 32);
            group.push(author.update(&old));
        }
        store.append(&group).expect("stored");
        println!("\n{ANSWER}{}", bytes_of(folder, ".sst"));
    }
}

/// Opens the folder and asks for one queue.
fn opened(folder: &Path) -> Value {
    let before = resident();
    let (store, open) = timed(|| RocksStore::open(folder, &Settings::default()).expect("the folder opens"));
    let after_open = resident();
    let queue = queue_id(number_of(NUMBER));
    let limit = ScanLimit { entries: 100, bytes: 1 << 20 };
    let (found, answer) = timed(|| store.scan(&queue, Offset::ZERO, limit).expect("a read"));
    json!({
        "open_ms": ratio(open.as_secs_f64() * 1e3, 1.0), "first_answer_ms": ratio(answer.as_secs_f64() * 1e3, 1.0), "found": found.is_some(),
        "memory_kib": { "before": before, "open": after_open, "after_one_answer": resident() },
    })
}

fn answers(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| line.strip_prefix(ANSWER))
}

/// Opens a folder in a process of its own and asks for the queue of the author with this number.
pub(crate) fn look(folder: &Path, number: u64) -> Value {
    let output = again("open", folder, number, 0).output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(answers(&text).next().unwrap_or_else(|| panic!("no answer in {text}"))).expect("an answer is JSON")
}

/// Writes in another process until the tables have so many bytes and `more` groups were answered after that, and kills it.
fn kill_a_writer(folder: &Path, seed: u64, log_bytes_max: u64, until: u64, more: usize) {
    let mut writer = again("write", folder, seed, log_bytes_max).spawn().expect("a process");
    let lines = BufReader::new(writer.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let tables = lines.filter_map(|line| line.strip_prefix(ANSWER).and_then(|bytes| bytes.parse::<u64>().ok()));
    let seen = tables.skip_while(|bytes| *bytes < until).take(more.max(1)).count();
    writer.kill().expect("killed");
    writer.wait().expect("over");
    assert_eq!(seen, more.max(1), "the writer stopped by itself");
}

#[test]
#[ignore = "measures: make store-lab"]
fn restart_after_a_kill() {
    let (tables, trials): (u64, usize) = if full() { (10 << 30, 12) } else { (1 << 30, 6) };
    let mut dice = Dice::new(11);
    let of = |log_bytes_max: u64, tables: u64, trials: usize, dice: &mut Dice| {
        let folder = tempfile::tempdir().expect("a folder");
        let trial = |trial: usize| {
            let seed = trial as u64 + 1;
            kill_a_writer(folder.path(), seed, log_bytes_max, if trial == 0 { tables } else { 0 }, 20 + dice.below(450));
            let log = mib(bytes_of(folder.path(), ".log"));
            let mut found = look(folder.path(), 1_000 * seed);
            assert_eq!(found["found"], true);
            found["log_mib"] = json!(log);
            println!("{found}");
            found
        };
        let trials: Vec<Value> = (0..trials).map(trial).collect();
        json!({ "tables_mib": mib(bytes_of(folder.path(), ".sst")), "log_mib_max": mib(log_bytes_max), "trials": trials })
    };
    let run = Tuning::default().log_bytes_max;
    let large = of(run, tables, trials, &mut dice);
    let small = of(run, 0, trials, &mut dice);
    let others: Vec<Value> = [128 << 20, 256 << 20].map(|log| of(log, 0, trials, &mut dice)).into();
    note("restart", json!({ "entry_bytes": ENTRY_BYTES, "large": large, "small": small, "other_bounds_of_the_log": others }));
}
