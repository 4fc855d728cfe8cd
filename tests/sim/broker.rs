//! The broker's process: the real engine and group commit over a store that fails, without sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_broker::commit::{CommitQueue, CommitSettings, Work};
use tidings_broker::engine::{
    Answer, Committed, FanOut, LastPart, Next, Overlay, Read, Receipted, Recovery, Subscription, TransferCheck, check,
    check_acknowledgement, refusal_of,
};
use tidings_broker::store::{Fault, Faults, FaultyStore, MemoryStore, ScanLimit, Store, StoreError};
use tidings_core::{Cursor, Object, QueueDescriptor, ReceiptKey, SignedHead};
use tidings_proto::frames::{Readers, Transfer};
use tidings_proto::{QueueId, Refusal, RefusalCode, Reply, Request, Timestamp, VerifyingKey};

use crate::net::Conn;
use crate::paper::Dice;

/// What waits for the next group.
struct Waiting {
    conn: Conn,
    work: Work,
}

/// A transfer of one connection.
enum Incoming {
    Running(Box<TransferCheck>),
    /// What still comes of it is dropped.
    Refused,
}

/// A broker's process and its disk.
pub(crate) struct SimBroker {
    store: FaultyStore,
    key: ReceiptKey,
    commit: CommitQueue,
    waiting: Vec<Waiting>,
    descriptors: BTreeMap<Conn, QueueDescriptor>,
    /// Where each publish stream was told that its queue stands.
    told: BTreeMap<Conn, Cursor>,
    incoming: BTreeMap<Conn, Incoming>,
    /// Who brings the one transfer that is taken at a time, until it is committed.
    place: Option<Conn>,
    /// Copies of its disk, as backups took them.
    backups: Vec<MemoryStore>,
    /// An old copy that it shows owners in place of what it holds.
    shows: Option<MemoryStore>,
    pub(crate) down: bool,
    subscriptions: BTreeMap<Conn, Subscription>,
    /// Subscriptions that have something to do.
    pub(crate) busy: std::collections::BTreeSet<Conn>,
    /// The store said something that makes a process stop.
    pub(crate) doomed: bool,
}

impl SimBroker {
    pub(crate) fn new(seed: u64, number: u8) -> Self {
        let mut bytes = [number; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            store: FaultyStore::new(bytes, Faults::NONE),
            key: ReceiptKey::from_seed([100 + number; 32]),
            commit: CommitQueue::new(CommitSettings { hot_queues_max: 1, ..CommitSettings::default() }),
            waiting: Vec::new(),
            descriptors: BTreeMap::new(),
            told: BTreeMap::new(),
            incoming: BTreeMap::new(),
            place: None,
            backups: vec![MemoryStore::new()],
            shows: None,
            down: false,
            subscriptions: BTreeMap::new(),
            busy: Default::default(),
            doomed: false,
        }
    }

    pub(crate) fn receipt_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    pub(crate) fn store(&self) -> &FaultyStore {
        &self.store
    }

    pub(crate) fn fail_next(&self, dice: &mut Dice) {
        let faults = [Fault::Refused, Fault::RequestLost, Fault::AnswerLost, Fault::SyncFailed];
        self.store.fail_next(faults[dice.roll(4) as usize]);
    }

    /// The process dies: what was not synced and everything in memory is gone.
    pub(crate) fn crash(&mut self) {
        self.store.crash();
        self.commit = CommitQueue::new(self.commit.settings().to_owned());
        self.waiting.clear();
        self.descriptors.clear();
        self.incoming.clear();
        self.told.clear();
        self.place = None;
        self.subscriptions.clear();
        self.busy.clear();
        self.doomed = false;
    }

    pub(crate) fn back_up(&mut self) {
        self.backups.push(self.store.backup());
    }

    /// The machine starts again on an older copy of its disk, or on an empty one.
    pub(crate) fn roll_back(&mut self, dice: &mut Dice) {
        let to = if dice.chance(25) { 0 } else { dice.roll(self.backups.len() as u64) as usize };
        self.backups.truncate(to + 1);
        self.store.put_back(&self.backups[to]);
        self.crash();
    }

    /// From now on owners are shown an old copy, or again what is there.
    pub(crate) fn lie(&mut self, dice: &mut Dice) {
        self.shows = self.backups.get(dice.roll(self.backups.len() as u64) as usize).cloned();
    }

    pub(crate) fn lies(&self) -> bool {
        self.shows.is_some()
    }

    pub(crate) fn end_lie(&mut self) {
        self.shows = None;
    }

    /// Whether something waits for the next group.
    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Who brings a transfer.
    pub(crate) fn place(&self) -> Option<Conn> {
        self.place
    }

    /// Takes a frame; gives the answers. `alone`: whoever held the place for a transfer is gone.
    pub(crate) fn take(&mut self, conn: Conn, request: Request, alone: bool) -> Vec<Reply> {
        if let Some(left) = self.place.take_if(|place| alone && *place != conn && self.waiting.iter().all(|waits| waits.conn != *place)) {
            self.incoming.insert(left, Incoming::Refused);
        }
        let lies = self.shows.is_some();
        let answer = match request {
            Request::Recover => return self.recover(conn),
            Request::Publish(_) | Request::Transfer(_) if lies => Err(Refusal::new(RefusalCode::Unavailable, "later")),
            Request::Open(open) => self.open(conn, &open.descriptor),
            Request::Publish(publish) => match self.descriptors.get(&conn) {
                Some(descriptor) => check(descriptor, publish).map(|checked| {
                    self.waiting.push(Waiting { conn, work: checked.into() });
                    None
                }),
                None => Ok(None),
            },
            Request::Subscribe(subscribe) => Subscription::open(&subscribe).map(|subscription| {
                self.subscriptions.insert(conn, subscription);
                self.busy.insert(conn);
                None
            }),
            Request::AskBitmap => {
                if let Some(subscription) = self.subscriptions.get_mut(&conn) {
                    subscription.on_ask_bitmap();
                    self.busy.insert(conn);
                }
                Ok(None)
            }
            Request::Acknowledge(bytes) => self.acknowledge(conn, bytes),
            Request::AskReaders => Ok(Some(Reply::Readers(Readers { rows: Vec::new(), acknowledgements: Vec::new() }))),
            Request::Transfer(part) => self.take_part(conn, part),
            // Nobody in this world sends them.
            Request::Pulse(_) | Request::Hello(_) | Request::Prove(_) => Ok(None),
        };
        answer.unwrap_or_else(|refusal| Some(Reply::Refused(refusal))).into_iter().collect()
    }

    fn open(&mut self, conn: Conn, descriptor: &[u8]) -> Result<Option<Reply>, Refusal> {
        let descriptor = QueueDescriptor::decode(descriptor).expect("an honest owner's descriptor");
        let store: &dyn Store = self.shows.as_ref().map_or(&self.store, |shown| shown);
        let row = store.queue(&descriptor.id()).map_err(|error| refusal_of(&error))?;
        let stands = row.as_ref().map(|row| SignedHead::parse(row.head.clone()).expect("a stored head").cursor());
        self.told.insert(conn, stands.unwrap_or(Cursor::start(&descriptor.id())));
        self.descriptors.insert(conn, descriptor);
        Ok(Some(Reply::Standing(row.map(|row| row.head).unwrap_or_default())))
    }

    /// [P-5] Everything there is, of one snapshot.
    fn recover(&self, conn: Conn) -> Vec<Reply> {
        let Some(descriptor) = self.descriptors.get(&conn) else { return Vec::new() };
        let store: &dyn Store = self.shows.as_ref().map_or(&self.store, |shown| shown);
        let parts = Recovery::open(store, &descriptor.id()).and_then(|mut recovery| {
            let mut parts = Vec::new();
            while let Some(part) = recovery.next_part()? {
                parts.push(Reply::Part(part));
            }
            Ok(parts)
        });
        parts.unwrap_or_else(|refusal| vec![Reply::Refused(refusal)])
    }

    /// [P-10] A part of a transfer.
    fn take_part(&mut self, conn: Conn, part: Transfer) -> Result<Option<Reply>, Refusal> {
        let Some(descriptor) = self.descriptors.get(&conn).cloned() else { return Ok(None) };
        let last = !part.head.is_empty();
        match self.step_transfer(conn, &descriptor, part) {
            Ok(()) => Ok(None),
            Err(refusal) => {
                self.doomed |= matches!(refusal.code, RefusalCode::OutcomeUnknown | RefusalCode::Unavailable);
                let _ = self.place.take_if(|place| *place == conn);
                if !last {
                    self.incoming.insert(conn, Incoming::Refused);
                }
                Err(refusal)
            }
        }
    }

    /// A branch may be replaced only by an owner that saw all of it: another home of the same key may have published since this one asked,
    /// and what was receipted to it would be in no merge. Seeds 236 and 542 lost it so.
    fn check_told(&self, conn: Conn, descriptor: &QueueDescriptor) -> Result<(), Refusal> {
        let stands = self.stands_at(&descriptor.id()).map_or(Cursor::start(&descriptor.id()), |head| head.cursor());
        match self.told.get(&conn) {
            Some(told) if *told != stands => Err(Refusal::new(RefusalCode::Conflict, "the queue went on since this stream was told")),
            _ => Ok(()),
        }
    }

    fn step_transfer(&mut self, conn: Conn, descriptor: &QueueDescriptor, part: Transfer) -> Result<(), Refusal> {
        let last = !part.head.is_empty();
        let mut check = match self.incoming.remove(&conn) {
            Some(Incoming::Running(check)) => check,
            Some(Incoming::Refused) => {
                if !last {
                    self.incoming.insert(conn, Incoming::Refused);
                }
                return Ok(());
            }
            None if self.place.is_some() => return Err(Refusal::new(RefusalCode::Busy, "another transfer is on its way")),
            None => {
                self.check_told(conn, descriptor)?;
                Box::new(TransferCheck::open(descriptor.clone(), &self.store, 0)?)
            }
        };
        self.place = Some(conn);
        for staged in check.take(&part)? {
            self.store.stage(&staged).map_err(|error| refusal_of(&error))?;
        }
        if !last {
            self.incoming.insert(conn, Incoming::Running(check));
            return Ok(());
        }
        let last = LastPart::check(descriptor, part.head, part.rows)?;
        let found = Overlay::default().find(&self.store, &check.queue(), &check.lookups()).map_err(|error| refusal_of(&error))?;
        let work = check.finish(last, &found)?.into();
        self.waiting.push(Waiting { conn, work });
        Ok(())
    }

    fn acknowledge(&mut self, conn: Conn, bytes: bytes::Bytes) -> Result<Option<Reply>, Refusal> {
        let Some(subscription) = self.subscriptions.get(&conn) else { return Ok(None) };
        let acked = check_acknowledgement(&subscription.queue(), &subscription.reader(), bytes)?;
        let rank = acked.rank;
        match self.store.acknowledge(&[acked]) {
            Ok(()) => Ok(Some(Reply::Acknowledged(rank))),
            Err(error) => {
                self.doomed |= is_fatal(&error);
                Err(refusal_of(&error))
            }
        }
    }

    /// Commits everything that waits as one group; answers, and wakes live subscriptions.
    pub(crate) fn commit(&mut self, now: u64) -> Vec<(Conn, Reply)> {
        let waiting = std::mem::take(&mut self.waiting);
        let (conns, group): (Vec<_>, Vec<_>) = waiting.into_iter().map(|waiting| (waiting.conn, waiting.work)).unzip();
        let _ = self.place.take_if(|place| conns.contains(place));
        let answers = self.commit.commit_group(&self.store, Timestamp::new(now), group);
        let mut replies = Vec::new();
        for (conn, answer) in conns.into_iter().zip(answers) {
            match answer {
                Ok(Receipted { receipt, committed }) => {
                    self.told.insert(conn, committed.head.cursor());
                    replies.push((conn, Reply::Receipt(receipt.sign(&self.key))));
                    replies.extend(self.fan_out(&committed));
                }
                Err(refusal) => {
                    self.doomed |= matches!(refusal.code, RefusalCode::OutcomeUnknown | RefusalCode::Unavailable);
                    replies.push((conn, Reply::Refused(refusal)));
                }
            }
        }
        replies
    }

    fn fan_out(&mut self, committed: &Arc<Committed>) -> Vec<(Conn, Reply)> {
        let mut replies = Vec::new();
        let live = self.subscriptions.iter_mut().filter(|(_, subscription)| subscription.queue() == committed.queue);
        for (conn, subscription) in live {
            match subscription.on_committed(committed) {
                FanOut::Shared => replies.extend(committed.frames().into_iter().flatten().map(|reply| (*conn, reply))),
                FanOut::Ask => {
                    self.busy.insert(*conn);
                }
            }
        }
        replies
    }

    /// One step of one subscription: a frame to send, or a read.
    pub(crate) fn step(&mut self, conn: Conn, dice: &mut Dice) -> Option<Reply> {
        let Some(subscription) = self.subscriptions.get_mut(&conn) else {
            // It ended, or went with a crash.
            self.busy.remove(&conn);
            return None;
        };
        match subscription.next() {
            Next::Send(reply) => Some(reply),
            Next::Read(read) => {
                match small(&read, &self.store, dice) {
                    Ok(answer) => subscription.on_answer(answer),
                    Err(error) => subscription.on_failure(&error),
                }
                None
            }
            Next::Wait(_) => {
                self.busy.remove(&conn);
                None
            }
            Next::End => {
                self.busy.remove(&conn);
                self.subscriptions.remove(&conn);
                None
            }
        }
    }

    /// Whether the store, as a crash would leave it, holds at least what was promised.
    pub(crate) fn stands_at(&self, queue: &QueueId) -> Option<tidings_core::SignedHead> {
        let row = self.store.queue(queue).expect("no read fails here")?;
        Some(tidings_core::SignedHead::parse(row.head).expect("a stored head"))
    }
}

/// Performs a read in chunks of a few entries, so that deltas have many.
pub(crate) fn small(read: &Read, store: &dyn Store, dice: &mut Dice) -> Result<Answer, StoreError> {
    let limit = ScanLimit { entries: 1 + dice.roll(4) as usize, bytes: usize::MAX };
    match read {
        Read::Scan(queue, after) => store.scan(queue, *after, limit).map(Answer::Scan),
        Read::Bitmap(queue, through) => store.bitmap(queue, *through, limit).map(Answer::Bitmap),
        other => other.perform(store),
    }
}

fn is_fatal(error: &StoreError) -> bool {
    matches!(error, StoreError::Poisoned | StoreError::Indeterminate(_))
}
