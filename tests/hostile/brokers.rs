//! Files of a broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, attempt};
use super::damage::{Instead, everything, is_as_laid, lay, no_files, random};
use crate::world::{Running, World, json};

/// A broker that ended in order, with alice's queue of some records. Its folder, and what of the queue it shows.
fn stopped() -> (World, PathBuf, String) {
    let world = World::new();
    let mut broker = world.broker("127.0.0.1:0", &[]);
    world.ok("alice", &["init", "--broker", &broker.address]);
    for number in 0..4 {
        world.put(&format!("/{number}"), "blue");
    }
    assert_eq!(broker.process.end_with("TERM").code(), Some(0));
    // Once more: what was in the log is in tables then, and there is a new log.
    let mut again = world.broker("127.0.0.1:0", &[]);
    world.ok("alice", &["ls", "--offline"]);
    assert_eq!(again.process.end_with("TERM").code(), Some(0));
    let shown = inspect(&world, &world.path("broker")).out;
    let data = world.path("broker");
    (world, data, shown)
}

fn inspect(world: &World, data: &Path) -> Attempt {
    attempt(&mut world.command("nobody", &["broker", "inspect", "--data", &data.to_string_lossy(), "--entries"]), "inspect")
}

/// A copy of a broker's folder that is for this test alone.
fn copied(world: &World, data: &Path) -> PathBuf {
    let copy = world.path("copy");
    let _ = fs::remove_dir_all(&copy);
    assert!(Command::new("cp").arg("-a").arg(data).arg(&copy).status().expect("cp").success());
    copy
}

/// Starts a broker: `None` if it serves (it is ended then), else why not.
fn started(world: &World, data: &Path, what: &str) -> Option<Attempt> {
    let arguments = ["broker", "--data", &data.to_string_lossy(), "--listen", "127.0.0.1:0"].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut process = Running::begin(world.command("nobody", &arguments));
    if process.line().starts_with("listening") {
        let status = process.end_with("TERM");
        assert_eq!(status.code(), Some(0), "{what}: {status:?}");
        return None;
    }
    drop(process);
    Some(attempt(&mut world.command("nobody", &arguments), what))
}

/// The files of its store of which a name begins and ends so.
fn files(data: &Path, begins: &str, ends: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(data.join("store")).expect("a store").map(|file| file.expect("a file").path());
    all.filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.starts_with(begins) && name.ends_with(ends) && path.metadata().expect("a file").len() > 0
    })
    .collect()
}

/// Spoils one kind of file of the store in every way. A broker that serves then shows nothing that was never there.
fn spoiled(begins: &str, ends: &str, [cuts, flips]: [usize; 2]) {
    let (world, data, shown) = stopped();
    let file = files(&data, begins, ends).pop().unwrap_or_else(|| panic!("no {begins}*{ends}"));
    let good = fs::read(&file).expect("a file");
    for (name, instead) in everything(&good, cuts, flips as u64) {
        let copy = copied(&world, &data);
        let path = copy.join("store").join(file.file_name().expect("a name"));
        let what = format!("{}: {name}", path.file_name().expect("a name").to_string_lossy());
        lay(&path, &instead);
        match started(&world, &copy, &what) {
            Some(refused) => {
                assert!(is_as_laid(&path, &instead), "{what}: it was changed");
                refused.refused_naming("store", &what);
            }
            None => {
                let now = inspect(&world, &copy);
                let is_part = now.out.lines().all(|line| shown.contains(line) || json(line)["seen"] != "entry");
                assert!(is_part, "{what}: it shows what was never there: {}", now.out);
                // A manifest that ends early is what a crash leaves: owners bring what is missing again.
                let is_cut = begins == "MANIFEST-" && matches!(&instead, Instead::Bytes(bytes) if good.starts_with(bytes));
                assert!(is_cut || !now.succeeded() || now.out == shown, "{what}: something is gone and nobody said so");
            }
        }
    }
}

/// A pipe in its place was waited for without end; one of 10 GB was read whole.
#[test]
fn a_brokers_keys_are_read_as_they_were_written_or_named() {
    let (world, data, _) = stopped();
    let good = fs::read(data.join("identity")).expect("the keys are there");
    for (name, instead) in everything(&good, 16, 8) {
        let copy = copied(&world, &data);
        lay(&copy.join("identity"), &instead);
        let refused = started(&world, &copy, &name).unwrap_or_else(|| panic!("{name}: served with other keys"));
        refused.refused_naming("identity", &name);
        assert!(is_as_laid(&copy.join("identity"), &instead), "{name}");
    }
}

/// Without `CURRENT`, a broker failed to start once, and the next time served a store that it had made anew: all queues were gone.
#[test]
fn a_store_that_lost_its_first_file_is_not_made_anew() {
    let (world, data, _) = stopped();
    let copy = copied(&world, &data);
    fs::remove_file(copy.join("store/CURRENT")).expect("it is ours");
    let tables = files(&copy, "", ".sst");
    let refused = started(&world, &copy, "no CURRENT").expect("it does not serve");
    refused.refused_naming("CURRENT", "no CURRENT");
    assert_eq!(files(&copy, "", ".sst"), tables);
}

#[test]
fn current_of_a_store_is_read_or_named() {
    spoiled("CURRENT", "", [4, 4]);
}

#[test]
fn a_manifest_of_a_store_is_read_or_named() {
    spoiled("MANIFEST-", "", [6, 6]);
}

#[test]
fn a_table_of_a_store_is_read_or_named() {
    spoiled("", ".sst", [4, 6]);
}

/// Bytes that repeat took minutes for each MiB, and a log of several GiB was held in memory.
#[test]
fn a_log_of_a_store_is_read_or_named_in_time() {
    let (world, data, _) = stopped();
    let repeated = |bytes: &[u8], mib: usize| {
        let mut log = bytes.repeat(mib * 1024 * 1024 / bytes.len());
        let middle = log.len() / 2;
        log[middle..middle + 1_024].fill(0);
        Instead::Bytes(log)
    };
    let mut all = no_files();
    all.push(("2002".to_owned(), repeated(&[0x20, 0x02], 1)));
    all.push(("01".to_owned(), repeated(&[0x01], 16)));
    all.push(("random".to_owned(), Instead::Bytes(random(100_000))));
    all.push(("10 GB".to_owned(), Instead::Huge(random(4_096))));
    for (name, instead) in all {
        let copy = copied(&world, &data);
        let logs = fs::read_dir(copy.join("store")).expect("a store").map(|file| file.expect("a file").path());
        let log = logs.filter(|path| path.extension().is_some_and(|end| end == "log")).max().expect("a log");
        lay(&log, &instead);
        let began = Instant::now();
        if let Some(refused) = started(&world, &copy, &name) {
            assert!(is_as_laid(&log, &instead), "{name}: it was changed");
            refused.refused_naming(".log", &name);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{name}: {:?}", began.elapsed());
    }
}

/// 4 GiB in its place were read whole.
#[test]
fn the_name_that_a_store_has_for_itself_is_read_or_named() {
    let (world, data, _) = stopped();
    let copy = copied(&world, &data);
    lay(&copy.join("store/IDENTITY"), &Instead::Huge(b"name".to_vec()));
    started(&world, &copy, "10 GB").expect("it does not serve").refused_naming("IDENTITY", "10 GB");
}

#[test]
fn options_of_a_store_are_in_nobodys_way() {
    spoiled("OPTIONS-", "", [2, 2]);
}

/// Settings were read whole whatever their length, and a pipe in their place was waited for without end.
#[test]
fn settings_of_a_broker_are_read_or_named() {
    let world = World::new();
    let good = b"data = \"never\"\nlisten = \"127.0.0.1:1\"\nadmit = \"list\"\nlisen = 1\n";
    for (name, instead) in everything(good, 8, 8) {
        // What is still settings would serve: only what is none is of interest here.
        if matches!(&instead, Instead::Bytes(bytes) if !bytes.ends_with(b"lisen = 1\n") && std::str::from_utf8(bytes).is_ok()) {
            continue;
        }
        let path = world.path("settings.toml");
        lay(&path, &instead);
        let attempt = attempt(&mut world.command("nobody", &["broker", "--config", &path.to_string_lossy()]), &name);
        attempt.refused_naming("settings.toml", &name);
        assert!(is_as_laid(&path, &instead), "{name}");
    }
}

/// A name in the list that is no owner's admits nobody and stops nobody.
#[test]
fn what_is_no_owner_in_the_admission_list_is_in_nobodys_way() {
    let (world, data, _) = stopped();
    let copy = copied(&world, &data);
    fs::create_dir_all(copy.join("admitted")).expect("a folder");
    for (number, (_, instead)) in no_files().into_iter().enumerate() {
        lay(&copy.join("admitted").join(format!("no-owner-{number}")), &instead);
        lay(&copy.join("admitted").join(format!("{number:064x}")), &instead);
    }
    assert!(started(&world, &copy, "admitted").is_none());
    assert!(inspect(&world, &copy).succeeded());
}
