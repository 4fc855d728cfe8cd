//! The broker's disk fails.

use std::fs::{self, File};

use super::stage::Stage;
use super::{Tally, injections};
use crate::faults::positions::Position;
use crate::faults::strace::{self, Errno, Injection};
use crate::world::{Done, Running, json};

/// Positions that are tried in a run of all tests.
const COUNT: usize = 10;
/// Publishes of one run.
const PUTS: usize = 3;

/// What came of one life of a broker.
struct Life {
    pid: u32,
    /// Its exit code; `None` if it was ended by a signal.
    code: Option<i32>,
    puts: Vec<Done>,
    read: Option<Done>,
    log: String,
}

/// A broker that starts, takes publishes and an acknowledgement, and is told to end.
fn live(stage: &Stage, injection: Option<&Injection>) -> Life {
    let (log, trace) = (stage.world.path("log"), stage.world.path("strace"));
    let _ = fs::remove_file(&trace);
    let mut command = strace::traced(&stage.broker_command(), &trace, injection);
    let mut broker = Running::begin_logged(&mut command, File::create(&log).expect("a log"));
    let pid = broker.pid();
    let (mut puts, mut read) = (Vec::new(), None);
    if broker.line().starts_with("listening on ") {
        broker.line();
        for number in 0..PUTS {
            let value = stage.world.file("value", format!("{number}"));
            puts.push(stage.world.run("alice", &["--timeout", "5s", "put", &format!("/put/{number}"), &value]));
        }
        read = Some(stage.world.run("bob", &["--timeout", "5s", "watch", "--once"]));
    }
    let code = broker.end_with("TERM").code();
    Life { pid, code, puts, read, log: fs::read_to_string(log).expect("a log") }
}

/// [P-7] A receipt means synced, also of a disk that fails somewhere.
#[test]
fn a_broker_whose_disk_fails_anywhere_receipts_nothing_that_is_lost_and_says_what_failed() {
    if !strace::is_there() {
        return;
    }
    let stage = Stage::new();
    let mut tally = Tally::default();
    let life = live(&stage, None);
    assert_eq!((life.code, life.puts.iter().all(|put| put.code == 0)), (Some(0), true), "{}", life.log);
    let all = strace::positions(&stage.world.path("strace"), life.pid, &stage.world.path("broker"));
    for injection in injections(all, COUNT, &mut tally) {
        stage.reset();
        let story = format!("{injection:?}");
        let life = live(&stage, Some(&injection));
        tally.tried += 1;
        check(&stage, &story, &injection, &life, &mut tally);
        let _broker = stage.broker();
        stage.assert_clean(&story);
        for (number, _) in life.puts.iter().enumerate() {
            let read = stage.world.run("bob", &["get", &format!("alice:/put/{number}")]);
            assert_eq!((read.code, json(&read.out)["value"].as_str()), (0, Some(format!("{number}").as_str())), "{story}: {read:?}");
        }
    }
    tally.tell("broker");
}

/// [P-7] A sync of the log that failed is never made good by a later one: nothing is acknowledged after it, everybody is told, also the
/// operator, and what was receipted before is served on and is there after a restart.
#[test]
fn a_broker_whose_log_was_not_synced_acknowledges_nothing_until_it_is_started_again() {
    if !strace::is_there() {
        return;
    }
    let stage = Stage::new();
    let life = live(&stage, None);
    let all = strace::positions(&stage.world.path("strace"), life.pid, &stage.world.path("broker"));
    let is_log = |position: &&Position| position.path.extension().is_some_and(|end| end == "log") && position.call.ends_with("sync");
    let position = all.iter().filter(is_log).max_by_key(|position| (position.path.clone(), position.turn)).expect("a synced log");
    // Not the first sync of the run, so that something is receipted before.
    let turn = position.turn.saturating_sub(1).max(1);
    let injection = Injection { position: Position { turn, ..position.clone() }, errno: Errno::Eio };
    stage.reset();
    let life = live(&stage, Some(&injection));
    check(&stage, "a failed sync", &injection, &life, &mut Tally::default());
    let refused: Vec<_> = life.puts.iter().filter(|put| put.code != 0).collect();
    assert!(!refused.is_empty() && refused.iter().all(|put| put.code == 3), "{refused:?}");
    let last = life.puts.last().expect("a put");
    assert!(last.code == 3 && last.error().contains("must restart; nothing changed"), "{last:?}");
    assert_eq!((life.code, life.log.contains("no write is taken until")), (Some(1), true), "{}", life.log);
    let _broker = stage.broker();
    stage.assert_clean("a failed sync");
}

fn check(stage: &Stage, story: &str, injection: &Injection, life: &Life, tally: &mut Tally) {
    assert!(matches!(life.code, Some(0 | 1)), "{story}: {:?}: {}", life.code, life.log);
    assert!(!life.log.contains("panicked"), "{story}: {}", life.log);
    let receipted = life.puts.iter().filter(|put| put.code == 0).map(|put| json(&put.out)["number"].as_u64().expect("a number")).max();
    assert!(stage.stands_at() >= receipted.unwrap_or_default(), "{story}: {receipted:?} was receipted");
    let failed: Vec<&Done> = life.puts.iter().chain(&life.read).filter(|done| done.code != 0).collect();
    failed.iter().for_each(|done| super::assert_orderly(story, done));
    // What was not receipted is saved, and told so.
    for put in life.puts.iter().filter(|put| put.code != 0) {
        assert_eq!((put.exit_and_effect().1.as_str(), put.code == 3 || put.code == 5), ("done", true), "{story}: {put:?}");
    }
    let named = life.log.contains(injection.errno.text());
    assert!(named || (failed.is_empty() && life.code == Some(0)), "{story}: {failed:?}: {}", life.log);
    tally.met += usize::from(strace::was_met(&stage.world.path("strace"), life.pid));
    tally.refused += usize::from(life.code != Some(0) || !failed.is_empty());
}
