//! The step that a whole transfer is: judged against the queue, then one append. [P-10]

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use tidings_core::{Cursor, Frontier, Head, Object, QueueState as State, SetHash, SetKind, SignedHead};
use tidings_proto::{Birth, ContentHash, HeadHash, Offset, Pseudonym, QueueId, Refusal, RefusalCode, Term, Timestamp};

use super::{LastPart, TransferCheck, Way, invalid};
use crate::engine::access::named;
use crate::engine::lookup::Found;
use crate::engine::queue::{QueueState, Standing};
use crate::store::{Append, LiveRow};

/// A transfer that was found to be what its head signs, and the queue after it.
#[derive(Clone, Debug)]
pub struct Adoption {
    before: Cursor,
    state: QueueState,
    append: Box<Append>,
}

impl Adoption {
    /// The queue it is for.
    pub fn queue(&self) -> QueueId {
        self.append.queue
    }

    /// Hash of the new head.
    pub fn head(&self) -> HeadHash {
        self.state.cursor().head
    }

    /// Bytes that its append weighs in a group.
    pub fn size(&self) -> usize {
        let rows = self.append.staged.len() + self.append.retired.len();
        rows * size_of::<LiveRow>() + self.append.attachments_put.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// Whether another branch stood and goes.
    pub fn replaces(&self) -> bool {
        self.append.replaces
    }

    /// The state to go on from and the append to make durable, if the queue still stands where this was judged.
    ///
    /// # Errors
    /// `Conflict` with the head that stands: another publish came in between. Nothing changed.
    pub fn at(mut self, standing: &QueueState, now: Timestamp) -> Result<(QueueState, Append), Refusal> {
        if standing.cursor() != self.before {
            let refusal = Refusal::new(RefusalCode::Conflict, "the queue moved on during the transfer; nothing changed");
            return Err(standing.head().map_or(refusal.clone(), |head| refusal.at_head(head.bytes().clone())));
        }
        self.state.hold_since(now);
        self.append.row.since = now;
        Ok((self.state, *self.append))
    }
}

/// The live set after the transfer, and what leaves it.
struct Live {
    set: SetHash,
    bytes: u64,
    retired: Vec<LiveRow>,
    ended: Vec<Birth>,
}

pub(super) fn judge(check: TransferCheck, last: LastPart, found: &Found) -> Result<Adoption, Refusal> {
    let head = last.head.head();
    check_descent(&check, head)?;
    check_entries(&check, head)?;
    let live = if check.way == Way::Anew { live_anew(&check, head)? } else { live_after(&check, head, found)? };
    check.check_quota(live.bytes)?;
    let before = named(found.access.values()).map_err(invalid)?;
    let after: HashSet<ContentHash> = last.rows.iter().flat_map(|(row, _)| [row.grant, row.owner_copy]).collect();
    let carried: HashSet<ContentHash> = check.attachments.keys().copied().collect();
    if !carried.is_subset(&after) || !after.iter().all(|hash| carried.contains(hash) || before.contains(hash)) {
        return Err(invalid("the attachments are not those that the access rows name"));
    }
    let mut gone: Vec<ContentHash> = before.difference(&after).copied().collect();
    gone.sort();
    Ok(step(check, last, live, found, gone))
}

/// The head that stands is in the history of the new one, which is of its term or a higher one; or the new one is of a higher term and
/// its history whole; or the queue is new here. [P-4] [P-10]
fn check_descent(check: &TransferCheck, head: &Head) -> Result<(), Refusal> {
    let standing = check.before.head().map(SignedHead::head);
    let trail = if check.way == Way::Anew { &check.anew } else { &check.onward };
    let follows = standing.is_none_or(|standing| follows_term(check.way, standing, head));
    if !trail.leads_to(head) || !follows {
        let detail =
            format!("the queue stands at head {}, which is not shown to be in this history of no lower term", check.before.cursor().rank);
        return Err(Refusal::new(RefusalCode::Conflict, detail));
    }
    let falls = |standing: &Head| head.floor < standing.floor || head.offset < standing.offset;
    if check.way == Way::Onward && standing.is_some_and(falls) {
        return Err(invalid("the floor or the newest offset falls"));
    }
    if head.floor > head.offset {
        return Err(invalid("the floor is above the newest offset"));
    }
    Ok(())
}

/// A branch is replaced, and a closed head left, only in a higher term. [P-7]
fn follows_term(way: Way, standing: &Head, head: &Head) -> bool {
    let same = standing.term == head.term && standing.writer == head.writer && standing.base == head.base;
    head.term > standing.term || (way == Way::Onward && same && standing.state == State::Open)
}

/// What can be said of the entries without the store: within the head, of its epochs, each of a record of its own.
fn check_entries(check: &TransferCheck, head: &Head) -> Result<(), Refusal> {
    if check.way == Way::Onward && check.covered != check.before.cursor().offset {
        return Err(invalid("the bitmap does not reach the head that stands"));
    }
    let lowest = if check.way == Way::Onward { check.before.cursor().rank.term } else { Term::default() };
    if check.terms.is_some_and(|(oldest, newest)| oldest < lowest || newest > head.term) {
        return Err(invalid("an entry is of a term below the standing head's or above the new one's"));
    }
    if check.rows.last().is_some_and(|row| row.offset > head.offset) {
        return Err(invalid("an entry is above the head"));
    }
    if !check.epochs.iter().all(|epoch| head.epochs.iter().any(|listed| listed.epoch == *epoch)) {
        return Err(invalid("an entry is of an epoch that the head does not name"));
    }
    let births: HashSet<Birth> = check.rows.iter().map(|row| row.birth).collect();
    if births.len() != check.rows.len() {
        return Err(invalid("a birth comes twice"));
    }
    // The entry at a birth's offset was that record's first one: no other record can have it.
    let stolen = |row: &LiveRow| row.birth.value() != row.offset.value() && births.contains(&Birth::new(row.offset.value()));
    if check.rows.iter().any(stolen) {
        return Err(invalid("a birth is the offset of another record's entry"));
    }
    Ok(())
}

/// From zero, the entries that came are all there are. [P-8]
fn live_anew(check: &TransferCheck, head: &Head) -> Result<Live, Refusal> {
    let mut set = SetHash::new(SetKind::Live);
    check.rows.iter().for_each(|row| set.add(row.digest.bytes()));
    if check.rows.len() as u64 != head.live_count || set.root() != head.live_root {
        return Err(invalid("the live set is not the one the head signs"));
    }
    Ok(Live { set, bytes: check.bytes, retired: Vec::new(), ended: Vec::new() })
}

/// [P-8] An own entry goes only because one of its birth came, or because its record was purged at or below the new floor.
fn live_after(check: &TransferCheck, head: &Head, found: &Found) -> Result<Live, Refusal> {
    let gone: Vec<LiveRow> = (&check.own - &check.kept)
        .iter()
        .map(|offset| found.offsets.get(&Offset::new(offset)).copied().ok_or_else(|| invalid("a retired offset is not live")))
        .collect::<Result<_, _>>()?;
    let newest = check.before.cursor().offset.value();
    let replaced: HashSet<Birth> = check.rows.iter().map(|row| row.birth).filter(|birth| birth.value() <= newest).collect();
    let lives_on = |birth: &Birth| found.births.get(birth).is_none_or(|row| check.kept.contains(row.offset.value()));
    if replaced.iter().any(lives_on) {
        return Err(invalid("a birth is that of no entry here, or of one that stays"));
    }
    let ended: Vec<&LiveRow> = gone.iter().filter(|row| !replaced.contains(&row.birth)).collect();
    if ended.iter().any(|row| row.offset > head.floor) {
        return Err(invalid("an entry above the floor is gone and nothing replaces it"));
    }
    let mut set = check.before.live.clone();
    gone.iter().for_each(|row| set.remove(row.digest.bytes()));
    check.rows.iter().for_each(|row| set.add(row.digest.bytes()));
    if check.kept.len() + check.rows.len() as u64 != head.live_count || set.root() != head.live_root {
        return Err(invalid("the live set is not the one the head signs"));
    }
    let weigh = |rows: &[LiveRow]| rows.iter().map(|row| u64::from(row.bytes)).sum::<u64>();
    let bytes = check.before.live_bytes.checked_sub(weigh(&gone)).and_then(|rest| rest.checked_add(weigh(&check.rows)));
    let ended = ended.iter().map(|row| row.birth).collect();
    Ok(Live { set, bytes: bytes.ok_or_else(|| invalid("more bytes retired than live"))?, retired: gone, ended })
}

fn step(check: TransferCheck, last: LastPart, live: Live, found: &Found, attachments_removed: Vec<ContentHash>) -> Adoption {
    let (before, expected) = (check.before.cursor(), check.before.head().map(SignedHead::hash));
    let replaces = check.way == Way::Anew;
    let mut frontier = if replaces { check.anew.frontier } else { check.onward.frontier };
    let mut history = if expected.is_none() || replaces { Frontier::start(&check.descriptor.id()).1 } else { Vec::new() };
    history.extend(frontier.append(last.head.hash().bytes()));
    let mut state = check.before;
    state.live = live.set;
    state.access = last.access;
    state.frontier = frontier;
    state.live_bytes = live.bytes;
    state.standing = Some(Standing { head: last.head, since: Timestamp::ZERO });
    let listed: BTreeSet<Pseudonym> = last.rows.iter().map(|(row, _)| row.pseudonym).collect();
    let changed = |(row, bytes): (_, Bytes)| {
        let row: tidings_core::AccessRow = row;
        (found.access.get(&row.pseudonym) != Some(&bytes)).then_some((row.pseudonym, bytes))
    };
    let append = Append {
        staged: check.rows,
        replaces,
        retired: live.retired,
        ended: live.ended,
        access_removed: found.access.keys().filter(|reader| !listed.contains(reader)).copied().collect(),
        access_put: last.rows.into_iter().filter_map(changed).collect(),
        attachments_put: check.attachments.into_iter().collect(),
        attachments_removed,
        ..state.append_of(expected, check.descriptor.encode().into(), history)
    };
    Adoption { before, state, append: Box::new(append) }
}
