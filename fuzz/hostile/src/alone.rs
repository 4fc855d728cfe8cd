//! A test in a process of its own: only there the memory that a decoder asks for is told from that of its neighbours.

use std::process::Command;

/// Set in the process of a test that runs alone.
const ALONE: &str = "TIDINGS_TEST_ALONE";
/// What decoders may ask for beyond what the process had, KiB: the rows that are fed are of a few KiB.
const GROWTH_KIB_MAX: u64 = 16 * 1_024;

/// Runs `body` in a process that runs this test and nothing else. `test` is the test's whole path, its crate at the front.
///
/// # Panics
/// If `body` does, with what it said; or if it runs no such test.
pub fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let test = test.split_once("::").map_or(test, |(_, within)| within);
    let program = std::env::current_exe().expect("a test is a program");
    let mut again = Command::new(program);
    again.args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads", "1"]);
    // One arena: else each thread may reserve memory that nobody asked for.
    let output = again.env(ALONE, "1").env("MALLOC_ARENA_MAX", "1").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{test}: {}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "there is no test {test}:\n{said}");
    said.lines().filter(|line| line.contains(FED)).for_each(|line| println!("{line}"));
}

/// In every line that tells what a decoder was fed.
pub(crate) const FED: &str = " hostile inputs";

/// The most memory that this process ever asked for, touched or not, if it runs one test alone.
pub(crate) struct Peak(Option<u64>);

impl Peak {
    pub(crate) fn now() -> Self {
        Self(std::env::var_os(ALONE).and_then(|_| peak_kib()))
    }

    /// Nothing asked for more than the cap since.
    pub(crate) fn holds(&self, name: &str) {
        let (Some(before), Self(Some(now))) = (self.0, Self::now()) else { return };
        let growth = now.saturating_sub(before);
        assert!(growth <= GROWTH_KIB_MAX, "{name}: {growth} KiB were asked for");
    }
}

/// `None` where nobody tells it.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?.trim().strip_suffix(" kB")?.parse().ok()
}
