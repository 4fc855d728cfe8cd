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

    /// A receipt is for its head and all before it.
    pub(super) fn receipted(&mut self, receipt: &Receipt) {
        let later = match receipt.rank.number.next() {
            Some(next) => self.signed.split_off(&next),
            None => BTreeMap::new(),
        };
        for waiter in std::mem::replace(&mut self.signed, later).into_values().flatten() {
            // Whoever asked may have gone away.
            let _ = waiter.send(Ok(*receipt));
        }
    }
}
