//! Who waits for a snapshot. While somebody does, nothing new is signed, so that the newest head gets its receipt.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::super::error::SnapshotError;
use super::super::owner::{Owner, Published, SignError, UNASKED};
use super::super::snapshot::OwnSnapshot;
use super::Task;
use crate::clock;
use crate::state::StateError;

type Done = oneshot::Sender<Result<Option<OwnSnapshot>, SnapshotError>>;

/// Those who wait, and until when.
#[derive(Default)]
pub(super) struct Snapshots {
    waiting: Vec<(Instant, Done)>,
    /// Somebody asked for one where there is no broker: what waits is signed although nobody takes it.
    pub(super) alone: bool,
}

impl Snapshots {
    pub(super) fn wait(&mut self, patience: Duration, done: Done) {
        self.waiting.push((Instant::now() + patience, done));
    }

    pub(super) fn are_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits until the first one has waited too long. Safe to cancel.
    pub(super) async fn late(&self) {
        match self.waiting.iter().map(|(until, _)| *until).min() {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

impl Task {
    /// Gives snapshots to those who wait, if the newest head is receipted, and sends away those who waited too long.
    pub(super) async fn serve_snapshots(&mut self) {
        if !self.snapshots.are_awaited() {
            return;
        }
        self.snapshots.alone = self.config.brokers.is_empty();
        let conflict = self.comparing.conflict().is_some();
        if conflict {
            self.end_snapshots(|| Err(SnapshotError::Conflict));
        } else if !self.comparing.is_open() {
            // The answer comes once something may be signed, or is too late.
        } else if let Err(error) = self.sign_for_snapshots().await {
            self.end_snapshots(|| Err(error.clone()));
        } else if self.snapshots.alone || self.watched.waiting.borrow().unreceipted == 0 {
            self.give_snapshots().await;
        }
        let now = Instant::now();
        for (_, done) in self.snapshots.waiting.extract_if(.., |(until, done)| *until <= now || done.is_closed()) {
            let _ = done.send(Err(SnapshotError::Late));
        }
        // What was held back may be signed now.
        self.due |= !self.snapshots.are_awaited();
    }

    /// What has to be signed before there can be a snapshot: everything, if there is no broker to ask.
    async fn sign_for_snapshots(&mut self) -> Result<(), SnapshotError> {
        let alone = self.snapshots.alone;
        let (published, result) = self.step(move |owner| if alone { sign_all(owner) } else { made_whole(owner) }).await?;
        if !published.is_empty() {
            self.signed(&published);
            self.due = true;
        }
        Ok(result?)
    }

    async fn give_snapshots(&mut self) {
        for (_, done) in std::mem::take(&mut self.snapshots.waiting) {
            let taken = self.step(|owner| owner.snapshot()).await.and_then(|taken| taken);
            let _ = done.send(taken.map_err(SnapshotError::from));
        }
    }

    fn end_snapshots(&mut self, answer: impl Fn() -> Result<Option<OwnSnapshot>, SnapshotError>) {
        self.snapshots.waiting.drain(..).for_each(|(_, done)| drop(done.send(answer())));
    }

    /// Signs what waits where there is no broker.
    pub(super) async fn sign_alone(&mut self) -> Result<(), StateError> {
        let (published, result) = self.step(sign_all).await?;
        self.signed(&published);
        self.settle(result)
    }
}

fn sign_all(owner: &mut Owner) -> (Vec<Published>, Result<(), SignError>) {
    let (mut published, now) = (Vec::new(), clock::now());
    loop {
        match owner.sign(&UNASKED, now) {
            Ok(Some(signed)) => published.push(signed),
            Ok(None) => return (published, Ok(())),
            Err(error) => return (published, Err(error)),
        }
    }
}

fn made_whole(owner: &mut Owner) -> (Vec<Published>, Result<(), SignError>) {
    match owner.make_whole(clock::now()) {
        Ok(published) => (published, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    }
}
