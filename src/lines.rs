//! Lines from a file or a pipe, read beside the work on them.

use std::io::{BufRead, BufReader};

use tokio::sync::mpsc;

use crate::console::Console;

/// Lines read ahead.
const AHEAD: usize = 1024;

/// A line that is not blank, or why it cannot be read, with its number; the first is 1.
pub(crate) type Numbered = (u64, Result<String, String>);

/// Begins to read lines. Reading ends when the receiver is dropped.
pub(crate) fn read(console: &Console) -> mpsc::Receiver<Numbered> {
    let input = BufReader::new(console.input());
    let (sender, receiver) = mpsc::channel(AHEAD);
    // A read of a pipe cannot be interrupted: a thread of its own, which ends with the process or the one who writes.
    std::thread::spawn(move || pass_on(input, &sender));
    receiver
}

fn pass_on(input: impl BufRead, sender: &mpsc::Sender<Numbered>) {
    for (number, line) in (1..).zip(input.lines()) {
        let broken = line.is_err();
        let line = line.map_err(|error| format!("the line cannot be read: {error}"));
        if line.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        if sender.blocking_send((number, line)).is_err() || broken {
            return;
        }
    }
}
