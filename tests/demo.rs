//! The demo is a test: everything it tells, it asserted.

use std::process::Command;

/// A broker that is killed, a reader that was away, 5,000 mutations: real processes of the program.
#[test]
fn the_demo_holds_what_it_tells_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let done = command.args(["demo", "--json"]).env("TMPDIR", folder.path()).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    assert!(out.lines().last().is_some_and(|line| line.contains("exits with 4")), "{out}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder is there").count(), 0);
}
