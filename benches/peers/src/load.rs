//! Loads that end by themselves, and what came of them.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::latency::Latencies;

/// When a load ends: after so many messages or at that time, whatever is first.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    /// Messages of one publisher.
    pub(crate) count: u64,
    /// The end.
    pub(crate) until: Instant,
}

/// What one load came to.
pub(crate) struct Load {
    /// Messages that were answered.
    pub(crate) messages: u64,
    /// From call to answer.
    pub(crate) latencies: Latencies,
}

/// What one publisher sends and how.
#[derive(Clone, Copy)]
pub(crate) struct Publishing {
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Different records; a message updates the next one, round and round.
    pub(crate) records: u64,
    /// Messages that wait for an answer at once; 1 is one at a time.
    pub(crate) in_flight: usize,
    /// When it ends.
    pub(crate) bound: Bound,
}

impl Bound {
    /// As many as fit into a time.
    pub(crate) fn lasting(time: Duration) -> Self {
        Self { count: u64::MAX, until: Instant::now() + time }
    }

    /// So many, in at most `limit`.
    pub(crate) fn counting(count: u64, limit: Duration) -> Self {
        Self { count, until: Instant::now() + limit }
    }

    /// Whether the next message, `sent` were sent before it, is still within it.
    pub(crate) fn allows(&self, sent: u64) -> bool {
        sent < self.count && Instant::now() < self.until
    }
}

impl Load {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { messages: 0, latencies: Latencies::new() }
    }

    /// One message was answered.
    pub(crate) fn answered(&mut self, took: Duration) {
        self.messages += 1;
        self.latencies.add(took);
    }
}

/// Waits for publishers or readers that run as tasks of their own, and adds up what they came to.
pub(crate) async fn together(mut tasks: JoinSet<Result<Load>>) -> Result<Load> {
    let mut all = Load::new();
    while let Some(ended) = tasks.join_next().await {
        let load = ended??;
        all.messages += load.messages;
        all.latencies.merge(&load.latencies);
    }
    Ok(all)
}

/// A payload of `size` bytes that no compression shortens, beginning with `stamp`.
pub(crate) fn payload(size: usize, stamp: u64) -> Vec<u8> {
    let mut state = stamp | 1;
    let mut bytes = stamp.to_be_bytes().to_vec();
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(size.max(8));
    bytes
}

/// The stamp that a payload begins with.
pub(crate) fn stamp(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
