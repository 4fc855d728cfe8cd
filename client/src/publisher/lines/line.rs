//! The way to one broker: waiting, dialing, recovering from it, or in use.

use std::pin::Pin;

use tidings_proto::Reply;
use tokio::time::{Instant, sleep_until};

use super::super::recovering::Recovering;
use super::super::session::{Opened, Session};
use crate::connection::ConnectionError;
use crate::stream::silent;

pub(in super::super) type Attempt = Pin<Box<dyn Future<Output = Result<Opened, ConnectionError>> + Send>>;

/// Where the way to a broker stands.
pub(in super::super) enum Line {
    /// A step on it is under way.
    Down,
    /// Try at this time.
    Waiting(Instant),
    /// It is being tried.
    Dialing(Attempt),
    /// Everything that it holds is asked for.
    Recovering(Box<Recovering>),
    /// It takes publishes.
    Up(Box<Up>),
}

/// A session and its clock.
pub(in super::super) struct Up {
    pub(in super::super) session: Session,
    /// When the broker is asked for acknowledgements next.
    pub(in super::super) ask_at: Instant,
    /// When the next pulse is due; past if it waits for a receipt; `None` without pulses.
    pub(in super::super) pulse_at: Option<Instant>,
}

/// What happened on the way to a broker.
pub(in super::super) enum LineEvent {
    Retry,
    Dialed(Result<Opened, ConnectionError>),
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
            Self::Dialing(attempt) => LineEvent::Dialed(attempt.await),
            Self::Recovering(recovering) => {
                let silent_at = recovering.silent_at();
                tokio::select! {
                    () = sleep_until(silent_at) => LineEvent::Reply(Err(silent())),
                    reply = recovering.stream.receive() => LineEvent::Reply(reply),
                }
            }
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
