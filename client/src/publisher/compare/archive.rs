//! The owner's storage as something to compare with and to recover from. [P-5]

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::recovery::{Recovered, Recovery, RecoveryError};
use tidings_core::{QueueDescriptor, SignedHead};
use tidings_proto::frames::Transfer;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff::{Backoff, chance};
use crate::stream::SILENCE_MAX;

/// An answer of an archive on its way.
pub type Archived<'a, T> = Pin<Box<dyn Future<Output = Result<T, ArchiveError>> + Send + 'a>>;

/// The queue as the owner's storage has it. Nothing of it is believed before it is what a head signs.
pub trait Archive: Send + Sync + 'static {
    /// The newest signed head there; `None` if the queue is not there.
    fn newest(&self) -> Archived<'_, Option<Bytes>>;

    /// Everything that is there, from zero, in the parts of [`tidings_proto::Request::Recover`], given to `take` in order; ends early,
    /// with success, when that says false.
    fn recover<'a>(&'a self, descriptor: QueueDescriptor, take: &'a mut (dyn FnMut(Transfer) -> bool + Send)) -> Archived<'a, ()>;
}

/// Why an archive cannot be compared with. Nothing changed; it is asked again later.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read now.
    #[error("the storage cannot be read: {0}")]
    Unavailable(String),
    /// What it gives is not what the owner signed.
    #[error("what the storage gives is not what the owner signed: {0}")]
    Damaged(String),
}

impl From<RecoveryError> for ArchiveError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::AnotherHead => Self::Unavailable(error.to_string()),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// What came of an archive.
pub(in super::super) enum ArchiveEvent {
    Retry,
    Newest(Result<Option<Bytes>, ArchiveError>),
    Recovered(Box<Result<Recovered, ArchiveError>>),
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, ArchiveError>> + Send>>;

enum Stage {
    Done,
    Waiting(Instant),
    Asking(Pending<Option<Bytes>>),
    Recovering(Pending<Recovered>),
}

/// The way to the archive, if there is one.
pub(in super::super) struct ArchiveWay {
    archive: Option<Arc<dyn Archive>>,
    stage: Stage,
    backoff: Backoff,
    compared: bool,
}

impl ArchiveWay {
    pub(in super::super) fn new(archive: Option<Arc<dyn Archive>>) -> Self {
        let compared = archive.is_none();
        let stage = if compared { Stage::Done } else { Stage::Waiting(Instant::now()) };
        Self { archive, stage, backoff: Backoff::default(), compared }
    }

    pub(in super::super) fn is_compared(&self) -> bool {
        self.compared
    }

    pub(in super::super) fn is_recovering(&self) -> bool {
        matches!(self.stage, Stage::Recovering(_))
    }

    /// Asks for the newest head.
    pub(in super::super) fn ask(&mut self) {
        let Some(archive) = self.archive.clone() else { return };
        let asking = async move { timeout(SILENCE_MAX, archive.newest()).await.unwrap_or_else(|_| Err(silent())) };
        self.stage = Stage::Asking(Box::pin(asking));
    }

    /// Asks for everything that `head` signs, which is there.
    pub(in super::super) fn recover(&mut self, descriptor: QueueDescriptor, head: &SignedHead) {
        let Some(archive) = self.archive.clone() else { return };
        self.stage = Stage::Recovering(Box::pin(recover(archive, Recovery::new(descriptor.clone()).of_head(head), descriptor)));
    }

    /// It holds nothing that this owner does not know.
    pub(in super::super) fn succeeded(&mut self) {
        (self.stage, self.compared) = (Stage::Done, true);
    }

    /// It is asked again later.
    pub(in super::super) fn failed(&mut self) {
        self.stage = Stage::Waiting(Instant::now() + self.backoff.failed(chance()));
    }

    /// Compares once more, at once; nothing is to be signed before if that is `needed`.
    pub(in super::super) fn begin_anew(&mut self, needed: bool) {
        if self.archive.is_some() {
            self.compared &= !needed;
            self.stage = Stage::Waiting(Instant::now());
        }
    }

    /// Waits for the next thing to happen. Safe to cancel.
    pub(in super::super) async fn event(&mut self) -> ArchiveEvent {
        match &mut self.stage {
            Stage::Done => std::future::pending().await,
            Stage::Waiting(until) => {
                sleep_until(*until).await;
                ArchiveEvent::Retry
            }
            Stage::Asking(asking) => ArchiveEvent::Newest(asking.await),
            Stage::Recovering(recovering) => ArchiveEvent::Recovered(Box::new(recovering.await)),
        }
    }
}

async fn recover(archive: Arc<dyn Archive>, mut recovery: Recovery, descriptor: QueueDescriptor) -> Result<Recovered, ArchiveError> {
    let mut outcome = Ok(None);
    let mut take = |part: Transfer| {
        outcome = recovery.take(part);
        matches!(outcome, Ok(None))
    };
    archive.recover(descriptor, &mut take).await?;
    outcome?.ok_or_else(|| ArchiveError::Damaged("it ends before its head".into()))
}

fn silent() -> ArchiveError {
    ArchiveError::Unavailable("it does not answer".into())
}
