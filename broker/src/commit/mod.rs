//! Group commit: many publishes of many queues, one synced write.
//!
//! [`CommitQueue`] is a deterministic function over any store; the simulation drives exactly this code. [`run`] is the thread
//! around it.

mod cache;
mod group;
mod thread;
mod work;

pub use group::CommitQueue;
pub use thread::{CommitJob, run};
pub use work::Work;

/// Bounds of group commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitSettings {
    /// Queues whose state is kept between groups, about 5 KiB each. An idle queue costs nothing beyond this.
    pub hot_queues_max: usize,
    /// Live bytes one queue may hold; 0 is no limit.
    pub live_bytes_max: u64,
    /// Publishes of one group.
    pub group_publishes_max: usize,
    /// Bytes of one group, but one publish always fits.
    pub group_bytes_max: usize,
}

impl Default for CommitSettings {
    fn default() -> Self {
        Self { hot_queues_max: 4_096, live_bytes_max: 0, group_publishes_max: 1_024, group_bytes_max: 16 * 1024 * 1024 }
    }
}

#[cfg(test)]
mod tests;
