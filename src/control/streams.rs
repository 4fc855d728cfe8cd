//! The streams of a caller, as the command that is carried out for it sees them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::frame::{BYTES_MAX, Frame, Kind};
use crate::console::Streams;

/// The half that the command uses.
pub(super) struct Lent {
    writer: Writer,
    taken: Mutex<Receiver<Result<(), String>>>,
    input: Arc<Mutex<Input>>,
    columns: Option<u16>,
}

/// Where answers of the caller go.
pub(super) struct Answers {
    taken: SyncSender<Result<(), String>>,
    input: SyncSender<Result<Vec<u8>, String>>,
}

/// Lets the caller know again and again that its command goes on. Ends when it is dropped, and says nothing after that.
pub(super) struct Pulse {
    end: Option<Sender<()>>,
    beating: Option<JoinHandle<()>>,
}

/// Frames of several threads, one after the other.
type Writer = Arc<Mutex<UnixStream>>;

fn send(writer: &Writer, kind: Kind, body: &[u8]) -> io::Result<()> {
    Frame::new(kind, body).write(&mut *writer.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Input {
    asking: Writer,
    answers: Receiver<Result<Vec<u8>, String>>,
    /// Bytes that came and were not read yet.
    rest: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Lent {
    /// The streams behind `stream`. `columns` of its terminal.
    pub(super) fn new(stream: &UnixStream, columns: Option<u16>) -> io::Result<(Self, Answers)> {
        // Each question has one answer, and each is asked again only after it.
        let (taken_here, taken) = sync_channel(1);
        let (input_here, answers) = sync_channel(1);
        let writer = Arc::new(Mutex::new(stream.try_clone()?));
        let input = Input { asking: Arc::clone(&writer), answers, rest: Vec::new(), at: 0, ended: false };
        let lent = Self { writer, taken: Mutex::new(taken), input: Arc::new(Mutex::new(input)), columns };
        Ok((lent, Answers { taken: taken_here, input: input_here }))
    }

    /// Begins to tell the caller that its command goes on.
    pub(super) fn pulse(&self, every: Duration) -> Pulse {
        let (end, ended) = channel::<()>();
        let writer = Arc::clone(&self.writer);
        let beating = std::thread::spawn(move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) && send(&writer, Kind::Alive, &[]).is_ok() {}
        });
        Pulse { end: Some(end), beating: Some(beating) }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(beating) = self.beating.take() {
            let _ = beating.join();
        }
    }
}

impl Answers {
    /// Passes a frame of the caller on. `false` for one that nobody asked for.
    pub(super) fn take(&self, frame: Frame) -> bool {
        match frame.kind {
            Kind::Taken => passed(self.taken.try_send(Ok(()))),
            Kind::Untaken => passed(self.taken.try_send(Err(frame.text()))),
            Kind::Input => passed(self.input.try_send(Ok(frame.body))),
            Kind::InputFailed => passed(self.input.try_send(Err(frame.text()))),
            _ => false,
        }
    }
}

/// A command that has let go of its input is no mistake of the caller's.
fn passed<T>(sent: Result<(), TrySendError<T>>) -> bool {
    !matches!(sent, Err(TrySendError::Full(_)))
}

impl Streams for Lent {
    /// Returns when the caller has written it: what nobody could read is not printed. [P-15]
    fn out(&self, bytes: &[u8]) -> io::Result<()> {
        // Held until the answer: answers come in the order of the questions.
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.chunks(BYTES_MAX) {
            send(&self.writer, Kind::Out, part)?;
            taken.recv().map_err(|_| gone())?.map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn err(&self, bytes: &[u8]) {
        for part in bytes.chunks(BYTES_MAX) {
            let _ = send(&self.writer, Kind::Err, part);
        }
    }

    fn input(&self) -> Box<dyn Read + Send> {
        Box::new(Reading(Arc::clone(&self.input)))
    }

    fn terminal(&self) -> Option<u16> {
        self.columns
    }
}

struct Reading(Arc<Mutex<Input>>);

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

impl Read for Input {
    /// Asks only when somebody reads: what the caller's input still holds stays there, as with a process that did not read it.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.rest.len() && !self.ended {
            send(&self.asking, Kind::Read, &[])?;
            self.rest = self.answers.recv().map_err(|_| gone())?.map_err(io::Error::other)?;
            self.at = 0;
            self.ended = self.rest.is_empty();
        }
        let count = buffer.len().min(self.rest.len() - self.at);
        buffer[..count].copy_from_slice(&self.rest[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "whoever gave this command is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent() -> (Lent, Answers, UnixStream) {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (lent, answers) = Lent::new(&here, None).expect("it is lent");
        (lent, answers, there)
    }

    #[test]
    fn an_input_whose_owner_is_gone_is_cut_off_and_not_ended() {
        let (lent, answers, _there) = lent();
        assert!(answers.take(Frame::new(Kind::Input, "half")));
        drop(answers);
        assert_eq!(lent.input().read_to_end(&mut Vec::new()).expect_err("it is cut off").kind(), io::ErrorKind::BrokenPipe);
    }

    /// [P-15]
    #[test]
    fn what_the_caller_could_not_write_is_not_printed() {
        let (lent, answers, _there) = lent();
        assert!(answers.take(Frame::new(Kind::Untaken, "no space")));
        assert_eq!(lent.out(b"line").expect_err("it is not written").to_string(), "no space");
    }

    /// A caller once waited without end for a node that had welcomed it and then said nothing.
    #[test]
    fn a_command_that_says_nothing_is_known_to_go_on_until_it_ends() {
        let (lent, answers, mut there) = lent();
        let pulse = lent.pulse(Duration::from_millis(1));
        let alive = Some(Frame::new(Kind::Alive, ""));
        assert_eq!(Frame::read(&mut there).expect("a frame"), alive);
        drop(pulse);
        lent.err(b"last");
        drop((lent, answers));
        let rest: Vec<_> =
            std::iter::from_fn(|| Frame::read(&mut there).expect("a frame")).filter(|frame| Some(frame) != alive.as_ref()).collect();
        assert_eq!(rest, [Frame::new(Kind::Err, "last")]);
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_refused() {
        let (_lent, answers, _there) = lent();
        let refused = [Kind::Taken, Kind::Taken, Kind::Exit].map(|kind| answers.take(Frame::new(kind, "")));
        assert_eq!(refused, [true, false, false]);
    }
}
