//! What an owner signs, and in which term. [P-3] [P-4] [P-6] [P-13] [P-17]

use bytes::Bytes;
use tidings_core::head::QueueState;
use tidings_core::key::NodeKey;
use tidings_core::mutation::Mutation;
use tidings_core::path::RecordPath;
use tidings_core::writer::{AccessChange, Draft, FloorStep, Invitee, SignRequest, Signed};
use tidings_core::{NewTerm, TermKeys, Version, Writer, WriterName};
use tidings_proto::{Offset, Pseudonym, Term, Timestamp};

use crate::owner::{Link, Phase, SimOwner};
use crate::paper::{Dice, path};
use crate::state::mutation_of;
use crate::truth::Truth;

/// Paths that applications write.
const PATHS: u64 = 10;

impl SimOwner {
    /// Brokers that do not answer are waited for no longer.
    pub(crate) fn wait_no_longer(&mut self) {
        self.waited = true;
    }

    fn has_compared_all(&self) -> bool {
        self.brokers.iter().all(|broker| self.compared.contains(broker))
    }

    /// [P-4] Whether something may be signed; settles in which term when that is so for the first time.
    pub(crate) fn may_sign(&mut self) -> bool {
        let recovering = self.links.values().any(|link| matches!(link.phase, Phase::Recovering(_)));
        let free = self.strangers.is_empty() && !recovering && self.head().is_some() && self.leaving.is_none();
        let whole = self.has_compared_all();
        self.restoring &= !(whole && self.head().is_some());
        let late = self.waited && self.links.values().any(|link| !matches!(link.phase, Phase::Opening | Phase::Recovering(_)));
        if free && !self.settled && (whole || late) {
            self.settle(whole);
        }
        free && self.settled
    }

    fn settle(&mut self, whole: bool) {
        self.settled = true;
        let closed = self.head().is_some_and(|head| head.head().state == QueueState::Closed) && !self.state.writer.term_is_open();
        if !whole || self.moved || closed {
            let writer = if self.moved { WriterName::New } else { WriterName::Kept };
            self.open_term(NewTerm { writer, keys: TermKeys::Kept });
        }
    }

    fn open_term(&mut self, how: NewTerm) {
        let mut entropy = self.entropy();
        self.state.writer.open_term(self.seen, how, &mut entropy).expect("terms are not used up");
        let writer = self.state.writer.writer();
        self.state.know(writer, Term::ZERO);
    }

    /// An application writes or deletes something. `None`: there is nothing to delete.
    pub(crate) fn write(&mut self, dice: &mut Dice, now: u64) -> Option<Mutation> {
        let path = path(dice.roll(PATHS));
        let signed = self.state.records.get(&path).is_some_and(|kept| !kept.record.tombstone);
        let lives = self.state.outbox.get(&path).map_or(signed, |row| row.inline.is_some());
        let value = (!lives || !dice.chance(35)).then(|| Bytes::from(dice.roll(1 << 40).to_string()));
        let version = Version::after(Version { clock: self.state.clock, ..Version::ZERO }, Timestamp::new(now), self.key.version_node());
        self.state.clock = version.clock;
        let row = mutation_of(&path, version, value);
        // A create and a delete that wait cancel out.
        if row.inline.is_none() && !signed {
            self.state.outbox.remove(&path)
        } else {
            self.state.outbox.insert(path, row.clone())
        };
        Some(row)
    }

    /// Signs what waits, or some of it. `dies`: the process dies before the transaction, so that nothing happened.
    pub(crate) fn sign(&mut self, truth: &mut Truth, dice: &mut Dice, now: u64, dies: bool, calm: bool) -> bool {
        if self.state.writer.keys_are_due() {
            return self.sign_opening(truth, now, dies);
        }
        let some = if dice.chance(30) { 1 + dice.roll(4) as usize } else { usize::MAX };
        let floor = (!calm && dice.chance(25)).then(|| self.floor_step(dice)).flatten();
        let waiting: Vec<Mutation> = self.state.outbox.values().take(some).cloned().collect();
        if waiting.is_empty() && floor.is_none() && !self.state.writer.term_is_open() {
            return false;
        }
        self.sign_request(truth, waiting, floor, AccessChange::default(), now, dies).is_some()
    }

    /// [P-5] The new epoch and all grants, without those whose access ended on another branch.
    fn sign_opening(&mut self, truth: &mut Truth, now: u64, dies: bool) -> bool {
        let granted = self.state.granted();
        let remove: Vec<Pseudonym> = self.state.removals.iter().filter(|gone| granted.contains(gone)).copied().collect();
        let access = AccessChange { remove, locator: "file:///store".into(), ..AccessChange::default() };
        let signed = self.sign_request(truth, Vec::new(), None, access, now, dies).is_some();
        if signed {
            self.state.removals.clear();
        }
        signed
    }

    /// [P-6] Not above the term's base before all brokers were compared with.
    fn floor_step(&self, dice: &mut Dice) -> Option<FloorStep> {
        let head = self.head()?.head();
        let highest = if self.has_compared_all() || self.state.writer.term_is_open() { head.offset } else { head.base.offset };
        let target = Offset::new(dice.roll(highest.value() + 1));
        if target <= head.floor {
            return None;
        }
        let records = self.state.records.values().map(|kept| &kept.record);
        let mut gone: Vec<_> = records.filter(|record| record.tombstone && record.offset <= target).cloned().collect();
        gone.sort_by_key(|record| record.offset);
        Some(FloorStep::capped(target, gone))
    }

    fn sign_request(
        &mut self,
        truth: &mut Truth,
        changes: Vec<Mutation>,
        floor: Option<FloorStep>,
        access: AccessChange,
        now: u64,
        dies: bool,
    ) -> Option<Signed> {
        let prior = |path: &RecordPath| self.state.records.get(path).map(|kept| kept.record.clone());
        let draft = |mutation: &Mutation| Draft { mutation: mutation.clone(), prior: prior(&mutation.path) };
        let changes = SignRequest { changes: changes.iter().map(draft).collect(), floor, access };
        let mutations: Vec<Mutation> = changes.changes.iter().map(|draft| draft.mutation.clone()).collect();
        let mut entropy = self.entropy();
        let mut writer = self.state.writer.clone();
        let signed = writer.sign(&self.key, changes, Timestamp::new(now), &mut entropy).expect("the request is sound");
        if dies {
            return None;
        }
        self.keep(truth, writer, signed, mutations)
    }

    fn keep(&mut self, truth: &mut Truth, writer: Writer, signed: Signed, mutations: Vec<Mutation>) -> Option<Signed> {
        self.state.apply(writer, &signed, mutations.clone());
        truth.sign(&signed.publish(), &mutations, self.state.view(), self.state.granted().into_iter().collect());
        self.moved = false;
        Some(signed)
    }

    /// The first head of a queue.
    pub(crate) fn begin_queue(&mut self, truth: &mut Truth) {
        self.sign_request(truth, Vec::new(), None, AccessChange::default(), 0, false);
    }

    /// [P-17] Grants a reader.
    pub(crate) fn grant(&mut self, truth: &mut Truth, reader: &NodeKey, now: u64) -> Bytes {
        let add = vec![Invitee { card: reader.card(), name: "reader".into() }];
        let access = AccessChange { add, locator: "file:///store".into(), ..AccessChange::default() };
        let signed = self.sign_request(truth, Vec::new(), None, access, now, false).expect("nothing dies here");
        signed.granted.last().expect("one was added").grant.clone()
    }

    /// [P-17] Ends the access of a reader.
    pub(crate) fn revoke(&mut self, truth: &mut Truth, reader: Pseudonym, now: u64) {
        let access = AccessChange { remove: vec![reader], locator: "file:///store".into(), ..AccessChange::default() };
        self.sign_request(truth, Vec::new(), None, access, now, false);
    }

    /// [P-13] Leaves a broker: it gets the closed head once another one holds everything.
    pub(crate) fn leave_broker(&mut self, truth: &mut Truth, broker: usize, now: u64) -> bool {
        let newest = self.state.rank().number;
        let holds = |link: &Link| matches!(link.phase, Phase::Up(next) if next > newest);
        let held = self.brokers.iter().filter(|other| **other != broker).any(|other| self.links.get(other).is_some_and(holds));
        let closed = self.head().is_none_or(|head| head.head().state == QueueState::Closed);
        if !held || closed || self.state.writer.term_is_open() || self.state.writer.keys_are_due() {
            return false;
        }
        let (mut entropy, mut writer) = (self.entropy(), self.state.writer.clone());
        let signed = writer.close(&self.key, Timestamp::new(now), &mut entropy).expect("an open queue");
        self.leaving = Some((broker, signed.head.rank().number));
        self.keep(truth, writer, signed, Vec::new());
        true
    }

    /// The broker has the closed head, or is waited for no longer. Gives the broker.
    pub(crate) fn end_leaving(&mut self) -> Option<usize> {
        let (broker, _) = self.leaving.take()?;
        self.brokers.remove(&broker);
        self.compared.remove(&broker);
        self.open_term(NewTerm::ON_OWN_HEAD);
        Some(broker)
    }
}
