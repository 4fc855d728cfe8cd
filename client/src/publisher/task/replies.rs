//! What brokers answer.

use tidings_core::Receipt;
use tidings_proto::{HeadNumber, Reply};
use tokio::time::Instant;

use super::super::lines::{Line, Up};
use super::super::owner::Owner;
use super::super::session::{Answer, Unfit};
use super::{Ask, RECEIPTS_KEPT_WITHIN, Task, publish};
use crate::state::StateError;
use crate::{ConnectionError, clock};

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

    /// Takes a reply and all that are there already; the last receipt is for all of them. What may be signed and sent now is, in the
    /// same step.
    async fn answered(&mut self, at: usize, up: Box<Up>, first: Result<Reply, ConnectionError>) -> Result<(), StateError> {
        let (limits, now) = (self.limits_to_sign(&up), clock::now());
        let others = if limits.is_some() { self.lines.take_ups() } else { Vec::new() };
        let step = move |owner: &mut Owner| match take_replies(owner, up, first) {
            Ok((up, replies)) => {
                let mut ups = others;
                ups.push((at, up));
                let goes_on = limits.is_some() && replies.unfit.is_none();
                let (ups, published, result) = if goes_on { publish(owner, ups, limits, now) } else { (ups, Vec::new(), Ok(())) };
                Ok((ups, replies, published, result))
            }
            Err(error) => Err(error),
        };
        let (ups, Replies { receipt, readers, unfit }, published, result) = self.step(step).await??;
        self.lines.put_back(ups);
        if receipt.is_some()
            && let Some(way) = self.lines.ways_mut().get_mut(at)
        {
            way.backoff.succeeded();
        }
        self.list_states();
        self.signed(&published);
        if let Some((receipt, done)) = receipt {
            self.tickets.receipted(&receipt, done);
            self.keep_receipts_at.get_or_insert_with(|| Instant::now() + RECEIPTS_KEPT_WITHIN);
        }
        self.due |= limits.is_none() || unfit.is_some();
        self.settle(result)?;
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
    /// The newest receipt, and the newest head that has as many as it needs.
    receipt: Option<(Receipt, HeadNumber)>,
    readers: bool,
    unfit: Option<Unfit>,
}

fn take_replies(owner: &mut Owner, mut up: Box<Up>, first: Result<Reply, ConnectionError>) -> Result<(Box<Up>, Replies), StateError> {
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
    Ok((up, Replies { receipt, readers, unfit }))
}
