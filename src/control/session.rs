//! One caller: its command is carried out here with its streams.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::caller::Order;
use super::frame::{Frame, Kind};
use super::streams::{Answers, Lent};
use super::{ALIVE, VERSION};
use crate::args::Cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::node::Running;
use crate::signal::Stop;

/// Longest wait for the command of a caller that connected.
const HELLO: Duration = Duration::from_secs(5);

/// Serves one caller to its end. `stop` is set here when the caller is interrupted, and elsewhere when the node ends.
pub(super) fn serve(mut stream: UnixStream, running: Arc<Running>, stop: watch::Sender<bool>) {
    match receive(&mut stream) {
        Ok(Some(order)) => {
            if let Err(error) = carry_out(&stream, order, running, stop) {
                tracing::debug!(%error, "a caller was lost");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a caller gave no command"),
    }
}

/// The command; `None` if the caller was told that it is of another version.
pub(super) fn receive(stream: &mut UnixStream) -> io::Result<Option<Order>> {
    stream.set_read_timeout(Some(HELLO))?;
    stream.set_write_timeout(Some(HELLO))?;
    let hello = expect(stream, Kind::Hello)?;
    let command = expect(stream, Kind::Command)?;
    let order = match hello.body == VERSION.as_bytes() {
        true => serde_json::from_slice(&command.body).ok(),
        false => None,
    };
    let answer = if order.is_some() { Frame::new(Kind::Welcome, Vec::new()) } else { Frame::new(Kind::OtherVersion, VERSION) };
    answer.write(stream)?;
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(order)
}

fn expect(stream: &mut UnixStream, kind: Kind) -> io::Result<Frame> {
    let frame = Frame::read(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if frame.kind == kind { Ok(frame) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn carry_out(stream: &UnixStream, order: Order, running: Arc<Running>, stop: watch::Sender<bool>) -> io::Result<()> {
    let (lent, answers) = Lent::new(stream, order.columns)?;
    let pulse = lent.pulse(ALIVE);
    let console = Console::of(lent);
    let mut cli = order.cli;
    cli.globals.lend(console.clone(), running, Stop::told(stop.subscribe()));
    let (gone, is_gone) = watch::channel(false);
    let from = stream.try_clone()?;
    let listening = std::thread::spawn(move || listen(from, &answers, &stop, &gone));
    let ended = run(cli, &console, is_gone);
    drop(pulse);
    if let Some(code) = ended? {
        Frame::new(Kind::Exit, vec![code]).write(&mut &*stream)?;
    }
    // The caller ends the connection: closing first, with something of its input unread, would take the last frames back.
    stream.shutdown(Shutdown::Write)?;
    let _ = listening.join();
    Ok(())
}

/// Until the caller ends the connection or sends what it should not.
fn listen(mut from: UnixStream, answers: &Answers, stop: &watch::Sender<bool>, gone: &watch::Sender<bool>) {
    while let Ok(Some(frame)) = Frame::read(&mut from) {
        if frame.kind == Kind::Interrupt {
            stop.send_replace(true);
        } else if !answers.take(frame) {
            break;
        }
    }
    gone.send_replace(true);
    let _ = from.shutdown(Shutdown::Both);
}

/// Carries the command out and reports its failure. Its exit code; `None` if the caller is gone, which ends the command where it is.
fn run(cli: Cli, console: &Console, mut gone: watch::Receiver<bool>) -> io::Result<Option<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let json = cli.globals.json;
    let outcome: Option<Result<(), Failure>> = runtime.block_on(async {
        tokio::select! {
            outcome = cli.command.run(cli.globals) => Some(outcome),
            _ = gone.wait_for(|gone| *gone) => None,
        }
    });
    runtime.shutdown_background();
    Ok(outcome.map(|outcome| match outcome {
        Ok(()) => 0,
        Err(failure) => {
            failure.report(console, json);
            failure.exit as u8
        }
    }))
}
