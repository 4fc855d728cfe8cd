//! An owner's process: with whom it was compared, in which term it signs, and what each broker is sent. [P-3] [P-4] [P-5] [P-10]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::head::QueueState;
use tidings_core::key::NodeKey;
use tidings_core::mutation::Mutation;
use tidings_core::path::RecordPath;
use tidings_core::recovery::Recovery;
use tidings_core::writer::{AccessChange, Draft, FloorStep, Invitee, SignRequest, Signed};
use tidings_core::{Cursor, Entropy, NewTerm, Object, Receipt, SignedHead, TermKeys, Version, Writer, WriterName};
use tidings_proto::frames::Open;
use tidings_proto::{HeadHash, HeadNumber, Offset, Pseudonym, QueueId, Reply, Request, Term, Timestamp, VerifyingKey};

use crate::merge::{Merged, Merging};
use crate::net::Conn;
use crate::paper::{Dice, path};
use crate::state::{State, mutation_of};
use crate::truth::Truth;

/// Paths that applications write.
const PATHS: u64 = 10;

/// One conversation with a broker.
struct Link {
    conn: Conn,
    phase: Phase,
}

enum Phase {
    Opening,
    Recovering(Box<Recovery>),
    /// A transfer from here is due: it waits until the newest head may leave whole. With the tail's head if that is a branch that was merged.
    Due(Cursor),
    /// Its parts are on their way; the head that they lead to.
    Sending(HeadNumber),
    /// Publishes go out as they are signed; the next one.
    Up(HeadNumber),
}

/// What an answer of a broker leads to.
pub(crate) enum Took {
    /// Something may be sent now.
    Fits,
    /// The broker holds this head durably.
    Receipt(HeadHash),
    /// Another branch was merged: all conversations begin anew.
    Merged(Merged),
    /// The conversation is of no more use.
    Cut,
}

/// An owner's home and process.
pub(crate) struct SimOwner {
    pub(crate) key: Arc<NodeKey>,
    pub(crate) queue: QueueId,
    pub(crate) state: State,
    /// The state is a copy, or was put back, and nothing was signed by a writer of its own. Shows in the mark: survives a crash.
    moved: bool,
    /// A person said that it is to be rebuilt.
    restoring: bool,
    links: BTreeMap<usize, Link>,
    /// Brokers that are configured.
    pub(crate) brokers: BTreeSet<usize>,
    compared: BTreeSet<usize>,
    settled: bool,
    waited: bool,
    /// Heads of writers that are not known, by broker.
    strangers: BTreeMap<usize, (tidings_core::WriterId, Term)>,
    seen: Term,
    /// A broker that is left, and the closed head that it is to hold.
    pub(crate) leaving: Option<(usize, HeadNumber)>,
    /// Counts processes.
    pub(crate) life: u64,
    salt: u64,
    draws: u64,
    /// Every head that left this node, by rank.
    left: BTreeMap<(Term, HeadNumber), HeadHash>,
}

fn entropy(salt: u64, draw: u64) -> Entropy {
    let mut bytes = [8; 32];
    bytes[..8].copy_from_slice(&salt.to_be_bytes());
    bytes[8..16].copy_from_slice(&draw.to_be_bytes());
    Entropy::new(bytes)
}

impl SimOwner {
    pub(crate) fn new(seed: u64, brokers: BTreeSet<usize>) -> Self {
        let mut bytes = [77; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let key = Arc::new(NodeKey::from_seed(bytes));
        let writer = Writer::create(&key, &mut entropy(seed, 0));
        let queue = writer.queue();
        Self::at(key, queue, State::new(writer), brokers, seed)
    }

    fn at(key: Arc<NodeKey>, queue: QueueId, state: State, brokers: BTreeSet<usize>, salt: u64) -> Self {
        Self {
            key,
            queue,
            state,
            moved: false,
            restoring: false,
            links: BTreeMap::new(),
            brokers,
            compared: BTreeSet::new(),
            settled: false,
            waited: false,
            strangers: BTreeMap::new(),
            seen: Term::ZERO,
            leaving: None,
            life: 0,
            salt,
            draws: 0,
            left: BTreeMap::new(),
        }
    }

    /// A second machine with a copy of this home.
    pub(crate) fn copied(&self, salt: u64) -> Self {
        let copy = Self::at(self.key.clone(), self.queue, self.state.clone(), self.brokers.clone(), salt);
        Self { moved: true, restoring: self.restoring, ..copy }
    }

    /// The home is put back from a backup.
    pub(crate) fn put_back(&mut self, backup: State) {
        self.state = backup;
        self.moved = true;
    }

    /// Everything but the key is gone, and a person has it rebuilt.
    pub(crate) fn lose(&mut self) {
        let writer = Writer::create(&self.key, &mut self.entropy());
        self.state = State::new(writer);
        (self.moved, self.restoring) = (true, true);
    }

    /// The process dies and starts again on what is durable.
    pub(crate) fn restart(&mut self) {
        self.life += 1;
        self.compared.clear();
        self.strangers.clear();
        (self.settled, self.waited, self.seen, self.leaving) = (false, false, Term::ZERO, None);
    }

    fn entropy(&mut self) -> Entropy {
        self.draws += 1;
        entropy(self.salt, self.draws)
    }

    pub(crate) fn head(&self) -> Option<&SignedHead> {
        self.state.writer.head()
    }

    pub(crate) fn conn(&self, broker: usize) -> Option<Conn> {
        self.links.get(&broker).map(|link| link.conn)
    }

    pub(crate) fn drop_link(&mut self, broker: usize) -> Option<Conn> {
        self.links.remove(&broker).map(|link| link.conn)
    }

    pub(crate) fn is_in_conflict(&self) -> bool {
        !self.strangers.is_empty()
    }

    pub(crate) fn is_restoring(&self) -> bool {
        self.restoring || self.head().is_none()
    }

    /// [P-4] A person says that this one goes on.
    pub(crate) fn take_over(&mut self) {
        for (writer, term) in std::mem::take(&mut self.strangers).into_values() {
            self.state.know(writer, term);
        }
    }

    // ---- Signing

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
        let version =
            Version::after(Version { clock: self.state.clock, ..Version::ZERO }, Timestamp::new(now), self.key.version_node());
        self.state.clock = version.clock;
        let row = mutation_of(&path, version, value);
        // A create and a delete that wait cancel out.
        if row.inline.is_none() && !signed { self.state.outbox.remove(&path) } else { self.state.outbox.insert(path, row.clone()) };
        Some(row)
    }

    /// Signs what waits, or some of it. `dies`: the process dies before the transaction, so that nothing happened.
    pub(crate) fn sign(&mut self, truth: &mut Truth, dice: &mut Dice, now: u64, dies: bool) -> bool {
        if self.state.writer.keys_are_due() {
            return self.sign_opening(truth, now, dies);
        }
        let some = if dice.chance(30) { 1 + dice.roll(4) as usize } else { usize::MAX };
        let floor = dice.chance(25).then(|| self.floor_step(dice)).flatten();
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

    // ---- Talking

    pub(crate) fn open(&mut self, broker: usize, conn: Conn) -> Request {
        self.links.insert(broker, Link { conn, phase: Phase::Opening });
        Request::Open(Open { descriptor: self.state.writer.descriptor().encode().into() })
    }

    /// What can be sent to a broker now; `None` if the conversation has to begin anew.
    pub(crate) fn unsent(&mut self, broker: usize) -> Option<Vec<Request>> {
        let state = &self.state;
        let Some(link) = self.links.get_mut(&broker) else { return Some(Vec::new()) };
        let newest = state.rank().number;
        let requests: Vec<Request> = match link.phase {
            Phase::Up(next) if next <= newest => {
                let publishes = state.publishes_from(next)?;
                link.phase = Phase::Up(HeadNumber::new(newest.value() + 1));
                publishes.into_iter().map(Request::Publish).collect()
            }
            Phase::Due(from) if can_refill(state, &from) => {
                let from = if state.merged.contains(&from.head) { Cursor::start(&self.queue) } else { from };
                link.phase = Phase::Sending(newest);
                state.transfer(&from).into_iter().map(Request::Transfer).collect()
            }
            _ => Vec::new(),
        };
        requests.iter().for_each(|request| self.leave(request));
        Some(requests)
    }

    /// [P-3] A rank is never signed twice: whatever leaves under one is always the same.
    fn leave(&mut self, request: &Request) {
        let (Request::Publish(tidings_proto::frames::Publish { head, .. }) | Request::Transfer(tidings_proto::frames::Transfer { head, .. })) =
            request
        else {
            return;
        };
        if let Ok(head) = SignedHead::parse(head.clone()) {
            let before = self.left.insert((head.rank().term, head.rank().number), head.hash());
            assert!(before.is_none_or(|hash| hash == head.hash()), "two heads of one rank left their owner");
        }
    }

    /// Takes an answer.
    pub(crate) fn take(&mut self, broker: usize, reply: &Reply, receipt_key: &VerifyingKey, now: u64) -> (Took, Option<Request>) {
        match reply {
            Reply::Standing(head) => self.on_standing(broker, head),
            Reply::Part(part) => (self.on_part(broker, part.clone(), now), None),
            Reply::Receipt(bytes) => {
                let receipt = Receipt::verify(bytes, receipt_key).expect("the broker's receipt");
                (self.on_receipt(broker, &receipt), None)
            }
            _ => (Took::Cut, None),
        }
    }

    /// [P-5] By ancestry, not by number.
    fn on_standing(&mut self, broker: usize, standing: &Bytes) -> (Took, Option<Request>) {
        self.strangers.remove(&broker);
        let head = (!standing.is_empty()).then(|| SignedHead::parse(standing.clone()).expect("own head"));
        let cursor = head.as_ref().map_or(Cursor::start(&self.queue), SignedHead::cursor);
        self.seen = self.seen.max(cursor.rank.term);
        let known = cursor.is_start() || self.state.hash_of(cursor.rank.number) == Some(cursor.head);
        if known || self.state.merged.contains(&cursor.head) {
            let lost = self.head().is_none();
            let next = if known && !lost { self.state.first_to_send(cursor.rank.number) } else { None };
            self.put_phase(broker, next.map_or(Phase::Due(cursor), Phase::Up));
            self.compared.insert(broker);
            return (Took::Fits, None);
        }
        if self.links.values().any(|link| matches!(link.phase, Phase::Recovering(_))) {
            return (Took::Cut, None);
        }
        let signed = head.as_ref().map(|head| (head.head().writer, head.rank().term)).expect("not the start");
        if !self.knows(signed) {
            if !self.restoring {
                self.strangers.insert(broker, signed);
                return (Took::Cut, None);
            }
            self.state.know(signed.0, signed.1);
        }
        self.put_phase(broker, Phase::Recovering(Box::new(Recovery::new(self.state.writer.descriptor().clone()))));
        (Took::Fits, Some(Request::Recover))
    }

    fn knows(&self, (writer, term): (tidings_core::WriterId, Term)) -> bool {
        let mine = self.head().is_some_and(|own| own.head().writer == writer && own.rank().term == term);
        self.state.known.get(&writer.0).is_some_and(|confirmed| !mine || *confirmed >= term)
    }

    fn put_phase(&mut self, broker: usize, phase: Phase) {
        if let Some(link) = self.links.get_mut(&broker) {
            link.phase = phase;
        }
    }

    fn on_part(&mut self, broker: usize, part: tidings_proto::frames::Transfer, now: u64) -> Took {
        let Some(Link { phase: Phase::Recovering(recovery), .. }) = self.links.get_mut(&broker) else { return Took::Cut };
        let Some(recovered) = recovery.take(part).expect("an honest broker's parts are what the owner signed") else { return Took::Fits };
        let with = Merging { key: &self.key.clone(), seen: self.seen, moved: self.moved, now: Timestamp::new(now), entropy: self.entropy() };
        match self.state.merge(&recovered, with) {
            None => Took::Cut,
            Some(merged) => {
                (self.settled, self.leaving) = (true, None);
                Took::Merged(merged)
            }
        }
    }

    fn on_receipt(&mut self, broker: usize, receipt: &Receipt) -> Took {
        if let Some(Link { phase: phase @ Phase::Sending(_), .. }) = self.links.get_mut(&broker) {
            *phase = Phase::Up(HeadNumber::new(receipt.rank.number.value() + 1));
        }
        Took::Receipt(receipt.head)
    }
}

/// [P-5] Of a branch that was merged everything has to be signed before who holds it is brought on.
fn can_refill(state: &State, from: &Cursor) -> bool {
    let merged = state.merged.contains(&from.head);
    state.writer.head().is_some() && !state.writer.term_is_open() && !(merged && (!state.merging.is_empty() || state.writer.keys_are_due()))
}
