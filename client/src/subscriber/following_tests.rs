//! Damage and rows set aside, in the durable tables.

#[path = "../../../core/tests/paper/mod.rs"]
#[allow(unreachable_pub, reason = "shared by test binaries of several packages")]
mod paper;

use tidings_core::reader::{ChangeKind, HeldKind, HeldRow, ReaderStore};
use tidings_core::{Invitation, NodeKey};
use tidings_proto::{Birth, QueueId, Reply, Timestamp};

use super::following::{End, Following, Listening, Outcome};
use super::handout::HandOut;
use super::{ChangeId, Subscriber};
use crate::state::{FollowTables, FollowView, State, StateError};
use paper::{Owner, PaperBroker, Session, path};

const NOW: Timestamp = Timestamp::new(10_000);

/// An owner with one record, its broker, and a follow that holds it.
struct Scene {
    owner: Owner,
    broker: PaperBroker,
    state: State,
    queue: QueueId,
}

impl Scene {
    fn new() -> Self {
        let (mut owner, state) = (Owner::new(3), State::in_memory().expect("a state"));
        let grant = owner.grant(&reader_key());
        let descriptor = owner.writer.descriptor().clone();
        let invitation = Invitation { descriptor, card: owner.key.card(), addresses: Vec::new(), grant };
        let queue = Subscriber::follow(&state, &reader_key(), &invitation, "owner").expect("followed");
        let mut scene = Self { owner, broker: PaperBroker::default(), state, queue };
        scene.publish("one");
        let taken = scene.catch_up(&mut scene.open());
        assert!(taken.accepted.is_some_and(|accepted| accepted.caught_up));
        scene
    }

    fn publish(&mut self, value: &'static str) {
        self.write(Some(value));
    }

    fn write(&mut self, value: Option<&'static str>) {
        self.owner.publish(&[(path(1), value.map(Into::into))], None);
        self.broker.receive(&self.owner.log, 99);
    }

    fn open(&self) -> Following {
        self.open_with(&self.handout())
    }

    fn open_with(&self, handout: &HandOut) -> Following {
        Following::open(handout.clone(), reader_key().into(), None).expect("opened")
    }

    fn handout(&self) -> HandOut {
        HandOut::new(self.state.clone(), self.queue)
    }

    /// All that the broker has, in one step.
    fn catch_up(&self, following: &mut Following) -> Outcome {
        self.catch_up_for(following, None)
    }

    fn catch_up_for(&self, following: &mut Following, listening: Option<Listening>) -> Outcome {
        let subscribe = following.begin("broker").expect("begun");
        following.take(Session::new(&subscribe).next(&self.broker, 99), NOW, listening).expect("taken")
    }

    fn tables<T>(&self, change: impl FnOnce(&mut FollowTables<'_>) -> Result<T, StateError>) -> T {
        self.state.write(|transaction| change(&mut FollowTables::open(transaction, &self.queue)?)).expect("written")
    }

    fn the_row(&self) -> HeldRow {
        self.tables(|tables| tables.held_after(Birth::ZERO, 9)).remove(0)
    }

    fn value(&self) -> Option<Vec<u8>> {
        let value = Subscriber::value(&self.state, &self.queue, &path(1)).expect("read")?;
        value.mutation.inline.map(|value| value.to_vec())
    }

    fn has_quarantined(&self) -> bool {
        self.state.read(|transaction| FollowView(transaction).has_quarantined(&self.queue)).expect("read")
    }
}

fn reader_key() -> NodeKey {
    NodeKey::from_seed([9; 32])
}

/// [P-14] A row that rotted must not stop the follow for good, and accuses nobody.
#[test]
fn a_held_row_that_cannot_be_read_any_more_is_read_again_from_the_broker() {
    let mut scene = Scene::new();
    let birth = scene.the_row().birth;
    scene.tables(|tables| tables.damage_held(birth));
    scene.publish("two");
    let mut following = scene.open();
    assert!(matches!(scene.catch_up(&mut following).end, Some(End::LocalDamage)));
    assert!(scene.catch_up(&mut following).accepted.is_some_and(|accepted| accepted.caught_up));
    assert_eq!(scene.value().as_deref(), Some(&b"two"[..]));
}

/// [P-15] [P-20] An older build set a record aside; this one reads it as soon as it starts, and tells the application.
#[test]
fn a_row_that_an_older_build_set_aside_is_read_when_the_follow_starts() {
    let scene = Scene::new();
    let row = scene.the_row();
    let sealed = scene.broker.entries[&row.offset].clone();
    let aside = HeldRow { kind: HeldKind::Quarantined, path: None, bytes: sealed, ..row.clone() };
    scene.tables(|tables| {
        tables.remove_pending(&path(1))?;
        tables.put_held(aside, Some(&row))
    });
    assert!(scene.has_quarantined() && scene.value().is_none());
    let _following = scene.open();
    assert!(!scene.has_quarantined());
    assert_eq!(scene.value().as_deref(), Some(&b"one"[..]));
    assert_eq!(scene.tables(|tables| tables.pending_after(None, |_| true, 9)).len(), 1);
}

/// [P-15] What an application that waits is told in the step that verified it is marked in that step: nobody hands it out again, and a
/// delete that comes before the acknowledgement is told too.
#[test]
fn what_an_application_waits_for_is_handed_out_in_the_step_that_brings_it() {
    let mut scene = Scene::new();
    let handout = scene.handout();
    let first: Vec<ChangeId> = handout.take(9).expect("taken").iter().map(ChangeId::from).collect();
    assert_eq!((first.len(), handout.acknowledge(&first, &[]).expect("kept").is_some()), (1, true));
    scene.write(None);
    let mut following = scene.open_with(&handout);
    let listening = Some(Listening { limit: 9, open: false });
    let gone = scene.catch_up_for(&mut following, listening).handed_out.expect("handed out");
    assert_eq!(gone.iter().map(|change| change.kind).collect::<Vec<_>>(), [ChangeKind::Delete]);
    assert_eq!(handout.take(9).expect("taken"), []);
    scene.publish("two");
    let back = scene.catch_up_for(&mut following, listening).handed_out.expect("handed out");
    assert_eq!(back.iter().map(|change| (change.kind, change.path.clone())).collect::<Vec<_>>(), [(ChangeKind::Update, path(1))]);
    let done: Vec<ChangeId> = back.iter().map(ChangeId::from).collect();
    assert_eq!(handout.acknowledge(&done, &[]).expect("kept").map(|cursor| cursor.rank), Some(following.reader().cursor().rank));
}

/// [P-15] Nobody waits, so nobody has seen it: what came and went is no change. A session that has not caught up tells nothing.
#[test]
fn nothing_is_handed_out_to_an_application_that_does_not_wait() {
    let mut scene = Scene::new();
    let handout = scene.handout();
    let mut following = scene.open_with(&handout);
    scene.write(None);
    assert!(scene.catch_up_for(&mut following, None).handed_out.is_none());
    assert_eq!(handout.take(9).expect("taken"), []);
}

/// Three more records are written, and two of them come: the first with the head, the second alone. Gives the position before, and the end.
fn most_of_a_delta(scene: &mut Scene, following: &mut Following) -> (u64, Vec<Reply>) {
    let records: Vec<_> = (2..5).map(|number| (path(number), Some("more".into()))).collect();
    scene.owner.publish(&records, None);
    scene.broker.receive(&scene.owner.log, 99);
    let subscribe = following.begin("broker").expect("begun");
    let mut session = Session::new(&subscribe);
    for _ in 0..2 {
        let outcome = following.take(session.next(&scene.broker, 1), NOW, None).expect("taken");
        assert!(outcome.accepted.is_none() && outcome.end.is_none());
    }
    (subscribe.position.value(), session.next(&scene.broker, 9))
}

impl Scene {
    fn staged(&self) -> usize {
        self.tables(|tables| tables.staged_after(Birth::ZERO, 9)).len()
    }

    /// Another process follows, behind this position, and ends with everything.
    fn next_process_begins_at(&self, position: u64) {
        let mut following = self.open();
        assert_eq!(following.begin("broker").expect("begun").position.value(), position);
        self.ends_with_all(&mut following);
    }

    fn ends_with_all(&self, following: &mut Following) {
        assert!(self.catch_up(following).accepted.is_some_and(|accepted| accepted.caught_up));
        assert_eq!((self.tables(|tables| tables.held_after(Birth::ZERO, 9)).len(), self.staged()), (4, 0));
    }
}

/// [P-11] The middle of a delta is in memory, and its end is verified with it.
#[test]
fn the_middle_of_a_delta_is_not_written_and_not_lost() {
    let mut scene = Scene::new();
    let mut following = scene.open();
    let (_, end) = most_of_a_delta(&mut scene, &mut following);
    assert_eq!(scene.staged(), 1, "the first came with the head, which has to survive");
    let outcome = following.take(end, NOW, None).expect("taken");
    assert!(outcome.accepted.is_some_and(|accepted| accepted.caught_up && accepted.changes == 3));
    assert_eq!(scene.staged(), 0);
}

/// [P-11] A connection that ends loses nothing of it.
#[test]
fn the_next_subscription_goes_on_behind_what_is_in_memory() {
    let mut scene = Scene::new();
    let mut following = scene.open();
    let (before, _) = most_of_a_delta(&mut scene, &mut following);
    assert_eq!(following.begin("broker").expect("begun").position.value(), before + 2);
    assert_eq!(scene.staged(), 2);
    scene.ends_with_all(&mut following);
}

/// [P-11] A process that ends loses it, and fetches it again.
#[test]
fn what_was_only_in_memory_is_fetched_again_by_the_next_process() {
    let mut scene = Scene::new();
    let mut following = scene.open();
    let (before, _) = most_of_a_delta(&mut scene, &mut following);
    drop(following);
    scene.next_process_begins_at(before + 1);
}

/// [P-11] Where other follows have all the memory there is, each part is written as it comes.
#[test]
fn a_part_of_a_delta_that_finds_no_room_in_memory_is_written() {
    let mut scene = Scene::new();
    let mut following = scene.open();
    let all = scene.state.deltas.clone();
    let taken = u32::try_from(all.available_permits()).expect("far below");
    let others = all.clone().try_acquire_many_owned(taken).expect("it is there");
    let (before, _) = most_of_a_delta(&mut scene, &mut following);
    assert_eq!((scene.staged(), following.has_part()), (2, false));
    drop((following, others));
    assert_eq!(all.available_permits(), taken as usize, "nothing is kept of what was not needed");
    scene.next_process_begins_at(before + 2);
}

/// [P-11] Whoever ends in good order loses nothing.
#[test]
fn a_session_that_ends_keeps_what_came_of_a_delta() {
    let mut scene = Scene::new();
    let mut following = scene.open();
    let (before, _) = most_of_a_delta(&mut scene, &mut following);
    assert!(following.has_part());
    following.keep_part().expect("kept");
    assert!(!following.has_part());
    assert_eq!(scene.staged(), 2);
    drop(following);
    scene.next_process_begins_at(before + 2);
}

/// [P-14] What was in memory goes with the step that met the damage, and so does the reader that knew of it.
#[test]
fn damage_at_the_end_of_a_delta_leaves_nothing_of_it() {
    let mut scene = Scene::new();
    let mut following = scene.open();
    scene.owner.publish(&[(path(1), None)], None);
    let birth = scene.the_row().birth;
    let (_, end) = most_of_a_delta(&mut scene, &mut following);
    scene.tables(|tables| tables.damage_held(birth));
    let met = following.take(end, NOW, None).expect("taken");
    assert!(matches!(met.end, Some(End::LocalDamage)), "{met:?}");
    assert_eq!(scene.staged(), 0);
    scene.ends_with_all(&mut following);
}
