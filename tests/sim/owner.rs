//! An owner's process: with whom it was compared, in which term it signs, and what each broker is sent. [P-3] [P-4] [P-5] [P-10]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::key::NodeKey;
use tidings_core::recovery::{Recovery, RecoveryError};
use tidings_core::{Cursor, Entropy, Object, Receipt, SignedHead, Writer};
use tidings_proto::frames::Open;
use tidings_proto::{HeadHash, HeadNumber, QueueId, Reply, Request, Term, Timestamp, VerifyingKey};

use crate::merge::{Merged, Merging};
use crate::net::Conn;
use crate::state::State;

/// One conversation with a broker.
pub(crate) struct Link {
    conn: Conn,
    pub(crate) phase: Phase,
}

pub(crate) enum Phase {
    Opening,
    Recovering(Box<Recovery>),
    /// A transfer from here is due: it waits until the newest head may leave whole. With the tail's head if that is a branch that was merged.
    Due(Cursor),
    /// Its parts are on their way.
    Sending,
    /// Publishes go out as they are signed; the next one.
    Up(HeadNumber),
}

/// What an answer of a broker leads to.
pub(crate) enum Took {
    /// Something may be sent now.
    Fits,
    /// The broker holds something durably; whether it is left and that is the closed head.
    Receipt(bool),
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
    pub(crate) moved: bool,
    /// A person said that it is to be rebuilt.
    pub(crate) restoring: bool,
    pub(crate) links: BTreeMap<usize, Link>,
    /// Brokers that are configured.
    pub(crate) brokers: BTreeSet<usize>,
    pub(crate) compared: BTreeSet<usize>,
    pub(crate) settled: bool,
    pub(crate) waited: bool,
    /// Heads of writers that are not known, by broker.
    pub(crate) strangers: BTreeMap<usize, (tidings_core::WriterId, Term)>,
    pub(crate) seen: Term,
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
        let mut entropy = self.entropy();
        let writer = Writer::create(&self.key, &mut entropy);
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

    pub(crate) fn entropy(&mut self) -> Entropy {
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

    /// [P-4] A person says that this one goes on.
    pub(crate) fn take_over(&mut self) {
        for (writer, term) in std::mem::take(&mut self.strangers).into_values() {
            self.state.know(writer, term);
        }
    }

    /// For a person who looks into a failed run.
    pub(crate) fn describe(&self, broker: usize) -> String {
        let phase = match self.links.get(&broker).map(|link| &link.phase) {
            None => "no link".to_owned(),
            Some(Phase::Opening) => "opening".to_owned(),
            Some(Phase::Recovering(_)) => "recovering".to_owned(),
            Some(Phase::Due(from)) => format!("due from {}, merged {}", from.rank, self.state.merged.contains(&from.head)),
            Some(Phase::Sending) => "sending".to_owned(),
            Some(Phase::Up(next)) => format!("up, next {next}"),
        };
        let State { writer, merging, outbox, .. } = &self.state;
        let (open, due) = (writer.term_is_open(), writer.keys_are_due());
        let rank = self.state.rank();
        let removals = self.state.removals.len();
        format!(
            "{phase}; removals {removals}; at {rank}, term open {open}, keys due {due}, merging {}, waiting {}",
            merging.len(),
            outbox.len()
        )
    }

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
                link.phase = Phase::Sending;
                state.transfer(&from).into_iter().map(Request::Transfer).collect()
            }
            _ => Vec::new(),
        };
        requests.iter().for_each(|request| self.leave(request));
        Some(requests)
    }

    /// [P-3] A rank is never signed twice: whatever leaves under one is always the same.
    fn leave(&mut self, request: &Request) {
        let (Request::Publish(tidings_proto::frames::Publish { head, .. })
        | Request::Transfer(tidings_proto::frames::Transfer { head, .. })) = request
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
        let head = head.expect("not the start");
        let signed = (head.head().writer, head.rank().term);
        if !self.knows(signed) {
            if !self.restoring {
                self.strangers.insert(broker, signed);
                return (Took::Cut, None);
            }
            self.state.know(signed.0, signed.1);
        }
        let recovery = Recovery::new(self.state.writer.descriptor().clone()).of_head(&head);
        self.put_phase(broker, Phase::Recovering(Box::new(recovery)));
        (Took::Fits, Some(Request::Recover))
    }

    fn knows(&self, (writer, term): (tidings_core::WriterId, Term)) -> bool {
        self.state.known.get(&writer.0).is_some_and(|confirmed| *confirmed >= term)
    }

    fn put_phase(&mut self, broker: usize, phase: Phase) {
        if let Some(link) = self.links.get_mut(&broker) {
            link.phase = phase;
        }
    }

    fn on_part(&mut self, broker: usize, part: tidings_proto::frames::Transfer, now: u64) -> Took {
        let Some(Link { phase: Phase::Recovering(recovery), .. }) = self.links.get_mut(&broker) else { return Took::Cut };
        let taken = match recovery.take(part) {
            // It went on between its head and these.
            Err(RecoveryError::AnotherHead) => return Took::Cut,
            taken => taken.expect("an honest broker's parts are what the owner signed"),
        };
        let Some(recovered) = taken else { return Took::Fits };
        let with =
            Merging { key: &self.key.clone(), seen: self.seen, moved: self.moved, now: Timestamp::new(now), entropy: self.entropy() };
        match self.state.merge(&recovered, with) {
            None => Took::Cut,
            Some(merged) => {
                (self.settled, self.leaving) = (true, None);
                Took::Merged(merged)
            }
        }
    }

    fn on_receipt(&mut self, broker: usize, receipt: &Receipt) -> Took {
        if let Some(Link { phase: phase @ Phase::Sending, .. }) = self.links.get_mut(&broker) {
            *phase = Phase::Up(HeadNumber::new(receipt.rank.number.value() + 1));
        }
        let closed = self.leaving.is_some_and(|(left, number)| left == broker && receipt.rank.number >= number);
        Took::Receipt(closed)
    }
}

/// [P-5] Of a branch that was merged everything has to be signed before who holds it is brought on.
fn can_refill(state: &State, from: &Cursor) -> bool {
    let merged = state.merged.contains(&from.head);
    state.writer.head().is_some() && !state.writer.term_is_open() && !(merged && (!state.merging.is_empty() || state.writer.keys_are_due()))
}
