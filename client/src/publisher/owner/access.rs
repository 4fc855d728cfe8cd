//! Who may read, each change signed and durable when its step returns. [P-17]

use tidings_core::access::Rights;
use tidings_core::writer::{AccessChange, Invitee, WriterError};
use tidings_core::{Card, Invitation};
use tidings_proto::caps::HEAD_EPOCHS_MAX;
use tidings_proto::{HeadNumber, Pseudonym, Timestamp};

use super::super::error::{GrantFailure, RevokeFailure};
use super::super::room::Room;
use super::signing::{Access, UNASKED};
use super::{Owner, Published};
use crate::clock;
use crate::state::{OwnStep, OwnView, ReaderRow, StateError};

/// From so many epochs with live entries on, old ones are emptied before a new one begins: another one must always have room in
/// the head, and its grants in one publish.
const EPOCHS_CROWDED: usize = HEAD_EPOCHS_MAX - 8;

impl Owner {
    /// Makes the node of `card` a reader. Gives the invitation and the head that carries the change; for a node that is a reader
    /// already, an invitation that names the places of now.
    pub(in super::super) fn grant(
        &mut self,
        card: Card,
        name: String,
        addresses: Vec<String>,
        now: Timestamp,
    ) -> Result<(String, HeadNumber), GrantFailure> {
        let known = self.writer.readers().iter().find(|reader| reader.copy.card.verifying_key == card.verifying_key);
        if let Some(pseudonym) = known.map(|reader| reader.row.pseudonym) {
            return Ok((self.invite_again(&pseudonym, addresses, now)?, self.rank().number));
        }
        self.sign_all_opening(now)?;
        let access = AccessChange { add: vec![Invitee { card, name }], locator: self.locator.clone(), ..AccessChange::default() };
        let (key, descriptor) = (self.key.clone(), self.writer.descriptor().clone());
        let mut text = String::new();
        // Without waiting records: the invitation must not fail because one of them does.
        let published = self.try_sign(&Room::none(), Access::Change(access), now, |step, signed| {
            let granted = signed.granted.first().ok_or(StateError::Damaged("a grant was not sealed".into()))?;
            let invitation = Invitation { descriptor, card: key.card(), addresses, grant: granted.grant.clone() };
            text = invitation.sign(&key);
            let since = signed.head.rank().number;
            step.put_reader_row(&granted.pseudonym, ReaderRow { since, ended: HeadNumber::ZERO })?;
            step.put_invitation(&granted.pseudonym, &text)
        })?;
        let published = published.ok_or(WriterError::NoSuchReader)?;
        Ok((text, published.number))
    }

    /// The invitation that was given out before, if all places are the same; else another one.
    fn invite_again(&mut self, reader: &Pseudonym, addresses: Vec<String>, now: Timestamp) -> Result<String, GrantFailure> {
        let known = self.state.read(|transaction| OwnView(transaction).invitation(reader))?;
        let same = |text: &String| Invitation::parse(text).is_ok_and(|known| known.addresses == addresses);
        if let Some(known) = known.filter(same) {
            return Ok(known);
        }
        self.sign_all_opening(now)?;
        let grant = self.writer.grant_for(&self.key, reader, &self.locator, &mut clock::entropy()?)?;
        let invitation = Invitation { descriptor: self.writer.descriptor().clone(), card: self.key.card(), addresses, grant };
        let text = invitation.sign(&self.key);
        self.state.write(|transaction| OwnStep(transaction).put_invitation(reader, &text))?;
        Ok(text)
    }

    /// Ends the access of `reader` in one publish: its row goes, a new epoch begins, everybody else is granted it. Whatever is
    /// sealed afterwards is out of its reach, what waits in the outbox too: it is sealed when it is signed. Gives what was signed,
    /// last the change itself.
    pub(in super::super) fn revoke(&mut self, reader: &Pseudonym, now: Timestamp) -> Result<Vec<Published>, RevokeFailure> {
        let is_it = |known: &tidings_core::writer::GrantedReader| known.row.pseudonym == *reader && known.row.rights != Rights::Owner;
        if !self.writer.readers().iter().any(is_it) {
            return Err(RevokeFailure::NoSuchReader);
        }
        let mut published = self.sign_all_opening(now)?;
        while self.writer.crowded_through(EPOCHS_CROWDED).is_some() {
            let Some(emptied) = self.sign(&UNASKED, now)? else { break };
            published.push(emptied);
        }
        let access = AccessChange { remove: vec![*reader], locator: self.locator.clone(), ..AccessChange::default() };
        // Without waiting records: a revocation must not fail because one of them does.
        let room = Room::none();
        let change = self.try_sign(&room, Access::Change(access), now, |step, signed| {
            step.end_reader(reader)?;
            step.put_reader_ended(reader, signed.head.rank().number)
        })?;
        published.extend(change);
        Ok(published)
    }
}
