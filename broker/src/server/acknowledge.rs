//! Group commit of acknowledgements: all that wait share one synced write.

use std::sync::Arc;

use tidings_proto::{HeadRank, Refusal, RefusalCode};
use tokio::sync::{mpsc, oneshot};

use crate::engine::refusal_of;
use crate::store::{Acked, Store, StoreError};

/// Acknowledgements written at once.
const GROUP_MAX: usize = 1_024;

type Outcome = Result<HeadRank, Refusal>;

/// A verified acknowledgement on its way to the disk.
#[derive(Debug)]
struct Job {
    acked: Acked,
    answer: oneshot::Sender<Outcome>,
}

/// Where acknowledgements are handed in.
#[derive(Clone, Debug)]
pub(super) struct Acknowledgements {
    jobs: mpsc::Sender<Job>,
}

impl Acknowledgements {
    /// Starts the task that writes them; it ends when all handles are dropped.
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let (jobs, waiting) = mpsc::channel(GROUP_MAX);
        tokio::spawn(run(store, waiting));
        Self { jobs }
    }

    /// Keeps an acknowledgement; when this answers `Ok`, it is durable.
    pub(super) async fn keep(&self, acked: Acked) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.jobs.send(Job { acked, answer }).await.map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}

async fn run(store: Arc<dyn Store>, mut waiting: mpsc::Receiver<Job>) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
        let (acks, answers): (Vec<_>, Vec<_>) = group.drain(..).map(|job| (job.acked, job.answer)).unzip();
        let store = store.clone();
        let written = tokio::task::spawn_blocking(move || {
            let written = store.acknowledge(&acks);
            (acks, written)
        });
        match written.await {
            Ok((acks, written)) => answer(&acks, answers, written),
            // The store panicked; dropping the answers says so.
            Err(_) => return,
        }
    }
}

fn answer(acks: &[Acked], answers: Vec<oneshot::Sender<Outcome>>, written: Result<(), StoreError>) {
    for (acked, answer) in acks.iter().zip(answers) {
        // Whoever asked may be gone; what was written stays written.
        let _ = answer.send(written.as_ref().map(|()| acked.rank).map_err(refusal_of));
    }
}

fn stopped() -> Refusal {
    Refusal::new(RefusalCode::OutcomeUnknown, "the broker stops; it is not known whether this was stored")
}
