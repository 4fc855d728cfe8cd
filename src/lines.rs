//! Lines from a file or a pipe, read beside the work on them.

use std::io::{BufRead, BufReader, Read};

use tidings_proto::caps::OBJECT_BYTES_MAX;
use tokio::sync::mpsc;

use crate::console::Console;

/// Longest line: a value at its cap as text, and what stands around it. A longer line is not held, and ends the reading.
const LINE_BYTES_MAX: u64 = OBJECT_BYTES_MAX + 64 * 1024;
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

fn pass_on(mut input: impl BufRead, sender: &mpsc::Sender<Numbered>) {
    for number in 1.. {
        let mut line = Vec::new();
        let read = input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        let (line, goes_on) = match read {
            Ok(0) => return,
            Ok(count) if count as u64 > LINE_BYTES_MAX => (Err(format!("the line has more than {LINE_BYTES_MAX} bytes")), false),
            Ok(_) => (text(line), true),
            Err(error) => (Err(format!("the line cannot be read: {error}")), false),
        };
        if line.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        if sender.blocking_send((number, line)).is_err() || !goes_on {
            return;
        }
    }
}

fn text(mut line: Vec<u8>) -> Result<String, String> {
    while line.pop_if(|last| matches!(last, b'\n' | b'\r')).is_some() {}
    String::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<Numbered> {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        pass_on(input, &sender);
        drop(sender);
        std::iter::from_fn(|| receiver.blocking_recv()).collect()
    }

    /// A line that was not text once ended all that came after it.
    #[test]
    fn a_line_that_is_not_text_fails_alone() {
        let told = lines(b"one\r\n\xff\n \nfour");
        assert_eq!(told.iter().map(|(number, line)| (*number, line.is_ok())).collect::<Vec<_>>(), [(1, true), (2, false), (4, true)]);
        assert_eq!((told[0].1.as_deref(), told[2].1.as_deref()), (Ok("one"), Ok("four")));
    }
}
