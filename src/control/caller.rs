//! The side that gives a command away and lends its streams.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frame::{BYTES_MAX, Frame, Kind};
use super::{ALIVE, VERSION, socket};
use crate::args::Cli;
use crate::console::Console;
use crate::failure::{Effect, Failure};
use crate::signal::Stop;

/// Longest silence of the process that runs the node before the command is taken for not accepted.
const WELCOME: Duration = Duration::from_secs(5);

/// Longest silence of it after that: three of its signs of life are late.
const SILENCE: Duration = Duration::from_secs(3 * ALIVE.as_secs());

/// A command on its way, with what the other side must know about the caller's terminal.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) cli: Cli,
    pub(super) columns: Option<u16>,
}

/// A command that another process carries out.
pub(crate) struct Call {
    pub(super) stream: UnixStream,
}

type Writer = Arc<Mutex<UnixStream>>;

impl Call {
    /// Gives the command to whoever runs the node in `folder`; `None` if nobody takes commands there.
    ///
    /// # Errors
    /// It is of another version, has too much to do, or the command cannot be sent. Nothing was changed.
    pub(super) fn begin(folder: &Path, cli: &Cli) -> Result<Option<Self>, Failure> {
        let Ok(mut stream) = socket::connect(folder) else { return Ok(None) };
        let order = OrderRef { cli, columns: cli.globals.console.terminal() };
        let order = serde_json::to_vec(&order)
            .map_err(|error| Failure::usage(format!("the command cannot be passed on: {error}"), "use names that are Unicode"))?;
        let Ok(answer) = greet(&mut stream, order) else { return Ok(None) };
        match answer.map(|frame| (frame.kind, frame.text())) {
            Some((Kind::Welcome, _)) => Ok(Some(Self { stream })),
            Some((Kind::OtherVersion, theirs)) => Err(other_version(&theirs)),
            Some((Kind::Full, _)) => Err(Failure::new("too many commands use this node at once", "repeat when some have ended")),
            _ => Ok(None),
        }
    }

    /// Lends the streams until the command has ended. Its exit code; it has reported its failure itself.
    ///
    /// # Errors
    /// The other process ended first, says nothing any more or what no node says: `changes` says whether the command may have changed something.
    pub(crate) fn carry(self, console: &Console, changes: bool, stoppable: bool) -> Result<ExitCode, Failure> {
        let lost = |error| lost(&error, changes);
        let writer: Writer = Arc::new(Mutex::new(self.stream.try_clone().map_err(lost)?));
        if stoppable {
            pass_on_signals(Arc::clone(&writer))?;
        }
        let (mut asked, mut told) = (None, false);
        let mut reader = io::BufReader::new(self.stream);
        loop {
            let frame = Frame::read(&mut reader).map_err(lost)?.ok_or_else(|| lost(io::ErrorKind::UnexpectedEof.into()))?;
            match frame.kind {
                Kind::Out => send(&writer, written(console.out(&frame.body))).map_err(lost)?,
                Kind::Err => {
                    told = true;
                    console.err(&frame.body);
                }
                Kind::Alive => {}
                Kind::Read => read(&mut asked, console, &writer),
                // A command that fails says why.
                Kind::Exit if frame.body == [0] || (told && frame.body.len() == 1) => return Ok(ExitCode::from(frame.body[0])),
                _ => return Err(lost(io::ErrorKind::InvalidData.into())),
            }
        }
    }
}

/// The same as [`Order`], borrowed.
#[derive(Serialize)]
struct OrderRef<'a> {
    cli: &'a Cli,
    columns: Option<u16>,
}

pub(super) fn greet(stream: &mut UnixStream, order: Vec<u8>) -> io::Result<Option<Frame>> {
    stream.set_read_timeout(Some(WELCOME))?;
    stream.set_write_timeout(Some(WELCOME))?;
    // Whoever refuses says so at once and reads no more: what was not taken does not matter then.
    let _ = Frame::new(Kind::Hello, VERSION).write(stream).and_then(|()| Frame::new(Kind::Command, order).write(stream));
    let answer = Frame::read(stream)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(answer)
}

fn send(writer: &Writer, frame: Frame) -> io::Result<()> {
    frame.write(&mut *writer.lock().unwrap_or_else(PoisonError::into_inner))
}

fn written(outcome: io::Result<()>) -> Frame {
    match outcome {
        Ok(()) => Frame::new(Kind::Taken, Vec::new()),
        Err(error) => Frame::new(Kind::Untaken, error.to_string()),
    }
}

/// Standard input is read by a thread of its own: what is printed meanwhile must not wait for it.
fn read(asked: &mut Option<SyncSender<()>>, console: &Console, writer: &Writer) {
    let asked = asked.get_or_insert_with(|| {
        let (asked, questions) = sync_channel(1);
        let (mut input, writer) = (console.input(), Arc::clone(writer));
        std::thread::spawn(move || {
            let mut buffer = vec![0; BYTES_MAX];
            while questions.recv().is_ok() {
                let frame = match some(&mut input, &mut buffer) {
                    Ok(bytes) => Frame::new(Kind::Input, bytes),
                    Err(error) => Frame::new(Kind::InputFailed, error.to_string()),
                };
                if send(&writer, frame).is_err() {
                    return;
                }
            }
        });
        asked
    });
    let _ = asked.try_send(());
}

/// What the input has now, at the end nothing.
fn some<'a>(input: &mut impl Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match input.read(buffer) {
            Ok(count) => return Ok(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The first signal asks the command to end; a second one ends this process.
fn pass_on_signals(writer: Writer) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("signals cannot be handled: {error}"), "report this as a bug");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let stop = runtime.block_on(async { Stop::listen() })?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            stop.wait().await;
            let _ = send(&writer, Frame::new(Kind::Interrupt, Vec::new()));
            std::future::pending::<()>().await;
        });
    });
    Ok(())
}

fn other_version(theirs: &str) -> Failure {
    let error = format!("the process that runs this node is Tidings {theirs}, and this is {VERSION}");
    Failure::new(error, "end it and begin it again with this version, or use its version here")
}

fn lost(error: &io::Error, changes: bool) -> Failure {
    let failure = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::new("the process that runs this node says nothing any more", ""),
        ErrorKind::InvalidData => Failure::new("the process that runs this node says what cannot be understood", ""),
        _ => Failure::new("the process that runs this node ended before the command had", ""),
    };
    match changes {
        true => failure.effect(Effect::Unknown).action("look with `tidings status` or `ls` before you repeat it"),
        false => failure.action("repeat it"),
    }
}
