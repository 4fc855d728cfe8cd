//! An honest broker that answers one subscription, at any number of publishes.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use tidings_broker::commit::{CommitQueue, CommitSettings};
use tidings_broker::engine::{Committed, FanOut, Next, Subscription, check};
use tidings_broker::store::{MemoryStore, Store};
use tidings_proto::frames::Subscribe;
use tidings_proto::{Reply, Timestamp};

use crate::story::{Line, story};

type Held = (MemoryStore, Arc<Committed>);

/// Brokers that hold the first 1, 2, ... publishes of the story, with what their last commit told.
fn brokers() -> &'static [Held] {
    static BROKERS: OnceLock<Vec<Held>> = OnceLock::new();
    BROKERS.get_or_init(|| all(&story().line))
}

/// The same of the story's branch.
fn branch_brokers() -> &'static [Held] {
    static BROKERS: OnceLock<Vec<Held>> = OnceLock::new();
    BROKERS.get_or_init(|| all(&story().branch))
}

fn all(line: &Line) -> Vec<Held> {
    (1..=line.publishes.len()).map(|taken| broker(line, taken)).collect()
}

fn broker(line: &Line, taken: usize) -> Held {
    let (store, mut commits) = (MemoryStore::new(), CommitQueue::new(CommitSettings::default()));
    let publishes = line.publishes.iter().take(taken).map(|publish| {
        let checked = check(&story().descriptor, publish.clone()).expect("a valid publish");
        commits.commit_group(&store, Timestamp::new(77), vec![checked]).remove(0).expect("the next publish").committed
    });
    let committed = publishes.last().expect("at least one publish");
    (store, committed)
}

/// One subscription at a broker that goes on.
pub(crate) struct Session {
    brokers: &'static [Held],
    taken: usize,
    subscription: Subscription,
    shared: VecDeque<Reply>,
}

impl Session {
    /// At a broker with this many publishes, at least one.
    pub(crate) fn open(subscribe: &Subscribe, taken: usize) -> Self {
        Self::at(brokers(), subscribe, taken)
    }

    /// At a broker of the branch.
    pub(crate) fn open_branch(subscribe: &Subscribe, taken: usize) -> Self {
        Self::at(branch_brokers(), subscribe, taken)
    }

    fn at(brokers: &'static [Held], subscribe: &Subscribe, taken: usize) -> Self {
        let subscription = Subscription::open(subscribe).expect("the reader's own subscribe");
        Self { brokers, taken: taken.min(brokers.len()), subscription, shared: VecDeque::new() }
    }

    /// The broker takes the next publish, if there is one.
    pub(crate) fn commit(&mut self) {
        if self.taken == self.brokers.len() {
            return;
        }
        self.taken += 1;
        let committed = &self.brokers[self.taken - 1].1;
        if self.subscription.on_committed(committed) == FanOut::Shared {
            self.shared.extend(committed.frames().expect("the engine said so"));
        }
    }

    /// Asks for the bitmap.
    pub(crate) fn ask_bitmap(&mut self) {
        self.subscription.on_ask_bitmap();
    }

    /// What it sends next; `None` if it waits or ended.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        if let Some(reply) = self.shared.pop_front() {
            return Some(reply);
        }
        loop {
            match self.subscription.next() {
                Next::Send(reply) => return Some(reply),
                Next::Read(read) => {
                    let store: &dyn Store = &self.brokers[self.taken - 1].0;
                    self.subscription.on_answer(read.perform(store).expect("memory"));
                }
                Next::Wait(_) | Next::End => return None,
            }
        }
    }
}
