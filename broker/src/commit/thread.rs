//! The one thread that writes heads.

use std::sync::Arc;

use tidings_proto::{Refusal, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{CommitQueue, CommitSettings, Work};
use crate::engine::{Committed, Receipted};
use crate::store::Store;

/// A step on its way to the disk, and where its answer goes. A closed receiver loses the answer, not the step.
#[derive(Debug)]
pub struct CommitJob {
    /// The step.
    pub work: Work,
    /// Gets the answer after the sync.
    pub answer: oneshot::Sender<Result<Receipted, Refusal>>,
    /// The place of a transfer among transfers, given back when the step is done: until then nobody else may stage or unstage.
    pub place: Option<OwnedSemaphorePermit>,
}

/// Commits until every sender of `jobs` is gone; everything that waits goes into one group, bounded by the settings.
///
/// Blocks: runs on a thread of its own. `clock` is this broker's. `publish` hears of all heads of a group that became durable, in
/// the order in which each queue got them, before any of their owners does: whoever has a receipt for a revocation knows that every
/// subscription was told [P-17]. It must not block.
pub fn run(
    store: &dyn Store,
    mut queue: CommitQueue,
    mut jobs: mpsc::Receiver<CommitJob>,
    clock: impl Fn() -> Timestamp,
    mut publish: impl FnMut(&[Arc<Committed>]),
) {
    let mut next = None;
    while let Some(first) = next.take().or_else(|| jobs.blocking_recv()) {
        let (group, beyond) = gather(first, &mut jobs, queue.settings());
        next = beyond;
        let (steps, answers): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.work, (job.answer, job.place))).unzip();
        let results = queue.commit_group(store, clock(), steps);
        let durable: Vec<_> = results.iter().flatten().map(|receipted| receipted.committed.clone()).collect();
        if !durable.is_empty() {
            publish(&durable);
        }
        for (result, (answer, place)) in results.into_iter().zip(answers) {
            drop(place);
            // Whoever asked may be gone; what was committed stays committed.
            let _ = answer.send(result);
        }
    }
}

/// All that waits, up to the bounds, and the job that went beyond them.
fn gather(first: CommitJob, jobs: &mut mpsc::Receiver<CommitJob>, settings: &CommitSettings) -> (Vec<CommitJob>, Option<CommitJob>) {
    let mut bytes = first.work.size();
    let mut group = vec![first];
    while group.len() < settings.group_publishes_max {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.work.size();
        if bytes > settings.group_bytes_max {
            return (group, Some(job));
        }
        group.push(job);
    }
    (group, None)
}
