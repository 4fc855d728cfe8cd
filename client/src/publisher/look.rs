//! What handles see without asking the task.

use std::sync::PoisonError;
use std::time::Duration;

use tidings_core::{Operation, Receipt, RecordPath};
use tidings_proto::{HeadNumber, HeadRank, Offset};
use tokio::sync::oneshot;

use super::status::{Loss, Merge, Named, OwnStatus, ReaderStatus};
use super::task::{Ask, Command};
use super::write::{OwnValue, Stage};
use super::{Publisher, ReadersError, rescued};
use crate::state::{OwnView, StateError, receipted, receipted_offset};

/// How long brokers may take to tell what the readers acknowledged.
const READERS_WAIT: Duration = Duration::from_secs(5);

impl Publisher {
    /// What names values of the record at `path` now: the write that waits unsigned, and the live signed entry, tombstones included.
    pub fn named(&self, path: &RecordPath) -> Result<Named, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            Ok(Named {
                waiting: view.outbox_row(path)?,
                signed: view.record(path)?.map(|(record, mutation)| (mutation, record.offset)),
                head: view.newest()?,
                receipted: receipted(&view)?.map_or(HeadNumber::ZERO, |cursor| cursor.rank.number),
            })
        })
    }

    /// The record at `path` as this node last wrote it. `None` if there is none, or if its delete is the last write.
    pub fn get(&self, path: &RecordPath) -> Result<Option<OwnValue>, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            own_value(&view, path, receipted_offset(&view)?)
        })
    }

    /// Records at `prefix` and below it, ascending by path; an empty prefix or `/` is all. Reserved paths are left out.
    pub fn list(&self, prefix: &str) -> Result<Vec<OwnValue>, StateError> {
        self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            let receipted = receipted_offset(&view)?;
            let paths = view.paths(prefix.trim_end_matches('/'))?;
            let paths = paths.iter().filter(|path| !path.is_reserved());
            paths.filter_map(|path| own_value(&view, path, receipted).transpose()).collect()
        })
    }

    /// What waits, what is published, and how the brokers are.
    pub fn status(&self) -> Result<OwnStatus, StateError> {
        let (writer, waiting, receipt, losses, rescued, merges) = self.shared.state.read(|transaction| {
            let view = OwnView(transaction);
            let writer = view.writer()?.ok_or_else(|| StateError::Damaged("the owner's writer is gone".into()))?;
            let receipts = view.receipts()?;
            let verified = receipts.iter().filter_map(|(key, bytes)| Receipt::verify(bytes, key).ok());
            let receipt = verified.max_by_key(|receipt| receipt.rank);
            Ok((writer, view.waiting()?, receipt, view.losses()?, rescued::count(&view)?, view.merges()?))
        })?;
        let head = writer.head().map(|head| head.head());
        Ok(OwnStatus {
            queue: writer.queue(),
            head: head.map_or(HeadRank::default(), |head| head.rank()),
            offset: head.map_or(Offset::ZERO, |head| head.offset),
            live_count: writer.live_count(),
            floor: head.map_or(Offset::ZERO, |head| head.floor),
            unsigned: waiting.unsigned,
            unreceipted: waiting.unreceipted,
            receipt,
            losses: losses.into_iter().map(Loss::from).collect(),
            term: writer.term(),
            writer: writer.writer(),
            conflict: self.shared.conflict.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            rescued,
            merged: merges.into_iter().map(Merge::from).collect(),
            brokers: self.shared.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            error: self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    /// The readers with what they have acknowledged. Asks every broker that is connected; the highest acknowledgement of each reader
    /// counts. Without a broker gives what is known.
    pub async fn readers(&self) -> Result<Vec<ReaderStatus>, ReadersError> {
        match tokio::time::timeout(READERS_WAIT, self.ask_readers(Ask::Broker)).await {
            Ok(answer) => answer,
            Err(_) => self.ask_readers(Ask::Nobody).await,
        }
    }

    async fn ask_readers(&self, ask: Ask) -> Result<Vec<ReaderStatus>, ReadersError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Readers { ask, done }).await.map_err(|_| ReadersError::Closed)?;
        answer.await.map_err(|_| ReadersError::Closed)
    }
}

/// The newest write of a record: what waits, else what is signed.
pub(super) fn own_value(view: &OwnView<'_>, path: &RecordPath, receipted: Offset) -> Result<Option<OwnValue>, StateError> {
    let value = match view.outbox_row(path)? {
        Some(mutation) => Some(OwnValue { mutation, offset: None, stage: Stage::Waiting }),
        None => view.record(path)?.map(|(record, mutation)| {
            let stage = if record.offset <= receipted { Stage::Receipted } else { Stage::Signed };
            OwnValue { mutation, offset: Some(record.offset), stage }
        }),
    };
    Ok(value.filter(|value| value.mutation.operation != Operation::Delete))
}
