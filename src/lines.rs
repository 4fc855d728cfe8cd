//! Lines from a file or a pipe, read beside the work on them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use tokio::sync::mpsc;

use crate::failure::Failure;

/// Lines read ahead.
const AHEAD: usize = 1024;

/// A line that is not blank, or why it cannot be read, with its number; the first is 1.
pub(crate) type Numbered = (u64, Result<String, String>);

/// Begins to read lines; `-` is standard input. Reading ends when the receiver is dropped.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn read(source: &Path) -> Result<mpsc::Receiver<Numbered>, Failure> {
    let input: Box<dyn BufRead + Send> = match source.as_os_str() == "-" {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::new(File::open(source).map_err(|error| {
            Failure::new(format!("{} cannot be read: {error}", source.display()), "name a file that can, or - for standard input")
        })?)),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    // A read of a pipe cannot be interrupted: a thread of its own, which ends with the process.
    std::thread::spawn(move || pass_on(input, &sender));
    Ok(receiver)
}

fn pass_on(input: Box<dyn BufRead + Send>, sender: &mpsc::Sender<Numbered>) {
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
