//! Attempts to connect, one beside the other.
//!
//! QUIC doubles the time between the first packets of a handshake: one that began while the path was away says nothing for seconds
//! after the path has returned. So another one begins beside it; the older ones go on, because on a slow path they are the ones that
//! will be answered.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::error::ConnectionError;

/// How long an attempt is alone. The sixth begins a second before the longest time is
/// over, so that the next round follows it no later than it followed the fifth.
const STAGGER: Duration = Duration::from_millis(1_800);

/// How an attempt at one IP address ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Another attempt may do better.
    Unreachable(String),
    /// The broker was met.
    Failed(ConnectionError),
}

impl From<ConnectionError> for Attempt {
    fn from(error: ConnectionError) -> Self {
        Self::Failed(error)
    }
}

/// Tries `places` in turn, another one every [`STAGGER`] or as soon as all that were begun have failed, and gives the first that
/// succeeds. Each attempt takes at most `longest`, all of them together that for each place. Dropping it ends all attempts.
///
/// # Errors
/// `Failed` as soon as a broker was met; `Unreachable` when the time is over, or when every place was tried and none is still awaited.
pub(super) async fn race<C, A>(places: Vec<SocketAddr>, longest: Duration, mut attempt: impl FnMut(SocketAddr) -> A) -> Result<C, Attempt>
where
    C: Send + 'static,
    A: Future<Output = Result<C, Attempt>> + Send + 'static,
{
    let mut last = Attempt::Unreachable("the name has no address".into());
    let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let end = Instant::now() + longest.saturating_mul(count);
    let (mut running, mut begun, mut begin_at) = (JoinSet::new(), 0, Instant::now());
    loop {
        if running.is_empty() && begun >= places.len() {
            return Err(last);
        }
        tokio::select! {
            Some(ended) = running.join_next() => match ended {
                Ok((_, Ok(connection))) => return Ok(connection),
                Ok((_, Err(Attempt::Failed(error)))) => return Err(Attempt::Failed(error)),
                Ok((place, Err(Attempt::Unreachable(detail)))) => {
                    last = Attempt::Unreachable(format!("{place}: {detail}"));
                    if running.is_empty() {
                        begin_at = Instant::now();
                    }
                }
                Err(error) => last = Attempt::Unreachable(error.to_string()),
            },
            () = sleep_until(end) => return Err(last),
            () = sleep_until(begin_at) => {
                let place = places[begun % places.len()];
                running.spawn(in_time(place, longest, attempt(place)));
                (begun, begin_at) = (begun + 1, Instant::now() + STAGGER);
                last = Attempt::Unreachable(unanswered(place, longest));
            }
        }
    }
}

async fn in_time<C>(
    place: SocketAddr,
    longest: Duration,
    attempt: impl Future<Output = Result<C, Attempt>>,
) -> (SocketAddr, Result<C, Attempt>) {
    let ended = timeout(longest, attempt).await;
    (place, ended.unwrap_or_else(|_| Err(Attempt::Unreachable(format!("no answer in {} s", longest.as_secs())))))
}

fn unanswered(place: SocketAddr, longest: Duration) -> String {
    format!("{place}: no answer in {} s", longest.as_secs())
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    fn places(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    /// Runs a race in which attempt number n does what `fate(n, place)` says; gives its end, how long it took, and what was begun when.
    async fn run<A>(count: u16, fate: impl Fn(usize, SocketAddr) -> A) -> (Result<usize, Attempt>, u64, Vec<(u64, u16)>)
    where
        A: Future<Output = Result<usize, Attempt>> + Send + 'static,
    {
        let (begun, began) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
        let millis = || u64::try_from(began.elapsed().as_millis()).expect("short");
        let ended = race(places(count), LONGEST, |place| {
            let mut begun = begun.lock().expect("no panic");
            begun.push((millis(), place.port()));
            fate(begun.len() - 1, place)
        })
        .await;
        (ended, millis(), begun.lock().expect("no panic").clone())
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_that_returns_is_found_by_an_attempt_that_begins_after_it() {
        let (ended, took, _) = run(1, |number, _| async move { if number < 2 { pending().await } else { Ok(number) } }).await;
        assert_eq!((ended, took), (Ok(2), 3_600));
    }

    /// A handshake over a satellite takes longer than an attempt is alone.
    #[tokio::test(start_paused = true)]
    async fn a_slow_path_is_not_given_up_for_a_new_attempt() {
        let slow = |number: usize, _| async move {
            tokio::time::sleep(Duration::from_secs(6)).await;
            Ok(number)
        };
        let (ended, took, begun) = run(1, slow).await;
        assert_eq!((ended, took), (Ok(0), 6_000));
        assert_eq!(begun, [(0, 1), (1_800, 1), (3_600, 1), (5_400, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_the_longest_time_and_names_the_place() {
        let (ended, took, _) = run(1, |_, _| pending()).await;
        assert_eq!((ended, took), (Err(Attempt::Unreachable("127.0.0.1:1: no answer in 10 s".into())), 10_000));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_says_nothing_does_not_hold_up_the_next_one() {
        let (ended, took, begun) =
            run(2, |number, place| async move { if place.port() == 1 { pending().await } else { Ok(number) } }).await;
        assert_eq!((ended, took), (Ok(1), 1_800));
        assert_eq!(begun, [(0, 1), (1_800, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_fails_at_once_is_followed_by_the_next_one_at_once() {
        let away = |_, place: SocketAddr| async move { Err(Attempt::Unreachable(format!("away {}", place.port()))) };
        let (ended, took, begun) = run(2, away).await;
        assert_eq!((ended, took), (Err(Attempt::Unreachable("127.0.0.1:2: away 2".into())), 0));
        assert_eq!(begun, [(0, 1), (0, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_was_met_is_not_tried_again() {
        let (ended, _, begun) = run(2, |_, _| async { Err(ConnectionError::WrongPin.into()) }).await;
        assert_eq!(ended, Err(Attempt::Failed(ConnectionError::WrongPin)));
        assert_eq!(begun.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_without_addresses_is_unreachable_at_once() {
        let (ended, took, _) = run(0, |_, _| pending()).await;
        assert_eq!((ended, took), (Err(Attempt::Unreachable("the name has no address".into())), 0));
    }
}
