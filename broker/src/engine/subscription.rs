//! One subscription: what is read next, and what is sent next. [P-9] [P-17]
//!
//! The broker keeps a position, not a buffer. Between any two reads the store may have moved on; so what was read is sent
//! only if the reader's row, read after it, still gives access and names the grant that was sent before it.

use std::collections::VecDeque;

use bytes::Bytes;
use tidings_core::access::AccessRow;
use tidings_core::{Cursor, Object, SetHash, SetKind, SignedHead};
use tidings_proto::frames::{Reply, Subscribe};
use tidings_proto::{ContentHash, HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Refusal, RefusalCode};

use super::committed::Committed;
use super::delta::{Delta, Descent};
use super::pulse::Pulsed;
use super::read::{Answer, Denial, Read};
use super::refused::refusal_of;
use crate::store::StoreError;

/// Reads that may in a row find that the store moved on, before the subscription gives up.
const REPEATS_MAX: u8 = 32;
/// The same for former readers and strangers.
const NO_ROW: &str = "the owner's access list has no row for this reader";

/// State of one subscription; a few hundred bytes when idle.
#[derive(Debug)]
pub struct Subscription {
    queue: QueueId,
    reader: Pseudonym,
    /// What the next announcement's proof is about.
    base: HeadNumber,
    /// The last head announced; the start before the first.
    announced: Cursor,
    /// Newest head that was heard of.
    heard: HeadRank,
    position: Offset,
    /// Newest grant that the reader holds.
    grant: Option<ContentHash>,
    bitmap_asked: bool,
    /// Newest durable change of the access list that was heard of.
    access: HeadRank,
    /// Newest head that was heard to have replaced the branch that stood.
    replaced: HeadRank,
    doubt: Doubt,
    /// Newest pulse that was not sent yet.
    pulse: Option<Pulsed>,
    repeats: u8,
    phase: Phase,
    out: VecDeque<Reply>,
}

/// What a driver does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send this, then ask again.
    Send(Reply),
    /// Perform this and give the answer to [`Subscription::on_answer`].
    Read(Read),
    /// Everything was sent. Wait for a request or for a commit whose head is above this rank.
    Wait(HeadRank),
    /// Close the stream; all was sent.
    End,
}

/// What a commit means for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanOut {
    /// Send [`Committed::frames`] now; the subscription counts them as sent.
    Shared,
    /// Nothing to send by itself: ask [`Subscription::next`].
    Ask,
}

/// Whether the reader may have lost access since its row was read. [P-17]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// Its row is to be read before anything else is sent.
    Due,
    /// It is being read.
    Asked,
}

#[derive(Debug)]
enum Phase {
    /// Read the row; what was read before waits for it.
    Check(Option<Box<Delta>>),
    /// Send the grant that the row names.
    Fetch(ContentHash),
    /// Read entries, or bitmap and entries.
    Look,
    /// Read the history nodes for an announcement.
    Prove(Box<Delta>, Descent),
    /// Read what justifies a refusal.
    Deny,
    /// The branch that the reader was told of is gone: say so.
    Left,
    Idle,
    Ended,
}

impl Subscription {
    /// Opens it. The caller has seen `subscribe.reader` proven on this connection.
    ///
    /// # Errors
    /// `Malformed` if the grant is neither empty nor a hash.
    pub fn open(subscribe: &Subscribe) -> Result<Self, Refusal> {
        let grant = match subscribe.grant.as_ref() {
            [] => None,
            bytes => Some(ContentHash::try_from(bytes).map_err(|_| Refusal::new(RefusalCode::Malformed, "a grant's hash has 32 bytes"))?),
        };
        Ok(Self {
            queue: subscribe.queue,
            reader: subscribe.reader,
            base: subscribe.cursor,
            announced: Cursor::start(&subscribe.queue),
            heard: HeadRank::default(),
            position: subscribe.position,
            grant,
            bitmap_asked: false,
            access: HeadRank::default(),
            replaced: HeadRank::default(),
            doubt: Doubt::None,
            pulse: None,
            repeats: 0,
            phase: Phase::Check(None),
            out: VecDeque::new(),
        })
    }

    /// The queue it reads.
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// The reader.
    pub fn reader(&self) -> Pseudonym {
        self.reader
    }

    /// What to do next. Asking twice without doing a read asks for the same read.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Next {
        // [P-17] Also what was read while the reader had access waits here until it is known that it still has.
        if self.is_doubted() {
            self.doubt = Doubt::Asked;
            return Next::Read(Read::Access(self.queue, self.reader));
        }
        if matches!(self.phase, Phase::Left) {
            self.end(Refusal::new(RefusalCode::Conflict, "a higher term replaced the branch that was announced here"));
        }
        if let Some(reply) = self.out.pop_front() {
            return Next::Send(reply);
        }
        // [P-16] One of an older term says nothing about this branch.
        self.pulse.take_if(|pulse| pulse.rank.term < self.announced.rank.term);
        if let Some(pulse) = self.pulse.take_if(|pulse| pulse.rank <= self.announced.rank) {
            return Next::Send(Reply::Pulse(pulse.bytes));
        }
        if matches!(self.phase, Phase::Idle) && (self.bitmap_asked || self.heard > self.announced.rank) {
            self.phase = Phase::Look;
        }
        match &self.phase {
            Phase::Check(_) => Next::Read(Read::Access(self.queue, self.reader)),
            Phase::Fetch(hash) => Next::Read(Read::Grant(self.queue, *hash)),
            Phase::Look if self.bitmap_asked => Next::Read(Read::Bitmap(self.queue, self.position)),
            Phase::Look => Next::Read(Read::Scan(self.queue, self.position)),
            Phase::Prove(_, descent) => Next::Read(Read::History(self.queue, descent.nodes(self.base))),
            Phase::Deny => Next::Read(Read::Denial(self.queue, self.reader)),
            Phase::Idle => Next::Wait(self.announced.rank),
            Phase::Left | Phase::Ended => Next::End,
        }
    }

    /// Takes the answer to the read that [`Subscription::next`] asked for. Any other answer is ignored.
    pub fn on_answer(&mut self, answer: Answer) {
        if let (Doubt::Asked, Answer::Access(row)) = (self.doubt, &answer) {
            return self.on_doubted_row(row.is_some());
        }
        match (std::mem::replace(&mut self.phase, Phase::Ended), answer) {
            (Phase::Check(delta), Answer::Access(row)) => self.on_row(delta, row),
            (Phase::Fetch(hash), Answer::Grant(grant)) => self.on_grant(hash, grant),
            (Phase::Look, Answer::Scan(Some(scan))) => self.on_read(Delta::new(scan, None)),
            (Phase::Look, Answer::Bitmap(Some((live, scan)))) => self.on_read(Delta::new(scan, Some((live, self.position)))),
            (Phase::Look, Answer::Scan(None) | Answer::Bitmap(None)) => self.end(unknown_queue()),
            (Phase::Prove(delta, descent), Answer::History(hashes)) => self.on_history(delta, &descent, hashes),
            (Phase::Deny, Answer::Denial(denial)) => self.on_denial(denial),
            (phase, _) => self.phase = phase,
        }
    }

    /// Ends with the refusal for a read that failed.
    pub fn on_failure(&mut self, error: &StoreError) {
        self.end(refusal_of(error));
    }

    /// The reader asks for the bitmap up to where this was streamed. Asking again before the answer is one question.
    pub fn on_ask_bitmap(&mut self) {
        self.bitmap_asked = true;
    }

    /// Hears that the access list changed, durably, with the head of this rank. Drivers tell it before they send anything that was not
    /// whole on its way when it became so. [P-17]
    pub fn on_access_changed(&mut self, rank: HeadRank) {
        if rank > self.access && !matches!(self.phase, Phase::Ended) {
            self.access = rank;
            self.heard = self.heard.max(rank);
            self.doubt = Doubt::Due;
        }
    }

    /// Hears that the head of this rank, durable, replaced the branch that stood. Drivers tell it as they tell a change of access,
    /// and before they send anything more. Who was told of that branch is told that it is gone; who was told of none reads the
    /// new one. [P-10]
    pub fn on_replaced(&mut self, rank: HeadRank) {
        if rank > self.replaced && rank > self.announced.rank && !matches!(self.phase, Phase::Ended) {
            self.replaced = rank;
            self.heard = self.heard.max(rank);
            self.doubt = Doubt::Due;
        }
    }

    /// Whether the reader may have lost access, or its branch may be gone: then nothing may be sent before [`Subscription::next`]
    /// said so again, neither the rest of a frame.
    pub fn is_doubted(&self) -> bool {
        self.doubt != Doubt::None
    }

    /// With what code the stream is cut where a frame has begun that the reader may not have any more; what has not begun is taken
    /// back. The reader was found without access and only the reason is still to be read and sent, or it was told of a branch
    /// that is gone.
    pub fn cut(&self) -> Option<RefusalCode> {
        match self.phase {
            Phase::Deny => Some(RefusalCode::Denied),
            Phase::Left => Some(RefusalCode::Conflict),
            _ => None,
        }
    }

    /// Hears of the owner's newest pulse. It is sent once its head was announced here; one that was not sent yet gives way. [P-16]
    pub fn on_pulse(&mut self, pulse: Pulsed) {
        self.pulse = Some(pulse);
    }

    /// Hears of a durable head. The fast path of a live reader: no read at all, the same frames for everybody.
    ///
    /// Drivers may conflate: only the newest commit has to be told. Commits that were already sent are ignored.
    pub fn on_committed(&mut self, committed: &Committed) -> FanOut {
        self.heard = self.heard.max(committed.head.rank());
        if committed.access_changed {
            self.on_access_changed(committed.head.rank());
        }
        if committed.replaced {
            self.on_replaced(committed.head.rank());
        }
        if !self.follows(committed) {
            return FanOut::Ask;
        }
        // [P-17] The list did not change since this reader was last found on it: nothing to read again.
        self.announced = committed.head.cursor();
        self.base = self.announced.rank.number;
        self.position = self.announced.offset;
        FanOut::Shared
    }

    fn follows(&self, committed: &Committed) -> bool {
        matches!(self.phase, Phase::Idle)
            && self.out.is_empty()
            && !self.is_doubted()
            && !self.bitmap_asked
            && !committed.access_changed
            && committed.entries.is_some()
            && self.announced == committed.previous
            && self.position == committed.previous.offset
    }

    /// [P-17] Access is that of this moment, and the newest grant goes before the first delta that needs it.
    fn on_row(&mut self, delta: Option<Box<Delta>>, row: Option<Bytes>) {
        let Some(row) = row else { return self.phase = Phase::Deny };
        let Ok(row) = AccessRow::decode(&row) else { return self.end(damaged()) };
        match delta {
            // What was read before this grant may need an older one: it is read again.
            _ if self.grant != Some(row.grant) => self.phase = Phase::Fetch(row.grant),
            Some(delta) => self.on_allowed(delta),
            None => self.phase = Phase::Look,
        }
    }

    /// [P-17] Who lost access gets nothing more, also nothing that was read before.
    fn on_doubted_row(&mut self, has_access: bool) {
        self.doubt = Doubt::None;
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        if !has_access {
            self.drop_all(Phase::Deny);
        } else if self.announced.rank < self.replaced {
            self.leave_branch();
        }
    }

    /// [P-10] Nothing that was read of a branch leaves once another one stands. Who heard nothing of it yet reads from where it began.
    fn leave_branch(&mut self) {
        if self.announced.rank.number > HeadNumber::ZERO {
            return self.drop_all(Phase::Left);
        }
        // The grant may have been among what is dropped: twice is no harm.
        self.grant = None;
        self.drop_all(Phase::Check(None));
    }

    fn drop_all(&mut self, phase: Phase) {
        self.out.clear();
        self.pulse = None;
        self.phase = phase;
    }

    fn on_grant(&mut self, hash: ContentHash, grant: Option<Bytes>) {
        // The row named another grant by now: read it again.
        let Some(grant) = grant else { return self.again(Phase::Check(None)) };
        self.grant = Some(hash);
        self.out.push_back(Reply::Grant(grant));
        self.phase = Phase::Look;
    }

    fn on_read(&mut self, delta: Result<Delta, tidings_core::DecodeError>) {
        match delta {
            Ok(delta) => self.phase = Phase::Check(Some(Box::new(delta))),
            Err(_) => self.end(damaged()),
        }
    }

    fn on_allowed(&mut self, delta: Box<Delta>) {
        let rank = delta.head.rank();
        if rank == self.announced.rank {
            return self.deliver(*delta);
        }
        if rank < self.announced.rank {
            return self.end(Refusal::new(RefusalCode::Unavailable, "the store is behind a head that it showed before"));
        }
        match Descent::of(&delta.head, self.base) {
            Some(descent @ Descent::Proof(_)) => self.phase = Phase::Prove(delta, descent),
            Some(descent) => self.announce(delta, &descent, &[]),
            None => self.end(damaged()),
        }
    }

    fn on_history(&mut self, delta: Box<Delta>, descent: &Descent, hashes: Vec<Option<[u8; 32]>>) {
        match hashes.into_iter().collect::<Option<Vec<_>>>() {
            Some(hashes) => self.announce(delta, descent, &hashes),
            None => self.again(Phase::Look),
        }
    }

    fn announce(&mut self, delta: Box<Delta>, descent: &Descent, hashes: &[[u8; 32]]) {
        let Some(announce) = descent.announce(&delta.head, self.base, hashes) else { return self.again(Phase::Look) };
        // Announcements form a chain: whoever was told of a head that is not in this history is told that before anything else.
        if self.announced.rank.number > HeadNumber::ZERO && announce.leaf != self.announced.head.bytes()[..] {
            return self.drop_all(Phase::Left);
        }
        self.out.push_back(Reply::Announce(announce));
        self.announced = delta.head.cursor();
        self.base = self.announced.rank.number;
        self.deliver(*delta);
    }

    fn deliver(&mut self, delta: Delta) {
        self.repeats = 0;
        self.bitmap_asked &= !delta.has_bitmap();
        self.position = delta.position_after(self.position);
        self.phase = if delta.complete() { Phase::Idle } else { Phase::Look };
        self.out.extend(delta.frames());
    }

    fn on_denial(&mut self, denial: Denial) {
        match denial {
            Denial::UnknownQueue => self.end(unknown_queue()),
            Denial::Removed { head, rows } => self.on_removed(head, rows),
            Denial::Stranger => self.end(Refusal::new(RefusalCode::Denied, NO_ROW)),
            Denial::Granted => self.again(Phase::Check(None)),
        }
    }

    /// [P-17] The refusal of a former reader carries the head and the rows that justify it: all, since the head commits to the set.
    fn on_removed(&mut self, head: Bytes, rows: Vec<Bytes>) {
        let Ok(signed) = SignedHead::parse(head.clone()) else { return self.end(damaged()) };
        let mut list = SetHash::new(SetKind::Access);
        rows.iter().for_each(|row| list.add(row));
        let listed = rows.iter().any(|row| AccessRow::decode(row).is_ok_and(|row| row.pseudonym == self.reader));
        if listed || list.root() != signed.head().access_root {
            // Read between two heads, or granted again meanwhile.
            return self.again(Phase::Check(None));
        }
        let mut refusal = Refusal::new(RefusalCode::Denied, NO_ROW).at_head(head);
        refusal.rows = rows;
        self.end(refusal);
    }

    /// The store moved on between two reads. Honest stores do so now and then, damaged ones for ever.
    fn again(&mut self, phase: Phase) {
        self.repeats += 1;
        if self.repeats > REPEATS_MAX { self.end(damaged()) } else { self.phase = phase }
    }

    fn end(&mut self, refusal: Refusal) {
        self.out.push_back(Reply::Refused(refusal));
        self.phase = Phase::Ended;
    }
}

fn damaged() -> Refusal {
    Refusal::new(RefusalCode::Damaged, "what is stored of this queue contradicts itself")
}

fn unknown_queue() -> Refusal {
    Refusal::new(RefusalCode::UnknownQueue, "no such queue here")
}

#[cfg(test)]
mod tests;
