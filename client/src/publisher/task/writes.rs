//! Writes of all handles, as many as there are at once in one transaction.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::error::WriteError;
use super::super::owner::{Part, Taken};
use super::super::write::Ticket;
use super::{Command, Task};
use crate::clock;

/// Tickets for the writes of one part, or why none of them was taken.
pub(in super::super) type Written = Result<Vec<Ticket>, WriteError>;

/// What one handle writes.
pub(in super::super) struct WriteCommand {
    pub(in super::super) parts: Vec<Part>,
    pub(in super::super) done: oneshot::Sender<Result<Vec<Written>, WriteError>>,
}

/// Writes of different handles that share one transaction.
const WRITES_TOGETHER_MAX: usize = 4_096;

impl Task {
    /// Everything that waits to be written shares one transaction. Gives back the command to close with, if that was among those
    /// taken together.
    pub(super) async fn writes(&mut self, first: WriteCommand) -> Option<oneshot::Sender<()>> {
        let (together, next) = self.together(first);
        let (parts, senders): (Vec<_>, Vec<_>) = together.into_iter().map(|command| (command.parts, command.done)).unzip();
        let counts: Vec<usize> = parts.iter().map(Vec::len).collect();
        let (parts, now): (Vec<Part>, _) = (parts.into_iter().flatten().collect(), clock::now());
        let outcome = self.step(move |owner| owner.write_parts(&parts, now)).await;
        self.refresh().await;
        match outcome {
            Ok(Ok(taken)) => {
                let mut taken = taken.into_iter();
                for (count, done) in counts.into_iter().zip(senders) {
                    let answers = taken.by_ref().take(count).map(|answer| Ok(self.tickets_for(answer?))).collect();
                    let _ = done.send(Ok(answers));
                }
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
