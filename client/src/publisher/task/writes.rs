//! Writes of all handles, as many as there are at once in one transaction.

use std::sync::Arc;

use tidings_proto::Timestamp;
use tidings_proto::caps::PUBLISH_ENTRIES_MAX;
use tidings_proto::frames::Limits;
use tokio::sync::oneshot;

use super::super::error::WriteError;
use super::super::lines::Up;
use super::super::owner::{Answer, Owner, Part, Published, SignError, Taken};
use super::super::write::Ticket;
use super::{Command, Sent, Task, UNRECEIPTED_MAX, publish};
use crate::clock;
use crate::state::{StateError, Waiting};

/// Tickets for the writes of one part, or why none of them was taken.
pub(in super::super) type Written = Result<Vec<Ticket>, WriteError>;

/// What one handle writes.
pub(in super::super) struct WriteCommand {
    pub(in super::super) parts: Vec<Part>,
    pub(in super::super) done: oneshot::Sender<Result<Vec<Written>, WriteError>>,
}

/// Writes of different handles that share one transaction: as many as one publish takes.
const WRITES_TOGETHER_MAX: usize = PUBLISH_ENTRIES_MAX;

impl Task {
    /// Everything that waits to be written shares one transaction. Gives back the command to close with, if that was among those
    /// taken together.
    pub(super) async fn writes(&mut self, first: WriteCommand) -> Option<oneshot::Sender<()>> {
        let (together, next) = self.together(first);
        let (parts, senders): (Vec<_>, Vec<_>) = together.into_iter().map(|command| (command.parts, command.done)).unzip();
        let counts: Vec<usize> = parts.iter().map(Vec::len).collect();
        let (parts, now): (Vec<Part>, _) = (parts.into_iter().flatten().collect(), clock::now());
        let limits = self.limits_at_once();
        // What is signed at once is sent in the same step.
        let ups = if limits.is_some() { self.lines.take_ups() } else { Vec::new() };
        let outcome = self.step(move |owner| write_and_send(owner, &parts, (limits, ups), now)).await;
        let outcome = outcome.map(|(written, (ups, published, result))| {
            self.lines.put_back(ups);
            self.list_states();
            (written, published, result)
        });
        match outcome {
            Ok((Ok((taken, published)), later, result)) => {
                let mut taken = taken.into_iter();
                for (count, done) in counts.into_iter().zip(senders) {
                    let answers = taken.by_ref().take(count).map(|answer| Ok(self.tickets_for(answer?))).collect();
                    let _ = done.send(Ok(answers));
                }
                self.signed(published.as_slice());
                self.signed(&later);
                if let Err(error) = self.settle(result) {
                    self.local_failure(&error);
                }
                self.due |= limits.is_none();
            }
            Ok((Err(error), ..)) => {
                let error = WriteError::State(Arc::new(error));
                senders.into_iter().for_each(|done| drop(done.send(Err(error.clone()))));
            }
            Err(error) => self.local_failure(&error),
        }
        self.hurry();
        match next {
            Some(command) => Box::pin(self.command(command)).await,
            None => None,
        }
    }

    /// Within which limits writes may be signed at once: where everything that was written before is signed, and a broker takes more.
    fn limits_at_once(&self) -> Option<Limits> {
        let Waiting { unsigned, unreceipted } = *self.watched.waiting.borrow();
        let free = self.may_go_on() && unsigned == 0 && unreceipted < UNRECEIPTED_MAX;
        let taken = free && self.lines.ups().any(|up| up.session.is_ready());
        if taken { self.lines.limits() } else { None }
    }

    fn together(&mut self, first: WriteCommand) -> (Vec<WriteCommand>, Option<Command>) {
        let mut count = first.parts.len();
        let mut together = vec![first];
        while count < WRITES_TOGETHER_MAX {
            match self.commands.try_recv() {
                Ok(Command::Write(write)) => {
                    count += write.parts.len();
                    together.push(write);
                }
                Ok(other) => return (together, Some(other)),
                Err(_) => break,
            }
        }
        (together, None)
    }

    fn tickets_for(&mut self, taken: Vec<Taken>) -> Vec<Ticket> {
        let ticket = |taken| match taken {
            Taken::Waits(path) => self.tickets.waits(path),
            Taken::Undone(path) => self.tickets.undone(&path),
        };
        taken.into_iter().map(ticket).collect()
    }
}

type Outcome = Result<(Vec<Answer>, Option<Published>), StateError>;

/// Takes writes; where they may be signed at once, also signs and sends them, and what else waits.
fn write_and_send(
    owner: &mut Owner,
    parts: &[Part],
    (limits, ups): (Option<Limits>, Vec<(usize, Box<Up>)>),
    now: Timestamp,
) -> (Outcome, Sent) {
    let written = write(owner, parts, limits, now);
    let sent = match &written {
        Ok(_) if limits.is_some() => publish(owner, ups, limits, now),
        _ => (ups, Vec::new(), Ok(())),
    };
    (written, sent)
}

/// Takes writes; signs them in the same transaction, if they may be signed at once.
fn write(owner: &mut Owner, parts: &[Part], limits: Option<Limits>, now: Timestamp) -> Outcome {
    let at_once = match limits {
        Some(limits) => owner.write_and_sign(parts, &limits, now),
        None => Ok(None),
    };
    match at_once {
        Ok(Some(done)) => Ok(done),
        Err(SignError::State(error)) => Err(error),
        // Why nothing can be signed is found and told again when what waits is to be signed.
        Ok(None) | Err(_) => Ok((owner.write_parts(parts, now)?, None)),
    }
}
