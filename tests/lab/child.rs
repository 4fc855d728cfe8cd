//! This test binary once more, as a process that can be killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::Running;

/// Folder of the process; where it is not set, nothing runs.
const FOLDER: &str = "TIDINGS_LAB_FOLDER";
/// What the process is told to do.
const ORDERS: &str = "TIDINGS_LAB_ORDERS";
/// Before each line that is meant for who began it: the harness prints too.
const SAYS: &str = "says: ";

/// Begins `main`, a test of this binary that is no test by itself, in `folder` with these orders.
pub(crate) fn begin(main: &str, folder: &Path, orders: &[&str]) -> Running {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", main, "--ignored", "--nocapture"]).stdin(Stdio::piped());
    command.env(FOLDER, folder).env(ORDERS, orders.join("\n"));
    Running::begin(command)
}

/// In the process: its folder and its orders; `None` if somebody just runs all tests.
pub(crate) fn orders() -> Option<(PathBuf, Vec<String>)> {
    let folder = std::env::var_os(FOLDER)?;
    let orders = std::env::var(ORDERS).expect("orders");
    Some((folder.into(), orders.lines().map(str::to_owned).collect()))
}

/// In the process: tells who began it something.
pub(crate) fn say(what: &str) {
    // In front of it the harness has written the name of the test.
    println!("\n{SAYS}{what}");
}

/// In the process: waits for a line of who began it; also over when that one has ended.
pub(crate) async fn listen() {
    let heard = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
    heard.expect("it waits").expect("a line or none");
}

/// Waits until the process says something; `None` at its end.
pub(crate) fn said(process: &mut Running) -> Option<String> {
    // The harness prints an empty line here and there; so many come only at the end.
    let mut empty = 0;
    while empty < 100 {
        let line = process.line();
        if let Some(what) = line.strip_prefix(SAYS) {
            return Some(what.to_owned());
        }
        empty += u32::from(line.is_empty());
    }
    None
}
