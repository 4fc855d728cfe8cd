//! The way to a broker that serves the queue.

use std::pin::Pin;

use tidings_core::PseudonymKey;
use tidings_proto::frames::Subscribe;
use tidings_proto::{BrokerAddress, Reply};
use tokio::time::{Instant, sleep_until};

use std::sync::Arc;

use crate::connection::{Connection, ConnectionError};
use crate::dial::Dial;
use crate::stream::{Stream, in_time};

/// Chunks that wait to be taken; together they are one transaction.
const REPLIES_MAX: usize = 16;

type Attempt<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>;

/// Where the way stands.
pub(super) enum Line {
    /// There is no address to try.
    Down,
    /// Try again from the first address at this time.
    Waiting(Instant),
    /// A connection is on its way.
    Dialing(Attempt<Connection>),
    /// A subscription is on its way.
    Subscribing(Attempt<Stream>),
    /// Subscribed.
    Up(Stream),
}

/// What happened.
pub(super) enum LineEvent {
    Retry,
    Dialed(Result<Connection, ConnectionError>),
    Subscribed(Result<Stream, ConnectionError>),
    Reply(Result<Reply, ConnectionError>),
}

impl Line {
    /// Connects and proves the pseudonym.
    pub(super) fn dial(dial: Arc<dyn Dial>, address: BrokerAddress, key: PseudonymKey) -> Self {
        Self::Dialing(Box::pin(in_time(async move {
            let connection = dial.dial(&address).await?;
            connection.prove(&key).await?;
            Ok(connection)
        })))
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
