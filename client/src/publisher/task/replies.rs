//! What brokers answer.

use tidings_core::Receipt;
use tidings_proto::{HeadNumber, Reply};
use tokio::time::Instant;

use super::super::lines::{Line, Up};
use super::super::owner::Owner;
use super::super::session::{Answer, Unfit};
use super::{Ask, RECEIPTS_KEPT_WITHIN, Task};
use crate::ConnectionError;
use crate::state::StateError;

impl Task {
    pub(super) async fn replied(&mut self, at: usize, first: Result<Reply, ConnectionError>) -> Result<(), StateError> {
        let Some(way) = self.lines.ways_mut().get_mut(at) else { return Ok(()) };
        match std::mem::replace(&mut way.line, Line::Down) {
            Line::Recovering(recovering) => self.recovered_part(at, recovering, first).await,
            Line::Up(up) => self.answered(at, up, first).await,
            other => {
                way.line = other;
                Ok(())
            }
        }
    }

    /// Takes a reply and all that are there already; the last receipt is for all of them.
    async fn answered(&mut self, at: usize, up: Box<Up>, first: Result<Reply, ConnectionError>) -> Result<(), StateError> {
        let Replies { up, receipt, readers, unfit } = self.step(move |owner| take_replies(owner, up, first)).await??;
        let Some(way) = self.lines.ways_mut().get_mut(at) else { return Ok(()) };
        way.line = Line::Up(up);
        if receipt.is_some() {
            way.backoff.succeeded();
        }
        self.list_states();
        if let Some((receipt, done)) = receipt {
            self.tickets.receipted(&receipt, done);
            self.keep_receipts_at.get_or_insert_with(|| Instant::now() + RECEIPTS_KEPT_WITHIN);
        }
        self.due = true;
        let lost = unfit.is_some();
        if let Some(unfit) = unfit {
            self.failed(at, unfit);
        }
        if readers || lost {
            self.tell_readers(Ask::Broker).await;
        }
        Ok(())
    }

    /// Answers everybody who asked for the readers with what is known, once no broker that was asked owes an answer.
    pub(super) async fn tell_readers(&mut self, ask: Ask) {
        let owed = self.lines.ups().any(|up| up.session.is_asked());
        if self.asking.is_empty() || (ask == Ask::Broker && owed) {
            return;
        }
        if let Ok(readers) = self.step(|owner| super::super::status::readers(owner)).await {
            self.asking.drain(..).for_each(|asking| drop(asking.send(readers.clone())));
        }
    }
}

/// What came of a run of replies.
struct Replies {
    up: Box<Up>,
    /// The newest receipt, and the newest head that has as many as it needs.
    receipt: Option<(Receipt, HeadNumber)>,
    readers: bool,
    unfit: Option<Unfit>,
}

fn take_replies(owner: &mut Owner, mut up: Box<Up>, first: Result<Reply, ConnectionError>) -> Result<Replies, StateError> {
    let (mut newest, mut readers, mut unfit) = (None, false, None);
    let mut reply = Some(first);
    while let Some(next) = reply {
        match up.session.answer(next, owner)? {
            Ok(Answer::Receipt(receipt, bytes)) => newest = Some((receipt, bytes)),
            Ok(Answer::Readers(answer)) => {
                owner.take_readers(&answer)?;
                readers = true;
            }
            Err(why) => {
                unfit = Some(why);
                break;
            }
        }
        reply = up.session.stream.received();
    }
    let receipt = match &newest {
        Some((receipt, bytes)) => Some((*receipt, owner.receipted(&up.session.receipt_key, bytes, receipt)?)),
        None => None,
    };
    Ok(Replies { up, receipt, readers, unfit })
}
