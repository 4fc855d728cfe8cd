//! The way to the brokers: waiting, dialing or in use.

use std::pin::Pin;

use tidings_proto::Reply;
use tokio::time::{Instant, sleep_until};

use super::session::{Opened, Session};
use crate::connection::ConnectionError;
use crate::stream::silent;

type Attempt = Pin<Box<dyn Future<Output = Result<Opened, ConnectionError>> + Send>>;

/// Where the way to the brokers stands.
pub(super) enum Line {
    /// There is no broker to try.
    Down,
    /// Try again from the first one at this time.
    Waiting(Instant),
    /// The broker at this place is being tried.
    Dialing(usize, Attempt),
    /// A broker takes publishes.
    Up(Box<Up>),
}

/// A session and its clock.
pub(super) struct Up {
    pub(super) session: Session,
    /// When the broker is asked for acknowledgements next.
    pub(super) ask_at: Instant,
    /// When the next pulse is due; past if it waits for a receipt; `None` without pulses.
    pub(super) pulse_at: Option<Instant>,
}

/// What happened on the way to the brokers.
pub(super) enum LineEvent {
    Retry,
    Dialed(usize, Result<Opened, ConnectionError>),
    Reply(Result<Reply, ConnectionError>),
    AskReaders,
    /// A pulse is due.
    Pulse,
    /// The next part of a transfer may be sent.
    Room,
}

impl Line {
    /// Waits for the next thing to happen. Safe to cancel.
    pub(super) async fn event(&mut self) -> LineEvent {
        match self {
            Self::Down => std::future::pending().await,
            Self::Waiting(until) => {
                sleep_until(*until).await;
                LineEvent::Retry
            }
            Self::Dialing(at, attempt) => LineEvent::Dialed(*at, attempt.await),
            Self::Up(up) => {
                let room = up.session.room_for_part();
                tokio::select! {
                    () = at(up.session.silent_at()) => LineEvent::Reply(Err(silent())),
                    reply = up.session.stream.receive() => LineEvent::Reply(reply),
                    () = sleep_until(up.ask_at) => LineEvent::AskReaders,
                    () = room => LineEvent::Room,
                    // One that is due already waits for a receipt, not for a time.
                    () = at(up.pulse_at.filter(|due| *due > Instant::now())) => LineEvent::Pulse,
                }
            }
        }
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
