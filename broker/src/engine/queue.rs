//! What a publish is judged against, and what it does to a queue. [P-7]

use bytes::Bytes;
use tidings_core::history::NodeIndex;
use tidings_core::{Cursor, Frontier, Head, Object, Receipt, SetHash, SetKind, SignedHead};
use tidings_proto::{Offset, QueueId, Refusal, RefusalCode, Term, Timestamp};

use super::access::{AccessChange, change_access};
use super::lookup::{Found, Lookups};
use super::publish::Checked;
use super::retire::{LiveChange, change_live};
use crate::store::{Append, QueueRow, StoreError};

/// The head a queue stands at and what the next one is computed from. About 5 KiB; follows from its [`QueueRow`] alone.
#[derive(Clone, Debug)]
pub struct QueueState {
    queue: QueueId,
    pub(super) standing: Option<Standing>,
    pub(super) live: SetHash,
    pub(super) access: SetHash,
    pub(super) frontier: Frontier,
    pub(super) live_bytes: u64,
}

/// What the broker decides by beside the owner's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// This broker's clock; becomes the receipt's `since`.
    pub now: Timestamp,
    /// Live bytes one queue may hold; 0 is no limit.
    pub live_bytes_max: u64,
}

/// What to give to the store for a publish that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The queue stands at a new head once the store has this.
    Append(Box<Append>),
    /// The publish is the newest one again. The store confirms by this that it has it durably; it changes nothing.
    AlreadyStands(Box<Append>),
}

#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) head: SignedHead,
    pub(super) since: Timestamp,
}

impl QueueState {
    /// The state that `row` describes; of a queue that is new here if there is none.
    ///
    /// # Errors
    /// `Damaged` if the row does not parse or contradicts itself.
    pub fn load(queue: QueueId, row: Option<QueueRow>) -> Result<Self, StoreError> {
        match row {
            Some(row) => Self::decode(queue, &row).map_err(|detail| StoreError::Damaged { queue: Some(queue), detail }),
            None => Ok(Self::new(queue)),
        }
    }

    /// The signed head it stands at.
    pub fn head(&self) -> Option<&SignedHead> {
        self.standing.as_ref().map(|standing| &standing.head)
    }

    /// The queue.
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// Where it stands; the start if it is new.
    pub fn cursor(&self) -> Cursor {
        self.head().map_or_else(|| Cursor::start(&self.queue), SignedHead::cursor)
    }

    /// What the broker can sign for the head it stands at; `None` if it is new.
    pub fn receipt(&self) -> Option<Receipt> {
        self.standing.as_ref().map(|Standing { head, since }| Receipt {
            queue: self.queue,
            rank: head.rank(),
            head: head.hash(),
            since: *since,
        })
    }

    /// What of the store has to be known to judge `checked`.
    pub fn lookups(&self, checked: &Checked) -> Lookups {
        if self.repeats(checked) || self.admits_next(checked).is_err() { Lookups::default() } else { Lookups::of(checked) }
    }

    /// Judges a publish and takes the step. `found` answers [`QueueState::lookups`] at this very state.
    ///
    /// On success the state is the one *after* the append, which the caller makes durable before anybody hears of it; if that
    /// fails, the caller drops the state.
    ///
    /// # Errors
    /// `Conflict`, `Invalid` or `Quota`, with the head the queue stands at. The state is unchanged.
    pub fn apply(&mut self, checked: Checked, found: &Found, admission: Admission) -> Result<Applied, Refusal> {
        // [P-7] Repeating the newest publish gives the same answer.
        if self.repeats(&checked) {
            return Ok(Applied::AlreadyStands(Box::new(self.confirmation(checked.descriptor))));
        }
        self.step(checked, found, admission).map_err(|refusal| match self.head() {
            Some(head) => refusal.at_head(head.bytes().clone()),
            None => refusal,
        })
    }

    fn step(&mut self, checked: Checked, found: &Found, admission: Admission) -> Result<Applied, Refusal> {
        self.admits_next(&checked)?;
        let head = checked.head.head();
        let live = change_live(&checked, found, self.floor(), self.live.clone(), self.live_bytes).map_err(invalid)?;
        self.check_live(head, &checked, &live)?;
        let access = self.check_access(head, &checked, found)?;
        self.check_quota(&live, admission)?;
        Ok(Applied::Append(Box::new(self.advance(checked, live, access, admission.now))))
    }

    fn repeats(&self, checked: &Checked) -> bool {
        self.head().is_some_and(|head| head.hash() == checked.head.hash())
    }

    /// Whether the head is the next one: all that is decided by heads alone, without the store.
    fn admits_next(&self, checked: &Checked) -> Result<(), Refusal> {
        let (cursor, head) = (self.cursor(), checked.head.head());
        if self.is_closed() && head.term <= self.term() {
            return Err(invalid("the queue is closed"));
        }
        if cursor.rank.number.next() != Some(head.number) || head.previous != cursor.head || !self.continues_term(head) {
            return Err(conflict(&cursor));
        }
        if checked.previous_offset() != cursor.offset {
            return Err(invalid("the entries do not follow the offset of the head before"));
        }
        if head.history_root != self.frontier.root() {
            return Err(invalid("the history root is not that of the heads before"));
        }
        if head.floor < self.floor() {
            return Err(invalid("the floor falls"));
        }
        Ok(())
    }

    /// The same term with the same writer and base, or a higher one whose base is the head that stands: anything else this
    /// broker cannot check from what it holds. [P-7]
    fn continues_term(&self, head: &Head) -> bool {
        match self.head().map(SignedHead::head) {
            Some(standing) if standing.term == head.term => standing.base == head.base && standing.writer == head.writer,
            _ => head.term > self.term() && head.base == self.cursor(),
        }
    }

    /// [P-7] The own set hash, after replacing and purging, equals the signed one.
    fn check_live(&self, head: &Head, checked: &Checked, change: &LiveChange) -> Result<(), Refusal> {
        let before = self.head().map_or(0, |head| head.head().live_count);
        let count = (before + checked.entries.len() as u64).checked_sub(change.retired.len() as u64);
        if count != Some(head.live_count) || change.live.root() != head.live_root {
            return Err(invalid("the live set is not the one the head signs"));
        }
        Ok(())
    }

    fn check_access(&self, head: &Head, checked: &Checked, found: &Found) -> Result<AccessChange, Refusal> {
        let change = if checked.touches_access() {
            change_access(checked, found, self.access.clone()).map_err(invalid)?
        } else {
            let rows = self.head().map_or(0, |head| head.head().access_count as usize);
            AccessChange { access: self.access.clone(), rows, attachments_removed: Vec::new() }
        };
        if change.rows != head.access_count as usize || change.access.root() != head.access_root {
            return Err(invalid("the access list is not the one the head signs"));
        }
        Ok(change)
    }

    /// [P-7] A publish that does not raise live bytes is never refused for quota.
    fn check_quota(&self, change: &LiveChange, admission: Admission) -> Result<(), Refusal> {
        let max = admission.live_bytes_max;
        if max != 0 && change.live_bytes > max && change.live_bytes > self.live_bytes {
            let detail = format!("the queue would hold {} live bytes; {max} are granted", change.live_bytes);
            return Err(Refusal::new(RefusalCode::Quota, detail));
        }
        Ok(())
    }

    fn advance(&mut self, checked: Checked, live: LiveChange, access: AccessChange, now: Timestamp) -> Append {
        let expected = self.head().map(SignedHead::hash);
        let mut history = if expected.is_none() { Frontier::start(&self.queue).1 } else { Vec::new() };
        history.extend(self.frontier.append(checked.head.hash().bytes()));
        self.live = live.live;
        self.live_bytes = live.live_bytes;
        self.access = access.access;
        self.standing = Some(Standing { head: checked.head, since: now });
        Append {
            entries: checked.entries,
            retired: live.retired,
            ended: live.ended,
            access_put: checked.access_put.into_iter().map(|(row, bytes)| (row.pseudonym, bytes)).collect(),
            access_removed: checked.access_removed,
            attachments_put: checked.attachments,
            attachments_removed: access.attachments_removed,
            ..self.append_of(expected, checked.descriptor, history)
        }
    }

    /// The append of the head that stands, without what it changed: the store finds the head standing and only says whether
    /// it would still acknowledge it.
    fn confirmation(&self, descriptor: Bytes) -> Append {
        let first = self.cursor().rank.number.value() == 1;
        let expected = self.head().filter(|_| !first).map(|head| head.head().previous);
        self.append_of(expected, descriptor, Vec::new())
    }

    pub(super) fn append_of(
        &self,
        expected: Option<tidings_proto::HeadHash>,
        descriptor: Bytes,
        history: Vec<(NodeIndex, [u8; 32])>,
    ) -> Append {
        Append {
            queue: self.queue,
            expected,
            row: self.row(descriptor),
            entries: Vec::new(),
            staged: Vec::new(),
            replaces: false,
            retired: Vec::new(),
            ended: Vec::new(),
            history,
            access_put: Vec::new(),
            access_removed: Vec::new(),
            attachments_put: Vec::new(),
            attachments_removed: Vec::new(),
        }
    }

    fn row(&self, descriptor: Bytes) -> QueueRow {
        QueueRow {
            descriptor,
            head: self.head().map(|head| head.bytes().clone()).unwrap_or_default(),
            live: Box::new(self.live.state()),
            access: Box::new(self.access.state()),
            frontier: self.frontier.encode().into(),
            live_bytes: self.live_bytes,
            since: self.standing.as_ref().map_or(Timestamp::ZERO, |standing| standing.since),
        }
    }

    /// The head that stands is held from this moment on.
    pub(super) fn hold_since(&mut self, now: Timestamp) {
        if let Some(standing) = &mut self.standing {
            standing.since = now;
        }
    }

    fn floor(&self) -> Offset {
        self.head().map_or(Offset::ZERO, |head| head.head().floor)
    }

    /// Behind a closed head nothing continues but a higher term. [P-7]
    fn is_closed(&self) -> bool {
        self.head().is_some_and(|head| head.head().state == tidings_core::QueueState::Closed)
    }

    fn term(&self) -> Term {
        self.cursor().rank.term
    }

    fn new(queue: QueueId) -> Self {
        Self {
            queue,
            standing: None,
            live: SetHash::new(SetKind::Live),
            access: SetHash::new(SetKind::Access),
            frontier: Frontier::start(&queue).0,
            live_bytes: 0,
        }
    }

    fn decode(queue: QueueId, row: &QueueRow) -> Result<Self, String> {
        let head = SignedHead::parse(row.head.clone()).map_err(|error| format!("head: {error}"))?;
        let frontier = Frontier::decode(&row.frontier).map_err(|error| format!("frontier: {error}"))?;
        let state = Self {
            queue,
            live: SetHash::from_state(SetKind::Live, &row.live),
            access: SetHash::from_state(SetKind::Access, &row.access),
            frontier,
            live_bytes: row.live_bytes,
            standing: Some(Standing { head, since: row.since }),
        };
        state.agrees().then_some(state).ok_or_else(|| "the head and the sets beside it contradict each other".to_owned())
    }

    /// A row that was written whole agrees with the head that its owner signed.
    fn agrees(&self) -> bool {
        self.head().map(SignedHead::head).is_some_and(|head| {
            head.queue == self.queue
                && head.live_root == self.live.root()
                && head.access_root == self.access.root()
                && head.number.value().checked_add(1) == Some(self.frontier.leaves())
        })
    }
}

fn conflict(cursor: &Cursor) -> Refusal {
    let detail = format!("the queue stands at head {}; publish what follows it, or send a transfer", cursor.rank);
    Refusal::new(RefusalCode::Conflict, detail)
}

fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(RefusalCode::Invalid, detail)
}

#[cfg(test)]
mod tests;
