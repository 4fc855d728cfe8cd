//! Who waits for which publish.

use std::collections::{BTreeMap, HashMap};

use tidings_core::{Receipt, RecordPath};
use tidings_proto::HeadNumber;
use tokio::sync::oneshot;

use super::error::TicketError;
use super::write::Ticket;

type Waiter = oneshot::Sender<Result<Receipt, TicketError>>;

/// Tickets that are not answered yet. They do not outlive the process; what they wait for does.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    unsigned: HashMap<RecordPath, Vec<Waiter>>,
    signed: BTreeMap<HeadNumber, Vec<Waiter>>,
}

impl Tickets {
    /// A ticket for a record in the outbox.
    pub(super) fn waits(&mut self, path: RecordPath) -> Ticket {
        let (waiter, receipted) = oneshot::channel();
        self.unsigned.entry(path).or_default().push(waiter);
        Ticket { receipted }
    }

    /// A ticket for a signed head.
    pub(super) fn waits_for(&mut self, number: HeadNumber) -> Ticket {
        let (waiter, receipted) = oneshot::channel();
        self.signed.entry(number).or_default().push(waiter);
        Ticket { receipted }
    }

    /// The record's outbox row is gone: a delete met a create that was not signed. Gives the delete's own ticket.
    pub(super) fn undone(&mut self, path: &RecordPath) -> Ticket {
        for waiter in self.unsigned.remove(path).unwrap_or_default() {
            let _ = waiter.send(Err(TicketError::NothingToPublish));
        }
        let (waiter, receipted) = oneshot::channel();
        let _ = waiter.send(Err(TicketError::NothingToPublish));
        Ticket { receipted }
    }

    /// The outbox rows of `paths` are in head `number` now.
    pub(super) fn signed(&mut self, number: HeadNumber, paths: &[RecordPath]) {
        let waiters: Vec<_> = paths.iter().filter_map(|path| self.unsigned.remove(path)).flatten().collect();
        if !waiters.is_empty() {
            self.signed.entry(number).or_default().extend(waiters);
        }
    }

    /// The branch with these heads is left: what became of their records is in no receipt. Their values are merged.
    pub(super) fn forget_signed(&mut self) {
        self.signed.clear();
    }

    /// Everything up to and including head `done` has as many receipts as it needs; this is the last of them.
    pub(super) fn receipted(&mut self, receipt: &Receipt, done: HeadNumber) {
        let later = match done.next() {
            Some(next) => self.signed.split_off(&next),
            None => BTreeMap::new(),
        };
        for waiter in std::mem::replace(&mut self.signed, later).into_values().flatten() {
            // Whoever asked may have gone away.
            let _ = waiter.send(Ok(*receipt));
        }
    }
}
