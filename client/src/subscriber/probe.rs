//! The way back to a broker while the owner's storage serves.

use std::time::Duration;

use tidings_core::PseudonymKey;
use tokio::time::Instant;

use super::line::{Line, LineEvent};
use super::route::Route;
use crate::backoff::{Backoff, chance};
use crate::connection::ConnectionError;

/// One attempt after the other, none while a broker serves.
pub(super) struct Probe {
    brokers: Vec<Route>,
    line: Line,
    at: usize,
    /// A broker refused in this round.
    refused: bool,
    backoff: Backoff,
}

impl Probe {
    pub(super) fn new(routes: &[Route]) -> Self {
        let brokers = routes.iter().filter(|route| !route.is_storage).cloned().collect();
        Self { brokers, line: Line::Down, at: 0, refused: false, backoff: Backoff::default() }
    }

    /// Place of the broker that is tried, among all routes: brokers are the first of them.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The storage serves: try the brokers after a while.
    pub(super) fn wait(&mut self) {
        let delay = self.backoff.failed(chance());
        self.wait_for(delay);
    }

    fn wait_for(&mut self, delay: Duration) {
        if !self.brokers.is_empty() {
            self.line = Line::Waiting(Instant::now() + delay.max(SHORTEST));
        }
    }

    /// Attempts failed.
    pub(super) fn missed(&mut self, failed: &[(usize, ConnectionError)]) {
        self.refused |= failed.iter().any(|(_, error)| matches!(error, ConnectionError::Refused(_)));
    }

    /// Tries the broker at `at`, or waits if that was the last one.
    pub(super) fn dial(&mut self, at: usize, key: PseudonymKey) {
        self.at = at;
        match self.brokers.get(at).cloned() {
            Some(route) => self.line = Line::dial(vec![(at, route)], key),
            None if std::mem::take(&mut self.refused) => self.wait(),
            None => {
                let delay = self.backoff.unanswered(Instant::now(), chance());
                self.wait_for(delay);
            }
        }
    }

    /// The storage does not serve any more.
    pub(super) fn end(&mut self) {
        self.line = Line::Down;
    }

    /// A broker has caught this reader up: the next way back begins with short waits.
    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    /// Waits for the next thing to happen. Safe to cancel.
    pub(super) async fn event(&mut self) -> LineEvent {
        self.line.event().await
    }
}

/// A broker that connects and serves nothing must not keep the storage from being read.
const SHORTEST: Duration = Duration::from_secs(1);
