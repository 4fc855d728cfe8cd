mod terms;

use std::collections::BTreeMap;

use tidings_core::{Head, Object, SetHash, SetKind};
use tidings_proto::frames::Publish;
use tidings_proto::{Birth, Timestamp};

use super::*;
use crate::commit::{CommitQueue, CommitSettings, Work};
use crate::engine::test_branch;
use crate::engine::test_owner::{Edit, Request, TestOwner, puts};
use crate::engine::{Receipted, check};
use crate::store::{MemoryStore, ScanLimit};

const NOW: Timestamp = Timestamp::new(77);
const ALL: ScanLimit = ScanLimit { entries: usize::MAX, bytes: usize::MAX };

/// An owner with all it ever published, and a broker that took the first of it.
struct World {
    owner: TestOwner,
    publishes: Vec<Publish>,
    store: MemoryStore,
    commits: CommitQueue,
}

impl World {
    /// The broker has the first `taken` of these publishes.
    fn new(requests: Vec<Request>, taken: usize) -> Self {
        let mut owner = TestOwner::new(1);
        let publishes: Vec<Publish> = requests.into_iter().map(|request| owner.sign(request).publish()).collect();
        let (store, commits) = (MemoryStore::new(), CommitQueue::new(CommitSettings::default()));
        let mut world = Self { owner, publishes, store, commits };
        for number in 0..taken {
            world.publish(number).expect("the next publish");
        }
        world
    }

    /// Puts, replaces, deletes, purges, grants and revokes; every prefix of it stands for another old broker.
    fn busy(taken: usize) -> Self {
        let mut requests = vec![puts(&[1, 2, 3, 4]), Request { add: vec![200, 201], ..puts(&[2]) }, puts(&[5, 6])];
        requests.push(Request { edits: vec![Edit::Delete(1), Edit::Put(7)], ..Request::default() });
        requests.push(puts(&[3]));
        requests.push(Request { floor: Some(9), ..puts(&[8, 9]) });
        requests.push(Request { rotate: true, ..puts(&[1]) });
        requests.push(puts(&[2, 9]));
        Self::new(requests, taken)
    }

    fn publish(&mut self, number: usize) -> Result<Receipted, Refusal> {
        let checked = check(self.owner.descriptor(), self.publishes[number].clone()).expect("a valid publish");
        self.commits.commit_group(&self.store, NOW, vec![checked]).remove(0)
    }

    fn head(&self, number: usize) -> SignedHead {
        SignedHead::parse(self.publishes[number - 1].head.clone()).expect("an own head")
    }

    fn begin(&self) -> TransferCheck {
        TransferCheck::open(self.owner.descriptor().clone(), &self.store, 0).expect("it can begin")
    }

    /// Live entries, access rows and attachments after all publishes.
    fn entries(&self) -> BTreeMap<Offset, Bytes> {
        test_branch::live(&self.publishes)
    }

    fn access(&self) -> (Vec<Bytes>, Vec<Bytes>) {
        test_branch::access(&self.publishes)
    }

    /// The whole way from the broker's head to the newest, in one part.
    fn whole(&self) -> Transfer {
        let standing = self.begin().before.cursor();
        let hashes = self.publishes.iter().map(|publish| SignedHead::parse(publish.head.clone()).expect("an own head").hash());
        let newest = self.publishes.len();
        let entries = self.entries();
        let kept: RoaringTreemap = entries.keys().filter(|offset| **offset <= standing.offset).map(|offset| offset.value()).collect();
        let (rows, attachments) = self.access();
        let history = hashes.take(newest - 1).skip(standing.rank.number.value() as usize);
        Transfer {
            history: history.map(|hash| *hash.bytes()).collect(),
            after: Offset::ZERO,
            through: standing.offset,
            live: if standing.offset == Offset::ZERO { Bytes::new() } else { serialized(&kept) },
            entries: entries.range(Offset::new(standing.offset.value() + 1)..).map(|(_, bytes)| bytes.clone()).collect(),
            attachments,
            head: self.publishes[newest - 1].head.clone(),
            rows,
        }
    }

    /// Takes the parts as a server does, and commits.
    fn transfer(&mut self, parts: Vec<Transfer>) -> Result<Receipted, Refusal> {
        let adoption = self.judge(parts)?;
        self.commits.commit_group(&self.store, NOW, vec![Work::from(adoption)]).remove(0)
    }

    fn judge(&self, parts: Vec<Transfer>) -> Result<Adoption, Refusal> {
        test_branch::judge(&self.store, self.owner.descriptor(), &parts)
    }

    /// The refusal of what `change` makes of an honest transfer. The broker stands where it stood.
    fn code(&mut self, change: impl FnOnce(&mut Transfer)) -> RefusalCode {
        let mut part = self.whole();
        change(&mut part);
        let before = self.store.queue(&self.owner.queue()).expect("memory");
        let refusal = self.transfer(vec![part]).expect_err("a refusal");
        assert_eq!(self.store.queue(&self.owner.queue()).expect("memory"), before);
        refusal.code
    }

    /// The broker's whole state as readers can see it, and the states of the sets beside it.
    fn seen(&self) -> String {
        let queue = self.owner.queue();
        let row = self.store.queue(&queue).expect("memory").expect("it stands");
        let scan = self.store.scan(&queue, Offset::ZERO, ALL).expect("memory");
        let rows: Vec<_> = (1..40).map(Birth::new).collect();
        let births = self.store.live_of(&queue, &rows).expect("memory");
        let nodes: Vec<_> = (0..row_leaves(&row.frontier)).map(NodeIndex::leaf).collect();
        let history = self.store.history(&queue, &nodes).expect("memory");
        let access = self.store.access_list(&queue).expect("memory");
        let attachments: Vec<_> = self.access().1.iter().map(|bytes| self.store.attachment(&queue, &attachment_hash(bytes))).collect();
        format!("{row:?} {scan:?} {births:?} {history:?} {access:?} {attachments:?}")
    }
}

fn row_leaves(frontier: &Bytes) -> u64 {
    Frontier::decode(frontier).expect("a frontier").leaves()
}

fn serialized(live: &RoaringTreemap) -> Bytes {
    let mut bytes = Vec::new();
    live.serialize_into(&mut bytes).expect("memory");
    bytes.into()
}

/// [P-10] Wherever it stood, empty or at any older head: after one step it is what a broker is that took every publish.
#[test]
fn a_broker_at_any_older_head_becomes_the_same_as_one_that_took_every_publish() {
    let complete = World::busy(8).seen();
    for taken in 0..8 {
        let mut world = World::busy(taken);
        let receipted = world.transfer(vec![world.whole()]).expect("an honest transfer");
        assert_eq!(receipted.receipt.head, world.head(8).hash());
        assert_eq!(receipted.committed.frames(), None, "readers read what they lack");
        assert_eq!(world.seen(), complete, "from head {taken}");
    }
}

/// [P-10] What follows the transfer is an ordinary publish.
#[test]
fn publishes_go_on_after_a_transfer() {
    let mut world = World::busy(3);
    world.transfer(vec![world.whole()]).expect("an honest transfer");
    let next = world.owner.put(&[1, 77]);
    world.publishes.push(next);
    world.publish(8).expect("it follows");
    let mut live = SetHash::new(SetKind::Live);
    let scan = world.store.scan(&world.owner.queue(), Offset::ZERO, ALL).expect("memory").expect("it stands");
    scan.entries.iter().for_each(|(_, bytes)| live.add(Entry::digest_of(bytes, &world.owner.queue()).bytes()));
    assert_eq!(live.root(), world.owner.live_root());
}

/// [P-10] However it is cut into parts.
#[test]
fn a_transfer_in_many_parts_is_the_transfer_in_one() {
    let (mut one, mut many) = (World::busy(4), World::busy(4));
    let whole = many.whole();
    let mut parts: Vec<Transfer> = whole.history.iter().map(|hash| Transfer { history: vec![*hash], ..Transfer::default() }).collect();
    let live = RoaringTreemap::deserialize_from(whole.live.as_ref()).expect("own bytes");
    parts.extend((1..=whole.through.value()).map(|offset| Transfer {
        after: Offset::new(offset - 1),
        through: Offset::new(offset),
        live: serialized(&live.iter().filter(|live| *live == offset).collect()),
        ..Transfer::default()
    }));
    parts.extend(whole.entries.iter().map(|entry| Transfer { entries: vec![entry.clone()], ..Transfer::default() }));
    parts.extend(whole.attachments.iter().map(|bytes| Transfer { attachments: vec![bytes.clone()], ..Transfer::default() }));
    parts.push(Transfer { head: whole.head.clone(), rows: whole.rows.clone(), ..Transfer::default() });
    many.transfer(parts).expect("an honest transfer");
    one.transfer(vec![one.whole()]).expect("an honest transfer");
    assert_eq!(many.seen(), one.seen());
}

/// [P-10] A head that is not shown to lead from the one that stands is a conflict that names it.
#[test]
fn a_history_that_does_not_lead_from_the_standing_head_is_a_conflict() {
    let mut world = World::busy(3);
    assert_eq!(world.code(|part| part.history[0][0] ^= 1), RefusalCode::Conflict);
    assert_eq!(world.code(|part| part.history.truncate(1)), RefusalCode::Conflict);
    assert_eq!(world.code(|part| part.history.push([7; 32])), RefusalCode::Conflict);
    let mut fork = World::new(vec![puts(&[9]), puts(&[8])], 2);
    fork.publishes = World::busy(0).publishes;
    let refusal = fork.transfer(vec![fork.whole()]).expect_err("another branch stands here");
    assert_eq!(
        (refusal.code, refusal.head),
        (RefusalCode::Conflict, fork.store.queue(&fork.owner.queue()).expect("memory").expect("it").head)
    );
}

/// [P-7] [P-8] [P-10] The set after the step is the one that the head signs, and nothing else goes or comes.
#[test]
fn a_live_set_that_is_not_the_signed_one_is_refused() {
    let mut world = World::busy(3);
    let live = |part: &Transfer| RoaringTreemap::deserialize_from(part.live.as_ref()).expect("own bytes");
    assert_eq!(world.code(|part| drop(part.entries.pop())), RefusalCode::Invalid);
    let dropped = |part: &mut Transfer| part.live = serialized(&live(part).iter().skip(1).collect());
    assert_eq!(world.code(dropped), RefusalCode::Invalid);
    let revived = |part: &mut Transfer| part.live = serialized(&(1..=part.through.value()).collect());
    assert_eq!(world.code(revived), RefusalCode::Invalid);
    let bytes = |part: &mut Transfer| {
        let mut entry = part.entries[0].to_vec();
        *entry.last_mut().expect("not empty") ^= 1;
        part.entries[0] = entry.into();
    };
    assert_eq!(world.code(bytes), RefusalCode::Invalid);
}

/// [P-2] Offsets ascend above the standing head; a birth is the own offset, or that of an entry that goes.
#[test]
fn entries_that_cannot_be_of_this_queue_are_refused() {
    let mut world = World::busy(3);
    assert_eq!(world.code(|part| part.entries.swap(0, 1)), RefusalCode::Invalid);
    let low = world.publishes[0].entries[0].clone();
    assert_eq!(world.code(|part| part.entries.insert(0, low)), RefusalCode::Invalid);
    for birth in [u64::MAX, 0, 4] {
        let forged = |part: &mut Transfer| {
            let mut entry = Entry::decode(&part.entries[0]).expect("an own entry");
            entry.birth = Birth::new(birth);
            part.entries[0] = entry.encode().into();
        };
        assert!(matches!(world.code(forged), RefusalCode::Invalid | RefusalCode::Malformed), "birth {birth}");
    }
}

#[test]
fn a_bitmap_with_gaps_or_above_the_head_is_refused() {
    let mut world = World::busy(3);
    let through = world.whole().through.value();
    assert_eq!(world.code(|part| part.after = Offset::new(1)), RefusalCode::Malformed);
    assert_eq!(world.code(|part| part.through = Offset::new(through + 1)), RefusalCode::Malformed);
    assert_eq!(world.code(|part| part.through = Offset::new(through - 1)), RefusalCode::Invalid);
    assert_eq!(world.code(|part| part.live = Bytes::from_static(b"no bitmap")), RefusalCode::Malformed);
    assert_eq!(
        world.code(|part| (part.through, part.live) = (Offset::ZERO, Bytes::new())),
        RefusalCode::Conflict,
        "from zero in the same term"
    );
    assert_eq!(world.code(|part| part.live = vec![0; caps::TRANSFER_LIVE_BYTES_MAX + 1].into()), RefusalCode::TooLarge);
}

/// [P-17] The list is the signed one, and every reader gets its keys.
#[test]
fn an_access_list_that_is_not_the_signed_one_is_refused() {
    for taken in [0, 3] {
        let mut world = World::busy(taken);
        assert_eq!(world.code(|part| drop(part.rows.pop())), RefusalCode::Invalid);
        assert_eq!(world.code(|part| part.rows.reverse()), RefusalCode::Malformed);
        assert_eq!(world.code(|part| part.attachments.clear()), RefusalCode::Invalid);
        assert_eq!(world.code(|part| part.attachments.push(Bytes::from_static(b"of nobody"))), RefusalCode::Invalid);
    }
}

/// [P-7]
#[test]
fn only_the_owners_signature_counts() {
    let mut world = World::busy(3);
    let other = TestOwner::new(2);
    let foreign = other.resign(&world.publishes[7].clone(), |_| {}).head;
    assert_eq!(world.code(|part| part.head = foreign), RefusalCode::BadSignature);
    let mine = |change: fn(&mut Head)| move |world: &World| world.owner.resign(&world.publishes[7].clone(), change).head;
    let count = mine(|head| head.live_count += 1)(&world);
    assert_eq!(world.code(|part| part.head = count), RefusalCode::Invalid);
    let floor = mine(|head| head.floor = Offset::ZERO)(&world);
    assert_eq!(world.code(|part| part.head = floor), RefusalCode::Invalid);
}

/// [P-7] [P-19] A transfer that is larger than granted ends with the part that shows it, unless it makes the queue smaller.
#[test]
fn a_quota_holds_for_what_is_staged() {
    let world = World::busy(0);
    let mut check = TransferCheck::open(world.owner.descriptor().clone(), &world.store, 300).expect("it can begin");
    let refusal = check.take(&world.whole()).expect_err("more than granted");
    assert_eq!(refusal.code, RefusalCode::Quota);
}

/// [P-10] A publish that came in between is not undone.
#[test]
fn a_queue_that_moved_on_during_the_transfer_is_a_conflict() {
    let mut world = World::busy(3);
    let adoption = world.judge(vec![world.whole()]).expect("an honest transfer");
    world.publish(3).expect("the next publish");
    let refusal = world.commits.commit_group(&world.store, NOW, vec![Work::from(adoption)]).remove(0).expect_err("too late");
    assert_eq!((refusal.code, refusal.head), (RefusalCode::Conflict, world.publishes[3].head.clone()));
    world.transfer(vec![world.whole()]).expect("the next one sees it");
}

/// [P-10] What an abandoned transfer staged is seen neither by a publish nor by the next transfer.
#[test]
fn an_abandoned_transfer_leaves_nothing_that_matters() {
    let complete = World::busy(8).seen();
    let (mut published, mut transferred) = (World::busy(3), World::busy(3));
    for world in [&published, &transferred] {
        let part = world.whole();
        world.begin().take(&part).expect("a part").iter().for_each(|staged| world.store.stage(staged).expect("memory"));
    }
    (3..8).for_each(|number| drop(published.publish(number).expect("the next publish")));
    transferred.transfer(vec![transferred.whole()]).expect("an honest transfer");
    assert_eq!([published.seen(), transferred.seen()], [complete.clone(), complete]);
}
