//! What comes through the socket of a node from whoever may open it: each side reads frames and commands, or ends without a panic.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use clap::Parser;
use tidings_hostile::{Meal, alone, feed};

use super::VERSION;
use super::caller::{Call, Order, greet};
use super::frame::{Frame, Kind};
use super::session::receive;
use crate::args::Cli;
use crate::console::{Console, Streams};

/// A line of every command that goes to another process, with and without what may be left out.
const LINES: [&str; 26] = [
    "init --storage file:///a --passphrase",
    "put /a value --content-type text/plain --no-wait --json --timeout 500ms",
    "get /a",
    "get me/a --to file",
    "ls",
    "ls /a --offline",
    "rm /a --no-wait",
    "apply --no-wait",
    "import folder /a --no-wait",
    "export folder",
    "export /a folder --force",
    "grant card --as name --check fingerprint",
    "revoke name",
    "readers",
    "brokers ls",
    "brokers add address",
    "brokers remove address --force",
    "rescued ls",
    "rescued get id",
    "rescued drop id",
    "follow invitation --as name --storage file:///a --storage file:///b",
    "unfollow name --log debug --log-format json --progress never",
    "watch --once --from start --no-fetch",
    "status --offline",
    "verify --evidence file",
    "doctor",
];

fn orders() -> Vec<Vec<u8>> {
    let columns = [None, Some(0), Some(u16::MAX)].into_iter().cycle();
    let order = |(line, columns): (&str, _)| {
        let cli = Cli::try_parse_from(std::iter::once("tidings").chain(line.split(' '))).expect(line);
        serde_json::to_vec(&Order { cli, columns }).expect("it is Unicode")
    };
    LINES.into_iter().zip(columns).map(order).collect()
}

fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut bytes).expect("memory does not fail"));
    bytes
}

/// A stream on which these bytes came and no more will, and the other end.
fn stream_of(bytes: &[u8]) -> (UnixStream, UnixStream) {
    let (here, mut there) = UnixStream::pair().expect("a pair");
    there.write_all(bytes).expect("it fits into a socket");
    there.shutdown(Shutdown::Write).expect("it is open");
    (here, there)
}

/// JSON is written in more ways than one: what is read means the same when it is read again.
#[test]
fn a_command_is_read_or_refused_and_means_one_thing() {
    alone(concat!(module_path!(), "::a_command_is_read_or_refused_and_means_one_thing"), || {
        feed("command", Meal { random: 500, mutations: 10_000 }, &orders(), |bytes| {
            let written = serde_json::to_vec(&serde_json::from_slice::<Order>(bytes).ok()?).expect("it is Unicode");
            let again: Order = serde_json::from_slice(&written).expect("it was written here");
            assert_eq!(serde_json::to_vec(&again).expect("it is Unicode"), written);
            // Whoever waits adds this to a time.
            let _ = std::time::Instant::now() + again.cli.globals.timeout;
            Some(bytes.to_vec())
        });
    });
}

/// A time that no clock reaches ended the thread that added it to one, in the process that runs the node.
#[test]
fn a_command_that_waits_for_ever_is_refused() {
    let order = String::from_utf8(orders().swap_remove(1)).expect("JSON");
    assert!(order.contains(r#""secs":0,"#), "{order}");
    for seconds in [u64::MAX, i64::MAX as u64, 1 << 40] {
        let order = order.replace(r#""secs":0,"#, &format!(r#""secs":{seconds},"#));
        assert!(serde_json::from_str::<Order>(&order).is_err(), "{seconds}");
    }
}

#[test]
fn a_node_takes_a_command_or_ends_the_connection_whatever_a_caller_sends() {
    let command = |order: Vec<u8>| bytes_of(&[Frame::new(Kind::Hello, VERSION), Frame::new(Kind::Command, order)]);
    let honest: Vec<_> = orders().into_iter().take(2).map(command).collect();
    feed("caller", Meal::SMALL, &honest, |bytes| {
        let (mut here, _there) = stream_of(bytes);
        receive(&mut here).ok().flatten().map(|_| bytes.to_vec())
    });
}

/// Streams of a caller that reads nothing.
struct Nothing;

impl Streams for Nothing {
    fn out(&self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn err(&self, _bytes: &[u8]) {}

    fn input(&self) -> Box<dyn Read + Send> {
        Box::new(io::empty())
    }

    fn terminal(&self) -> Option<u16> {
        None
    }
}

#[test]
fn a_caller_ends_whatever_the_process_that_took_its_command_answers() {
    let frame = |kind, body: &str| Frame::new(kind, body);
    let answers = [
        bytes_of(&[frame(Kind::Welcome, ""), frame(Kind::Out, "line"), frame(Kind::Err, "line"), frame(Kind::Exit, "\0")]),
        bytes_of(&[frame(Kind::Welcome, ""), frame(Kind::Read, ""), frame(Kind::Out, ""), frame(Kind::Exit, "\u{3}")]),
        bytes_of(&[frame(Kind::OtherVersion, "0.9.0")]),
        bytes_of(&[frame(Kind::Full, "")]),
    ];
    let order = orders().swap_remove(4);
    feed("answers", Meal::SMALL, &answers, |bytes| {
        let (mut here, _there) = stream_of(bytes);
        let answer = greet(&mut here, order.clone()).ok()??;
        if answer.kind == Kind::Welcome {
            let _ = Call { stream: here }.carry(&Console::of(Nothing), true, false);
        }
        Some(bytes.to_vec())
    });
}
