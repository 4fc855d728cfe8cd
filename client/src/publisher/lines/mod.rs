//! The ways to all brokers: each for itself, so that a slow or dead one costs nothing but its own state.

mod line;

pub(super) use line::{Line, LineEvent, Up};

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tidings_proto::BrokerAddress;
use tidings_proto::frames::Limits;
use tokio::time::Instant;

use super::room::smallest;
use super::status::BrokerState;
use crate::backoff::{Backoff, chance};

/// The way to one broker.
pub(super) struct Way {
    pub(super) address: BrokerAddress,
    pub(super) line: Line,
    pub(super) backoff: Backoff,
    /// Where it stands was compared with what this node signed since the publisher was opened. [P-5]
    pub(super) compared: bool,
    /// It is to get the closed head and nothing after it. [P-13]
    pub(super) leaving: bool,
}

impl Way {
    pub(super) fn new(address: BrokerAddress) -> Self {
        Self { address, line: Line::Waiting(Instant::now()), backoff: Backoff::default(), compared: false, leaving: false }
    }

    /// Tries again later: sooner where nobody answered than where somebody refused.
    pub(super) fn wait(&mut self, state: BrokerState) {
        let now = Instant::now();
        let delay = match self.line {
            Line::Dialing(_) if state == BrokerState::Unreachable => self.backoff.unanswered(now, chance()),
            _ => self.backoff.failed(chance()),
        };
        self.line = Line::Waiting(now + delay);
    }
}

/// The ways to all brokers, in the order of the configuration; those that are left come last.
pub(super) struct Lines {
    ways: Vec<Way>,
    /// Which way is looked at first: none can keep the others from being heard.
    first: usize,
}

impl Lines {
    pub(super) fn new(addresses: impl IntoIterator<Item = BrokerAddress>) -> Self {
        Self { ways: addresses.into_iter().map(Way::new).collect(), first: 0 }
    }

    pub(super) fn ways(&self) -> &[Way] {
        &self.ways
    }

    pub(super) fn ways_mut(&mut self) -> &mut Vec<Way> {
        &mut self.ways
    }

    /// Waits for the next thing to happen on any way. Safe to cancel.
    pub(super) async fn event(&mut self) -> (usize, LineEvent) {
        let (count, first) = (self.ways.len(), self.first);
        self.first = if count == 0 { 0 } else { (first + 1) % count };
        let mut events: Vec<_> = self.ways.iter_mut().map(|way| Box::pin(way.line.event())).collect();
        let next = poll_fn(|context| {
            for place in 0..count {
                let at = (first + place) % count;
                if let Poll::Ready(event) = events[at].as_mut().poll(context) {
                    return Poll::Ready((at, event));
                }
            }
            Poll::Pending
        });
        pin!(next).await
    }

    /// All brokers but those that are left were compared with.
    pub(super) fn are_compared(&self) -> bool {
        self.ways.iter().all(|way| way.compared || way.leaving)
    }

    pub(super) fn any_up(&self) -> bool {
        self.ways.iter().any(|way| matches!(way.line, Line::Up(_)))
    }

    pub(super) fn is_recovering(&self) -> bool {
        self.ways.iter().any(|way| matches!(way.line, Line::Recovering(_)))
    }

    pub(super) fn ups(&self) -> impl Iterator<Item = &Up> {
        self.ways.iter().filter_map(|way| match &way.line {
            Line::Up(up) => Some(up.as_ref()),
            _ => None,
        })
    }

    pub(super) fn ups_mut(&mut self) -> impl Iterator<Item = &mut Up> {
        self.ways.iter_mut().filter_map(|way| match &mut way.line {
            Line::Up(up) => Some(up.as_mut()),
            _ => None,
        })
    }

    /// Takes the open ones out, for a step on them; [`Lines::put_back`] must follow.
    pub(super) fn take_ups(&mut self) -> Vec<(usize, Box<Up>)> {
        let take = |(at, way): (usize, &mut Way)| match std::mem::replace(&mut way.line, Line::Down) {
            Line::Up(up) => Some((at, up)),
            other => {
                way.line = other;
                None
            }
        };
        self.ways.iter_mut().enumerate().filter_map(take).collect()
    }

    pub(super) fn put_back(&mut self, ups: Vec<(usize, Box<Up>)>) {
        for (at, up) in ups {
            if let Some(way) = self.ways.get_mut(at) {
                way.line = Line::Up(up);
            }
        }
    }

    /// What every open broker takes in one publish; `None` if none is open.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.ups().map(|up| up.session.limits).reduce(smallest)
    }

    /// The same with a broker that is taken out.
    pub(super) fn limits_with(&self, taken_out: Limits) -> Limits {
        self.ups().map(|up| up.session.limits).fold(taken_out, smallest)
    }

    /// All begin anew, at once: what they were compared with is no more.
    pub(super) fn begin_anew(&mut self) {
        self.ways.iter_mut().for_each(|way| way.line = Line::Waiting(Instant::now()));
    }
}
