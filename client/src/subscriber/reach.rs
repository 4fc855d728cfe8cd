//! Attempts to reach brokers, one beside the other: the first that answers is used.

use tidings_core::PseudonymKey;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};

use super::route::Route;
use crate::connection::{Connection, ConnectionError};
use crate::stream::in_time;

/// How long an attempt is alone while it is not answered: longer than a handshake takes on most paths, short for who waits.
/// Source: RFC 8305, section 5, where it is 250 ms for TCP.
const HEAD_START: Duration = Duration::from_millis(500);

/// How the attempts ended.
pub(super) struct Reached {
    /// The broker that answered first and its place among all routes, if one did.
    pub(super) found: Option<(usize, Connection)>,
    /// Those that failed before.
    pub(super) failed: Vec<(usize, ConnectionError)>,
    /// The first of those that were begun and not awaited any more.
    pub(super) passed: Option<usize>,
}

/// Connects to `routes` and proves the pseudonym: the next one begins when [`HEAD_START`] is over or as soon as all that were begun have
/// failed. Dropping it ends all attempts.
pub(super) async fn reach(routes: Vec<(usize, Route)>, key: PseudonymKey) -> Reached {
    let (mut running, mut awaited, mut failed) = (JoinSet::new(), Vec::new(), Vec::new());
    let (mut routes, mut begin_at) = (routes.into_iter().peekable(), Instant::now());
    loop {
        if running.is_empty() && routes.peek().is_none() {
            return Reached { found: None, failed, passed: None };
        }
        tokio::select! {
            Some(ended) = running.join_next() => match ended {
                Ok((at, Ok(connection))) => {
                    awaited.retain(|other| *other != at);
                    return Reached { found: Some((at, connection)), failed, passed: awaited.first().copied() };
                }
                Ok((at, Err(error))) => {
                    awaited.retain(|other| *other != at);
                    failed.push((at, error));
                    if running.is_empty() {
                        begin_at = Instant::now();
                    }
                }
                Err(error) => tracing::error!(%error, "an attempt to connect ended by itself"),
            },
            () = sleep_until(begin_at), if routes.peek().is_some() => {
                if let Some((at, route)) = routes.next() {
                    awaited.push(at);
                    running.spawn(attempt(at, route, key.clone()));
                }
                begin_at = Instant::now() + HEAD_START;
            }
        }
    }
}

/// Connects to one broker and proves the pseudonym.
pub(super) async fn attempt(at: usize, route: Route, key: PseudonymKey) -> (usize, Result<Connection, ConnectionError>) {
    let attempt = in_time(async move {
        let connection = route.dial.dial(&route.address).await?;
        connection.prove(&key).await?;
        Ok(connection)
    });
    (at, attempt.await)
}
