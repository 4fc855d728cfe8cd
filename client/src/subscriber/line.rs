//! The way to a broker that serves the queue.

use std::pin::Pin;

use tidings_core::PseudonymKey;
use tidings_proto::Reply;
use tidings_proto::frames::Subscribe;
use tokio::time::{Instant, sleep_until};

use super::reach::{Reached, reach};
use super::route::Route;
use crate::connection::{Connection, ConnectionError};
use crate::stream::{Stream, in_time};

/// Chunks that wait to be taken; together they are one transaction.
const REPLIES_MAX: usize = 16;

type Attempt<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where the way stands.
pub(super) enum Line {
    /// There is no address to try.
    Down,
    /// Try again from the first address at this time.
    Waiting(Instant),
    /// Connections are on their way.
    Dialing(Attempt<Reached>),
    /// A subscription is on its way.
    Subscribing(Attempt<Result<Stream, ConnectionError>>),
    /// Subscribed.
    Up(Stream),
}

/// What happened.
pub(super) enum LineEvent {
    Retry,
    Dialed(Reached),
    Subscribed(Result<Stream, ConnectionError>),
    Reply(Result<Reply, ConnectionError>),
}

impl Line {
    /// Connects to the first of the routes, which come with their places, that answers.
    pub(super) fn dial(routes: Vec<(usize, Route)>, key: PseudonymKey) -> Self {
        Self::Dialing(Box::pin(reach(routes, key)))
    }

    pub(super) fn subscribe(connection: Connection, subscribe: Subscribe) -> Self {
        Self::Subscribing(Box::pin(in_time(async move {
            let stream = connection.subscribe(subscribe).await?;
            Ok(Stream::start(connection, stream.requests, stream.replies, REPLIES_MAX))
        })))
    }

    /// Waits for the next thing to happen. Safe to cancel.
    pub(super) async fn event(&mut self) -> LineEvent {
        match self {
            Self::Down => std::future::pending().await,
            Self::Waiting(until) => {
                sleep_until(*until).await;
                LineEvent::Retry
            }
            Self::Dialing(attempt) => LineEvent::Dialed(attempt.await),
            Self::Subscribing(attempt) => LineEvent::Subscribed(attempt.await),
            Self::Up(stream) => LineEvent::Reply(stream.receive().await),
        }
    }
}
