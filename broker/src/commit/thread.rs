//! The one thread that writes heads.

use std::sync::Arc;

use tidings_proto::{Refusal, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::{CommitQueue, CommitSettings};
use crate::engine::{Checked, Committed, Receipted};
use crate::store::Store;

/// A publish on its way to the disk, and where its answer goes. A closed receiver loses the answer, not the publish.
#[derive(Debug)]
pub struct CommitJob {
    /// The publish.
    pub checked: Checked,
    /// Gets the answer after the sync.
    pub answer: oneshot::Sender<Result<Receipted, Refusal>>,
}

/// Commits until every sender of `jobs` is gone; everything that waits goes into one group, bounded by the settings.
///
/// Blocks: runs on a thread of its own. `clock` is this broker's. `publish` hears of every durable head in the order in which
/// each queue got them, before its owner does; it must not block.
pub fn run(
    store: &dyn Store,
    mut queue: CommitQueue,
    mut jobs: mpsc::Receiver<CommitJob>,
    clock: impl Fn() -> Timestamp,
    mut publish: impl FnMut(&Arc<Committed>),
) {
    let mut next = None;
    while let Some(first) = next.take().or_else(|| jobs.blocking_recv()) {
        let (group, beyond) = gather(first, &mut jobs, queue.settings());
        next = beyond;
        let (publishes, answers): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.checked, job.answer)).unzip();
        for (result, answer) in queue.commit_group(store, clock(), publishes).into_iter().zip(answers) {
            if let Ok(receipted) = &result {
                publish(&receipted.committed);
            }
            // Whoever asked may be gone; what was committed stays committed.
            let _ = answer.send(result);
        }
    }
}

/// All that waits, up to the bounds, and the job that went beyond them.
fn gather(first: CommitJob, jobs: &mut mpsc::Receiver<CommitJob>, settings: &CommitSettings) -> (Vec<CommitJob>, Option<CommitJob>) {
    let mut bytes = first.checked.size();
    let mut group = vec![first];
    while group.len() < settings.group_publishes_max {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.checked.size();
        if bytes > settings.group_bytes_max {
            return (group, Some(job));
        }
        group.push(job);
    }
    (group, None)
}
