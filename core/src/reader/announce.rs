//! Announced heads: the owner's signature, the order, and the descent from what was verified. [P-11, P-13, P-14]

use tidings_proto::frames::Announce;

use super::{Fault, Reader, ReaderStore, Step, Verdict};
use crate::codec::DecodeError;
use crate::cursor::Cursor;
use crate::head::SignedHead;
use crate::history::verify_inclusion;

/// How an announced head stands to an earlier one.
enum Descent {
    /// The earlier head is in its history.
    Proven,
    /// Another head stands at that number in its history.
    Other([u8; 32]),
    /// Its history ends below that number.
    Below,
    /// Nothing is proven.
    Unproven,
}

impl Reader {
    /// Takes an announced head.
    pub fn on_announce<S: ReaderStore>(&mut self, announce: &Announce, store: &mut S) -> Result<Step, S::Error> {
        let head = match SignedHead::parse(announce.head.clone()) {
            Ok(head) => head,
            Err(DecodeError::TooNew { .. }) => return Ok(self.too_new("head")),
            Err(_) => return self.contradiction(Fault::Malformed("a head"), store),
        };
        if head.head().queue != self.queue || head.verify(&self.descriptor.signing_key).is_err() {
            return self.contradiction(Fault::ForeignHead, store);
        }
        let Some(attempt) = &self.attempt else { return self.contradiction(Fault::OutOfTurn("a head"), store) };
        match attempt.head().map(SignedHead::rank) {
            None => self.first_head(head, announce, attempt.base, store),
            Some(last) if head.rank() > last => self.next_head(head, announce, store),
            Some(_) => self.contradiction(Fault::HeadOrder, store),
        }
    }

    /// `base` is the verified head, also while the set that it signs is read again.
    fn first_head<S: ReaderStore>(&mut self, head: SignedHead, announce: &Announce, base: Cursor, store: &mut S) -> Result<Step, S::Error> {
        // An older signed head is no lie: the broker may have been restored, or lag. [P-14]
        if head.rank() < self.rank_before().max(self.staging.stamp) {
            return Ok(Step::Behind);
        }
        match descent(&head, &base, announce) {
            Descent::Proven => self.adopt_first(head, store),
            Descent::Unproven => self.contradiction(Fault::Proof, store),
            Descent::Other(leaf) if head.rank().term == base.rank.term => self.accuse(
                Verdict::Forked,
                "the owner's key signed two heads of one number",
                &head,
                Some((leaf, announce.proof.clone())),
                store,
            ),
            Descent::Other(leaf) => {
                let detail = "the owner went on from before the verified head, in a higher term";
                self.rewind(detail, head, Some((leaf, announce.proof.clone())), store)
            }
            Descent::Below => {
                let detail = "the owner's history ends below the verified head, in a higher term";
                self.rewind(detail, head, None, store)
            }
        }
    }

    pub(super) fn adopt_first<S: ReaderStore>(&mut self, head: SignedHead, store: &mut S) -> Result<Step, S::Error> {
        if self.staging.position > self.cursor.offset && !self.staging_goes_on_in(&head) {
            // What was staged may stand in a branch that the higher term replaced. [P-13]
            self.drop_staging(store)?;
            self.staging.stamp = head.rank();
            return Ok(Step::Restart(Fault::Branch));
        }
        if head.head().offset < self.staging.position {
            return Ok(Step::Behind);
        }
        let floor = head.head().floor;
        let staged = self.staging.position > self.cursor.offset;
        let lowest = self.staging.floor.filter(|_| staged).map_or(floor, |before| before.min(floor));
        let witness = if self.live_count > 0 { self.cursor.offset } else { lowest };
        self.staging.floor = Some(lowest);
        self.adopt(head);
        if let Some(attempt) = &mut self.attempt {
            attempt.witness = witness;
        }
        Ok(Step::Continue)
    }

    fn next_head<S: ReaderStore>(&mut self, head: SignedHead, announce: &Announce, store: &mut S) -> Result<Step, S::Error> {
        let Some(base) = self.attempt.as_ref().map(|attempt| attempt.base) else { return Ok(Step::Continue) };
        match descent(&head, &base, announce) {
            Descent::Proven => {
                self.adopt(head);
                Ok(Step::Continue)
            }
            Descent::Unproven => self.contradiction(Fault::Proof, store),
            Descent::Other(_) | Descent::Below => self.contradiction(Fault::Branch, store),
        }
    }

    fn adopt(&mut self, head: SignedHead) {
        self.staging.stamp = self.staging.stamp.max(head.rank());
        if let Some(attempt) = &mut self.attempt {
            attempt.adopt(head);
        }
    }
}

/// Compares what stands at `base` in the head's history with `base`.
fn descent(head: &SignedHead, base: &Cursor, announce: &Announce) -> Descent {
    let (number, before) = (head.rank().number, base.rank.number);
    if number < before {
        return Descent::Below;
    }
    if number == before {
        return if head.hash() == base.head { Descent::Proven } else { Descent::Other(*head.hash().bytes()) };
    }
    let Some(leaf) = proven_leaf(head, announce) else { return Descent::Unproven };
    match announce.base == before {
        true if leaf == *base.head.bytes() => Descent::Proven,
        true => Descent::Other(leaf),
        false => Descent::Unproven,
    }
}

/// The leaf at `announce.base` that the signed history root commits to.
fn proven_leaf(head: &SignedHead, announce: &Announce) -> Option<[u8; 32]> {
    let number = head.rank().number.value();
    if announce.base.value().checked_add(1) == Some(number) {
        return Some(*head.head().previous.bytes());
    }
    let leaf: [u8; 32] = announce.leaf.as_ref().try_into().ok()?;
    let root = &head.head().history_root;
    verify_inclusion(root, number, announce.base.value(), &leaf, &announce.proof).then_some(leaf)
}
