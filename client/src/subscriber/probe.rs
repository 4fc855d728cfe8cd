//! When the other brokers are looked at, while one or the storage serves. [P-13]

use std::future::pending;
use std::time::Duration;

use tidings_core::PseudonymKey;
use tidings_proto::frames::Subscribe;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::glimpse::{Glimpse, Why};
use super::route::Route;
use crate::backoff::{Backoff, chance, part};
use crate::connection::ConnectionError;

/// A broker that connects and serves nothing must not keep the storage from being read; and the shortest pause while the view is stale.
const SHORTEST: Duration = Duration::from_secs(1);
/// After a broker has caught the reader up, it is compared with the others: not at once, so that a short session asks one broker only.
const FIRST: Duration = Duration::from_secs(30);
/// And then so often; it costs each of them a handshake. No pause is longer.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Rounds in which all other brokers are asked beside each other.
pub(super) struct Probe {
    /// With their places among all routes.
    brokers: Vec<(usize, Route)>,
    state: State,
    why: Why,
    /// Some broker answered in this round, if only to refuse.
    answered: bool,
    /// There was a round on this connection.
    compared: bool,
    /// Rounds since the view was up to date.
    rounds: u32,
    /// A stale view is no reason for another round before this.
    not_before: Option<Instant>,
    /// The way back from the storage.
    backoff: Backoff,
}

enum State {
    Idle,
    Waiting(Instant),
    Asking(JoinSet<Result<Glimpse, ConnectionError>>),
}

/// What happened.
pub(super) enum Probed {
    /// It is time for a round.
    Due,
    Seen(Glimpse),
    /// Everybody has been asked.
    Over,
}

impl Probe {
    pub(super) fn new(routes: &[Route]) -> Self {
        let (state, why, backoff) = (State::Idle, Why::Habit, Backoff::default());
        Self { brokers: brokers(routes), state, why, answered: false, compared: false, rounds: 0, not_before: None, backoff }
    }

    /// The routes are others now.
    pub(super) fn renew(&mut self, routes: &[Route]) {
        self.brokers = brokers(routes);
        if matches!(self.state, State::Asking(_)) {
            self.state = State::Waiting(Instant::now() + SHORTEST);
        }
    }

    /// No broker but this one is known.
    pub(super) fn is_sole(&self) -> bool {
        self.brokers.len() <= 1
    }

    /// The storage serves: try the brokers after a while.
    pub(super) fn wait(&mut self) {
        let delay = self.backoff.failed(chance());
        self.wait_for(delay);
    }

    fn wait_for(&mut self, delay: Duration) {
        self.why = Why::Storage;
        if !self.brokers.is_empty() {
            self.state = State::Waiting(Instant::now() + delay.max(SHORTEST));
        }
    }

    /// A broker serves and the view is up to date: compare it from time to time.
    pub(super) fn calm(&mut self) {
        (self.why, self.rounds) = (Why::Habit, 0);
        if matches!(self.state, State::Idle) && !self.is_sole() {
            let pause = if self.compared { LONGEST } else { FIRST };
            self.state = State::Waiting(Instant::now() + spread(pause));
        }
    }

    /// A broker serves and the view is stale: ask at once, and then after ever longer pauses.
    pub(super) fn hurry(&mut self) {
        self.why = Why::Stale;
        let now = Instant::now();
        let due = self.not_before.map_or(now, |not_before| not_before.max(now));
        match self.state {
            State::Asking(_) => {}
            State::Waiting(until) if until <= due => {}
            _ => self.state = State::Waiting(due),
        }
    }

    /// There is a new reason to call the view stale.
    pub(super) fn renew_pace(&mut self) {
        (self.rounds, self.not_before) = (0, None);
    }

    /// Whether the first answers about a stale view are still to come.
    pub(super) fn is_first(&self) -> bool {
        !self.is_sole() && (self.rounds == 0 || (self.rounds == 1 && matches!(self.state, State::Asking(_))))
    }

    /// Asks all brokers but the one at `serving`.
    pub(super) fn ask(&mut self, serving: usize, key: &PseudonymKey, subscribe: &Subscribe) {
        let pause = SHORTEST.saturating_mul(1 << self.rounds.min(16)).min(LONGEST);
        self.not_before = Some(Instant::now() + spread(pause));
        (self.rounds, self.compared, self.answered) = (self.rounds.saturating_add(1), true, false);
        let mut tasks = JoinSet::new();
        for broker in self.brokers.iter().filter(|(at, _)| *at != serving) {
            tasks.spawn(Glimpse::of(broker.clone(), (key.clone(), subscribe.clone()), self.why));
        }
        self.state = State::Asking(tasks);
    }

    /// A round is over and nobody had more. While the storage serves, there is another one; else the view decides about that.
    pub(super) fn over(&mut self, is_storage: bool) {
        self.state = State::Idle;
        match (is_storage, self.answered) {
            (true, true) => self.wait(),
            (true, false) => {
                let delay = self.backoff.unanswered(Instant::now(), chance());
                self.wait_for(delay);
            }
            (false, _) => {}
        }
    }

    /// Nobody serves any more.
    pub(super) fn end(&mut self) {
        (self.state, self.compared) = (State::Idle, false);
    }

    /// A broker has caught this reader up: the next way back begins with short waits.
    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    /// Waits for the next thing to happen. Safe to cancel.
    pub(super) async fn event(&mut self) -> Probed {
        let tasks = match &mut self.state {
            State::Idle => return pending().await,
            State::Waiting(until) => {
                sleep_until(*until).await;
                return Probed::Due;
            }
            State::Asking(tasks) => tasks,
        };
        while let Some(asked) = tasks.join_next().await {
            match asked {
                Ok(Ok(glimpse)) => {
                    self.answered = true;
                    return Probed::Seen(glimpse);
                }
                Ok(Err(error)) => self.answered |= matches!(error, ConnectionError::Refused(_)),
                Err(error) => tracing::error!(%error, "an attempt to ask a broker ended by itself"),
            }
        }
        Probed::Over
    }
}

fn brokers(routes: &[Route]) -> Vec<(usize, Route)> {
    routes.iter().cloned().enumerate().filter(|(_, route)| !route.is_storage).collect()
}

/// Between half of it and all of it: many clients of one broker are not to come together.
fn spread(pause: Duration) -> Duration {
    pause / 2 + part(pause / 2, chance())
}
