//! Who may read: signed as soon as anything may be signed, also where no broker is reached. [P-17]

use tidings_core::Card;
use tidings_proto::Pseudonym;

use super::super::error::{GrantFailure, RevokeFailure};
use super::super::write::Ticket;
use super::{Command, Task};
use crate::clock;

impl Task {
    /// Takes the changes that wait, if something may be signed; refuses them while another writer is in the way.
    pub(super) async fn change_access(&mut self) {
        let conflict = self.comparing.conflict().is_some();
        if self.deferred.is_empty() || !(conflict || (self.comparing.is_open() && !self.is_closing())) {
            return;
        }
        for command in std::mem::take(&mut self.deferred) {
            match command {
                Command::Grant { done, .. } if conflict => drop(done.send(Err(GrantFailure::Conflict))),
                Command::Revoke { done, .. } if conflict => drop(done.send(Err(RevokeFailure::Conflict))),
                Command::Grant { card, name, done } => {
                    let answer = self.grant(*card, name).await;
                    let _ = done.send(answer);
                }
                Command::Revoke { reader, done } => {
                    let answer = self.revoke(reader).await;
                    let _ = done.send(answer);
                }
                _ => {}
            }
        }
    }

    async fn grant(&mut self, card: Card, name: String) -> Result<(String, Option<Ticket>), GrantFailure> {
        let addresses = self.config.brokers.iter().map(ToString::to_string).collect();
        let now = clock::now();
        let (text, number) = self.step(move |owner| owner.grant(card, name, addresses, now)).await??;
        self.due = true;
        self.hurry();
        let unreceipted = self.watched.waiting.borrow().unreceipted > 0;
        Ok((text, unreceipted.then(|| self.tickets.waits_for(number))))
    }

    async fn revoke(&mut self, reader: Pseudonym) -> Result<Ticket, RevokeFailure> {
        let now = clock::now();
        let published = self.step(move |owner| owner.revoke(&reader, now)).await??;
        let change = published.last().map(|published| published.number).unwrap_or_default();
        self.signed(&published);
        self.due = true;
        self.hurry();
        Ok(self.tickets.waits_for(change))
    }
}
