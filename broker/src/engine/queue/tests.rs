use tidings_core::{Entry, WriterId};
use tidings_proto::frames::Publish;
use tidings_proto::{Birth, HeadHash, HeadNumber};

use super::*;
use crate::engine::lookup::Overlay;
use crate::engine::publish::check;
use crate::engine::test_owner::{Edit, Request, TestOwner, puts};
use crate::store::{MemoryStore, Store};

const ADMISSION: Admission = Admission { now: Timestamp::new(77), live_bytes_max: 0 };

/// A queue at its broker, with its owner.
struct Queue {
    owner: TestOwner,
    store: MemoryStore,
    state: QueueState,
}

impl Queue {
    fn new() -> Self {
        let owner = TestOwner::new(1);
        let state = QueueState::new(owner.queue());
        Self { owner, store: MemoryStore::new(), state }
    }

    /// A queue that took these publishes.
    fn with(requests: impl IntoIterator<Item = Request>) -> Self {
        let mut queue = Self::new();
        for request in requests {
            let publish = queue.owner.sign(request).publish();
            queue.take(publish).expect("a valid publish");
        }
        queue
    }

    fn judge(&mut self, publish: Publish, admission: Admission) -> Result<Applied, Refusal> {
        let checked = check(self.owner.descriptor(), publish).expect("what these tests vary passes the checks without a store");
        let found = Overlay::default().find(&self.store, &self.owner.queue(), &self.state.lookups(&checked)).expect("memory");
        self.state.apply(checked, &found, admission)
    }

    fn take(&mut self, publish: Publish) -> Result<Applied, Refusal> {
        let applied = self.judge(publish, ADMISSION)?;
        if let Applied::Append(append) = &applied {
            self.store.append(std::slice::from_ref(append)).expect("the append continues");
        }
        Ok(applied)
    }

    /// The refusal of a publish; sees that the state stayed as it was and that the refusal names it.
    fn refusal(&mut self, publish: Publish) -> Refusal {
        let before = self.state.row(Bytes::new());
        let refusal = self.judge(publish, ADMISSION).expect_err("a refusal");
        assert_eq!(self.state.row(Bytes::new()), before, "the state changed");
        assert_eq!(refusal.head, before.head);
        refusal
    }

    fn code(&mut self, publish: Publish) -> RefusalCode {
        self.refusal(publish).code
    }
}

fn deletes(names: &[u8], floor: Option<u64>) -> Request {
    Request { edits: names.iter().map(|name| Edit::Delete(*name)).collect(), floor, ..Request::default() }
}

fn without_entries(publish: &Publish) -> Publish {
    Publish { entries: Vec::new(), ..publish.clone() }
}

/// [P-7] What does not follow the stored head is a conflict that names it and says what helps.
#[test]
fn a_head_that_does_not_follow_is_a_conflict() {
    let mut queue = Queue::with([puts(&[1])]);
    let fork = queue.owner.put(&[2]);
    let standing = queue.owner.resign(&fork, |head| head.time = Timestamp::new(9_999));
    queue.take(standing).expect("one branch");
    let next = queue.owner.put(&[3]);
    let cases = [
        fork.clone(),
        next.clone(),
        queue.owner.resign(&fork, |head| head.number = HeadNumber::new(9)),
        queue.owner.resign(&fork, |head| head.previous = HeadHash::new([9; 32])),
    ];
    for (index, publish) in cases.into_iter().enumerate() {
        let refusal = queue.refusal(publish);
        assert_eq!(refusal.code, RefusalCode::Conflict, "case {index}");
        assert!(refusal.detail.contains("transfer") && !refusal.head.is_empty());
    }
}

#[test]
fn a_history_that_began_elsewhere_needs_a_transfer() {
    let mut queue = Queue::new();
    queue.owner.put(&[1]);
    let second = queue.owner.put(&[2]);
    assert_eq!(queue.code(second), RefusalCode::Conflict);
}

/// [P-4] [P-7] A higher term is taken on top of its base and nowhere else; a term has one writer and one base.
#[test]
fn a_term_stands_on_its_base() {
    let mut queue = Queue::with([puts(&[1])]);
    let base = queue.state.cursor();
    let next = without_entries(&queue.owner.sign(Request::default()).publish());
    let term = |base: Cursor, term: u64| {
        queue.owner.resign(&next, |head| (head.term, head.base, head.writer) = (Term::new(term), base, WriterId([5; 16])))
    };
    let (elsewhere, other_writer) = (term(Cursor::start(&queue.owner.queue()), 8), term(Cursor::start(&queue.owner.queue()), 1));
    let higher = term(base, 8);
    let other_base = Cursor { head: HeadHash::new([3; 32]), ..base };
    let claimed = queue.owner.resign(&next, |head| {
        (head.term, head.base, head.previous) = (Term::new(8), other_base, other_base.head);
    });
    for publish in [elsewhere, other_writer, claimed] {
        assert_eq!(queue.code(publish), RefusalCode::Conflict);
    }
    queue.take(higher).expect("a new term on the head that stands");
    assert_eq!(queue.state.term(), Term::new(8));
}

/// [P-7] All that the head says about the heads before it is checked.
#[test]
fn a_head_that_misstates_its_queue_is_invalid() {
    let mut queue = Queue::with([puts(&[1, 2]), Request { floor: Some(1), ..puts(&[2]) }]);
    let next = queue.owner.put(&[1, 4]);
    type Spoil = fn(&mut Head);
    let spoils: [Spoil; 6] = [
        |head| head.history_root = [1; 32],
        |head| head.floor = Offset::ZERO,
        |head| head.live_root = [1; 32],
        |head| head.live_count -= 1,
        |head| head.access_root = [1; 32],
        |head| head.access_count += 1,
    ];
    for (index, spoil) in spoils.into_iter().enumerate() {
        let publish = queue.owner.resign(&next, spoil);
        assert_eq!(queue.code(publish), RefusalCode::Invalid, "spoil {index}");
    }
    let gap = queue.owner.resign(&without_entries(&next), |_| {});
    assert_eq!(queue.code(gap), RefusalCode::Invalid);
    queue.take(next).expect("unspoilt it passes");
}

/// An entry replaces a live record or is a new one; a birth that is no live record's would keep what nobody can retire.
#[test]
fn a_birth_that_is_not_live_is_invalid() {
    let mut queue = Queue::with([puts(&[1]), puts(&[1])]);
    let next = queue.owner.put(&[1]);
    let mut entry = Entry::decode(&next.entries[0]).expect("an entry");
    entry.birth = Birth::new(2);
    let stray = Publish { entries: vec![entry.encode().into()], ..next };
    assert!(queue.refusal(stray).detail.contains("birth"));
}

/// [P-6] [P-8] Purged is what lives after replacing and stands above the old floor.
#[test]
fn only_what_lives_above_the_old_floor_is_purged() {
    let mut queue = Queue::with([puts(&[1, 2]), deletes(&[1], None), Request { floor: Some(1), ..Request::default() }]);
    let next = queue.owner.put(&[2]);
    let purging = |queue: &Queue, offsets: &[u64]| {
        let purged: Vec<_> = offsets.iter().map(|offset| Offset::new(*offset)).collect();
        let head = queue.owner.resign(&next, |head| (head.floor, head.purged) = (Offset::new(3), Head::purged_hash(&purged)));
        Publish { purged, ..head }
    };
    // 1 was replaced before and is below the floor, 2 is replaced by this very publish.
    for (offsets, reason) in [(&[1_u64][..], "had passed"), (&[2], "not live"), (&[2, 3], "not live")] {
        let publish = purging(&queue, offsets);
        let refusal = queue.refusal(publish);
        assert!(refusal.detail.contains(reason), "{offsets:?}: {}", refusal.detail);
    }
    let unsigned = purging(&queue, &[3]);
    assert!(queue.refusal(unsigned).detail.contains("live set"));
}

#[test]
fn a_purge_ends_the_birth() {
    let mut queue = Queue::with([puts(&[1, 2]), deletes(&[1], None)]);
    let purge = queue.owner.sign(Request { floor: Some(3), ..Request::default() }).publish();
    let Applied::Append(append) = queue.take(purge).expect("a purge") else { panic!("a new head") };
    assert_eq!((append.ended, append.retired.len()), (vec![Birth::new(1)], 1));
}

/// [P-17] A row without its grant would leave a reader without keys; an attachment without a row would stay for ever.
#[test]
fn access_rows_come_with_exactly_their_attachments() {
    let mut queue = Queue::with([puts(&[1])]);
    let next = queue.owner.sign(Request { add: vec![7], ..puts(&[1]) }).publish();
    let mut lacking = next.clone();
    lacking.attachments.pop();
    assert!(queue.refusal(lacking).detail.contains("not here"));
    let mut beside = next.clone();
    beside.attachments.push(Bytes::from_static(b"nobody names this"));
    assert!(queue.refusal(beside).detail.contains("named by no"));
    let stranger = Publish { access_removed: vec![tidings_proto::Pseudonym::new([3; 32])], ..next.clone() };
    assert!(queue.refusal(stranger).detail.contains("not there"));
    queue.take(next).expect("whole it passes");
}

#[test]
fn an_attachment_goes_with_the_last_row_that_names_it() {
    let mut queue = Queue::with([puts(&[1]), Request { add: vec![7, 8], ..Request::default() }]);
    let gone = queue.owner.readers()[0];
    let revoke = queue.owner.sign(Request { remove: vec![gone], ..Request::default() }).publish();
    let Applied::Append(append) = queue.take(revoke).expect("a revocation") else { panic!("a new head") };
    // Grant and copy of the reader that went, old grants of the reader and the owner that stay.
    assert_eq!((append.attachments_removed.len(), append.attachments_put.len()), (4, 2));
    let named = named_attachments(&queue);
    assert!(append.attachments_removed.iter().all(|hash| !named.contains(hash)));
    assert!(named.iter().all(|hash| queue.store.attachment(&queue.owner.queue(), hash).expect("memory").is_some()));
}

fn named_attachments(queue: &Queue) -> Vec<tidings_proto::ContentHash> {
    let rows = queue.store.access_list(&queue.owner.queue()).expect("memory");
    let row = |bytes: &Bytes| tidings_core::access::AccessRow::decode(bytes).expect("a row");
    rows.iter().map(|(_, bytes)| row(bytes)).flat_map(|row| [row.grant, row.owner_copy]).collect()
}

#[test]
fn a_closed_queue_takes_nothing_more() {
    let mut queue = Queue::with([puts(&[1])]);
    let open = queue.owner.sign(Request::default()).publish();
    let close = queue.owner.resign(&open, |head| head.state = tidings_core::QueueState::Closed);
    queue.take(close.clone()).expect("the last head");
    let next = queue.owner.put(&[2]);
    assert!(queue.refusal(next).detail.contains("closed"));
    assert!(matches!(queue.take(close), Ok(Applied::AlreadyStands(_))));
}

/// [P-7] A full queue can always shrink or stay as it is: the owner is not locked out of its own cleaning up.
#[test]
fn quota_refuses_only_what_raises_live_bytes() {
    let mut queue = Queue::with([puts(&[1, 2]), deletes(&[2], None)]);
    let full = Admission { live_bytes_max: 1, ..ADMISSION };
    let same = queue.owner.put(&[1]);
    queue.judge(same, full).expect("as large as before");
    let more = queue.owner.put(&[9]);
    assert_eq!(queue.judge(more, full).expect_err("a refusal").code, RefusalCode::Quota);
}

/// [P-7] The same bytes get the same answer, and the store is asked whether it would still give it.
#[test]
fn repeating_the_newest_publish_changes_nothing() {
    let mut queue = Queue::with([puts(&[1]), puts(&[2])]);
    let publish = queue.owner.put(&[3]);
    queue.take(publish.clone()).expect("the first time");
    let (receipt, row) = (queue.state.receipt(), queue.state.row(Bytes::new()));
    let later = Admission { now: Timestamp::new(99), ..ADMISSION };
    let Ok(Applied::AlreadyStands(append)) = queue.judge(publish, later) else { panic!("it stands") };
    assert_eq!((queue.state.receipt(), queue.state.row(Bytes::new())), (receipt, row));
    queue.store.append(std::slice::from_ref(&append)).expect("the store confirms");
}

#[test]
fn a_state_loaded_from_its_row_is_the_same() {
    let queue = Queue::with([puts(&[1]), Request { add: vec![7], ..puts(&[2]) }]);
    let row = queue.store.queue(&queue.owner.queue()).expect("memory").expect("a queue");
    let loaded = QueueState::load(queue.owner.queue(), Some(row)).expect("an intact row");
    assert_eq!(loaded.row(Bytes::new()), queue.state.row(Bytes::new()));
}

#[test]
fn a_row_that_contradicts_its_head_is_damaged() {
    let queue = Queue::with([puts(&[1])]);
    let row = queue.store.queue(&queue.owner.queue()).expect("memory").expect("a queue");
    let mut damaged = row.clone();
    damaged.live[7] ^= 1;
    let other_queue = tidings_proto::QueueId::new([1; 32]);
    for (id, row) in [(queue.owner.queue(), damaged), (other_queue, row)] {
        let error = QueueState::load(id, Some(row)).expect_err("damage");
        assert!(matches!(error, StoreError::Damaged { queue: Some(queue), .. } if queue == id));
    }
}
