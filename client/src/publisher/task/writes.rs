//! Writes of all handles, as many as there are at once in one transaction.

use std::sync::Arc;

use tidings_proto::Timestamp;
use tidings_proto::caps::PUBLISH_ENTRIES_MAX;
use tidings_proto::frames::Limits;
use tokio::sync::oneshot;

use super::super::error::WriteError;
use super::super::owner::{Answer, Owner, Part, Published, SignError, Taken};
use super::super::write::Ticket;
use super::{Command, Task, UNRECEIPTED_MAX};
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
        let outcome = self.step(move |owner| write(owner, &parts, limits, now)).await;
        match outcome {
            Ok(Ok((taken, published))) => {
                let mut taken = taken.into_iter();
                for (count, done) in counts.into_iter().zip(senders) {
                    let answers = taken.by_ref().take(count).map(|answer| Ok(self.tickets_for(answer?))).collect();
                    let _ = done.send(Ok(answers));
                }
                self.signed(published.as_slice());
            }
            Ok(Err(error)) => {
                let error = WriteError::State(Arc::new(error));
                senders.into_iter().for_each(|done| drop(done.send(Err(error.clone()))));
            }
            Err(error) => self.local_failure(&error),
        }
        self.due = true;
        self.hurry();
        match next {
            Some(command) => Box::pin(self.command(command)).await,
            None => None,
        }
    }

    /// Within which limits writes may be signed at once: where everything that was written before is signed, and a broker takes more.
    fn limits_at_once(&self) -> Option<Limits> {
        let Waiting { unsigned, unreceipted } = *self.watched.waiting.borrow();
        let gate = self.comparing.is_open() && !self.snapshots.are_awaited() && !self.is_closing() && self.deferred.is_empty();
        let free = gate && unsigned == 0 && unreceipted < UNRECEIPTED_MAX;
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
