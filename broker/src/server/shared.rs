//! What all tasks of one broker use.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tidings_core::ReceiptKey;
use tidings_proto::frames::{Limits, Welcome};
use tidings_proto::{Refusal, RefusalCode, Timestamp, VerifyingKey, caps};
use tokio::sync::{Semaphore, mpsc, watch};

use super::acknowledge::Acknowledgements;
use super::budget::Budget;
use super::config::{Admission, BrokerConfig, Deadlines};
use super::pulses::Pulses;
use super::recover::Recoveries;
use super::room::SendBudget;
use super::transfer::Transfers;
use super::wakes::Wakes;
use crate::commit::CommitJob;
use crate::store::{Cause, Store, StoreError};

/// Threads that may read the store at the same time; more only wait for the same disk.
const READS_MAX: usize = 64;

/// Handles and settings. Commits stop when the last clone of it is gone.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) receipt_key: ReceiptKey,
    pub(super) admission: Admission,
    pub(super) deadlines: Deadlines,
    pub(super) limits: Limits,
    pub(super) jobs: mpsc::Sender<CommitJob>,
    pub(super) acknowledgements: Acknowledgements,
    pub(super) pulses: Pulses,
    pub(super) wakes: Arc<Wakes>,
    pub(super) budget: Budget,
    pub(super) send_budget: SendBudget,
    pub(super) transfers: Transfers,
    pub(super) recoveries: Recoveries,
    pub(super) draining: watch::Receiver<bool>,
    reads: Semaphore,
}

impl Shared {
    pub(super) fn new(
        config: &BrokerConfig,
        store: Arc<dyn Store>,
        receipt_key: ReceiptKey,
        jobs: mpsc::Sender<CommitJob>,
        wakes: Arc<Wakes>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self {
            acknowledgements: Acknowledgements::start(store.clone()),
            store,
            receipt_key,
            admission: config.admission.clone(),
            deadlines: config.deadlines,
            limits: limits(config.commit.live_bytes_max),
            jobs,
            pulses: Pulses::new(wakes.clone()),
            wakes,
            budget: Budget::for_broker(),
            send_budget: SendBudget::new(config.unconfirmed_bytes_max),
            transfers: Transfers::new(config.commit.live_bytes_max),
            recoveries: Recoveries::new(),
            draining,
            reads: Semaphore::new(READS_MAX),
        }
    }

    /// What a client is greeted with.
    pub(super) fn welcome(&self) -> Welcome {
        Welcome {
            software: concat!("tidings ", env!("CARGO_PKG_VERSION")).into(),
            receipt_key: self.receipt_key.verifying_key(),
            limits: self.limits,
        }
    }

    /// Reads the store on a thread that may block.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    {
        let _permit = self.reads.acquire().await;
        let store = self.store.clone();
        let answer = tokio::task::spawn_blocking(move || read(&*store)).await;
        answer.unwrap_or_else(|_| Err(StoreError::Unavailable(Cause::new("a read did not end"))))
    }

    /// Whether this owner's publishes are taken.
    pub(super) async fn admit(&self, owner: VerifyingKey) -> Result<(), Refusal> {
        let Admission::List(list) = &self.admission else { return Ok(()) };
        let list = list.clone();
        match tokio::task::spawn_blocking(move || list.admits(&owner)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Refusal::new(RefusalCode::NotAdmitted, "the operator does not admit this owner")),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(RefusalCode::Unavailable, "the admission list cannot be read; nothing changed")),
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// Waits until the broker drains.
pub(super) async fn drained(draining: &mut watch::Receiver<bool>) {
    // An error means that the broker itself is gone: that is draining too.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// This machine's clock.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn limits(live_bytes_max: u64) -> Limits {
    let cap = |cap: usize| u32::try_from(cap).unwrap_or(u32::MAX);
    Limits {
        publish_entries_max: cap(caps::PUBLISH_ENTRIES_MAX),
        publish_bytes_max: cap(caps::PUBLISH_BYTES_MAX),
        entry_bytes_max: cap(caps::ENTRY_BYTES_MAX),
        publishes_in_flight_max: cap(caps::PUBLISHES_IN_FLIGHT_MAX),
        readers_max: cap(caps::READERS_MAX),
        live_bytes_max,
    }
}
