//! One path under callgrind: only what [`measured`] calls is collected.

use std::hint::black_box;
use std::process::Command;

/// Names the path to the process that valgrind watches.
pub(crate) const CHILD: &str = "TIDINGS_GUARD_PATH";
const TEST: &str = "the_main_paths_take_no_more_instructions_than_their_marks";
/// Callgrind begins and ends to collect where a function of this name is entered and left.
const COLLECT: &str = "--toggle-collect=*callgrind*measured*";

/// What a path is measured by: preparing comes before it, looking at the result behind it.
#[inline(never)]
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// Instructions that the path takes inside [`measured`].
pub(crate) fn count(path: &str) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let own = std::env::current_exe().expect("this test is a file");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", COLLECT])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(own)
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .output()
        .expect("valgrind runs");
    assert!(run.status.success(), "{path}: {}", String::from_utf8_lossy(&run.stderr));
    let count = total(&std::fs::read_to_string(&out).expect("callgrind wrote what it counted"));
    count.filter(|count| *count > 0).unwrap_or_else(|| panic!("{path}: nothing was collected"))
}

/// The sum that callgrind writes at the end of its file.
fn total(out: &str) -> Option<u64> {
    out.lines().rev().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

#[test]
fn the_total_is_read_from_the_end_of_what_callgrind_writes() {
    assert_eq!(total("version: 1\nevents: Ir\nfn=(1) f\n12 34\ntotals: 34\n"), Some(34));
    assert_eq!(total("version: 1\nevents: Ir\n"), None);
}
