//! An owner's disk fails: its state, its spool, its storage.

use std::fs;
use std::process::Command;

use super::stage::Stage;
use super::{Tally, assert_orderly, injections, run};
use crate::faults::strace;
use crate::world::{Done, json};

/// Positions that are tried in a run of all tests, for each command.
const COUNT: usize = 8;

/// Whether a record has this value now.
fn has(stage: &Stage, path: &str, value: &[u8]) -> bool {
    let to = stage.world.path("out");
    let _ = fs::remove_file(&to);
    let done = stage.world.run("alice", &["get", path, "--to", &to.to_string_lossy()]);
    done.code == 0 && fs::read(&to).expect("it was written") == value
}

/// Runs a command of alice's once for each chosen position; `check` looks at what it said and at what is there.
fn sweep(what: &str, command: impl Fn(&Stage) -> Command, check: impl Fn(&Stage, &str, &Done)) {
    if !strace::is_there() {
        return;
    }
    let stage = Stage::new();
    let mut tally = Tally::default();
    let broker = stage.broker();
    let (done, pid) = run(&stage.world, &command(&stage), None);
    assert_eq!(done.code, 0, "{done:?}");
    let all = strace::positions(&stage.world.path("strace"), pid, &stage.world.path("alice"));
    drop(broker);
    for injection in injections(all, COUNT, &mut tally) {
        stage.reset();
        let _broker = stage.broker();
        let story = format!("{injection:?}");
        let (done, pid) = run(&stage.world, &command(&stage), Some(&injection));
        tally.tried += 1;
        tally.met += usize::from(strace::was_met(&stage.world.path("strace"), pid));
        tally.refused += usize::from(done.code != 0);
        assert_orderly(&story, &done);
        // What waits is published, what was staged is settled.
        let listed = stage.world.run("alice", &["ls"]);
        assert_eq!(listed.code, 0, "{story}: {listed:?}");
        check(&stage, &story, &done);
        stage.assert_clean(&story);
    }
    tally.tell(what);
}

/// [P-3] A value is saved or it is not, and the command says which.
#[test]
fn a_put_whose_disk_fails_anywhere_says_whether_the_value_is_saved() {
    let value = vec![9; 200_000];
    let command = |stage: &Stage| stage.world.command("alice", &["put", "/big", &stage.world.file("big", vec![9; 200_000])]);
    sweep("put", command, |stage, story, done| {
        let effect = if done.code == 0 { "done".to_owned() } else { done.exit_and_effect().1 };
        let is_there = has(stage, "/big", &value);
        match effect.as_str() {
            "done" => assert!(is_there, "{story}: {done:?}"),
            "none" => assert!(!is_there, "{story}: {done:?}"),
            _ => {}
        }
    });
}

/// [P-3] The same for each line.
#[test]
fn an_apply_whose_disk_fails_anywhere_says_of_each_line_whether_it_is_saved() {
    let command = |stage: &Stage| {
        let line = |number: u8| format!("{{\"op\":\"put\",\"path\":\"/line/{number}\",\"value\":\"{number}\"}}\n");
        let lines = stage.world.file("lines", (0..3).map(line).collect::<String>());
        let mut command = Command::new("sh");
        let apply = stage.world.command("alice", &["apply"]);
        let arguments = std::iter::once(apply.get_program()).chain(apply.get_args());
        command.args(["-c", "lines=$1; shift; exec \"$@\" <\"$lines\"", "sh", &lines]).args(arguments);
        command
    };
    sweep("apply", command, |stage, story, done| {
        for line in done.out.lines().map(json) {
            let path = line["path"].as_str().expect("a path");
            let is_there = has(stage, path, path.trim_start_matches("/line/").as_bytes());
            match line["result"].as_str().expect("a result") {
                "failed" if line["error"].as_str().is_some_and(|error| error.contains("may have been made")) => {}
                "failed" => assert!(!is_there, "{story}: {done:?}"),
                _ => assert!(is_there, "{story}: {done:?}"),
            }
        }
    });
}
