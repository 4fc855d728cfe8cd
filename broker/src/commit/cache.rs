//! States of the queues used last.

use std::collections::{BTreeMap, HashMap};

use tidings_proto::QueueId;

use crate::engine::QueueState;

/// A bounded map that forgets what was used longest ago.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: usize,
    clock: u64,
    states: HashMap<QueueId, (u64, QueueState)>,
    by_use: BTreeMap<u64, QueueId>,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, clock: 0, states: HashMap::new(), by_use: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, queue: &QueueId) -> Option<QueueState> {
        let (used, state) = self.states.remove(queue)?;
        self.by_use.remove(&used);
        Some(state)
    }

    pub(super) fn put(&mut self, queue: QueueId, state: QueueState) {
        self.take(&queue);
        self.clock += 1;
        self.by_use.insert(self.clock, queue);
        self.states.insert(queue, (self.clock, state));
        while self.states.len() > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.states.remove(&oldest);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }
}
