//! The broker's process: the real engine and group commit over a store that fails, without sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_broker::commit::{CommitQueue, CommitSettings};
use tidings_broker::engine::{Answer, Checked, Committed, FanOut, Next, Read, Receipted, Subscription, check, check_acknowledgement};
use tidings_broker::store::{Fault, Faults, FaultyStore, ScanLimit, Store, StoreError};
use tidings_core::{Object, QueueDescriptor, ReceiptKey};
use tidings_proto::frames::Readers;
use tidings_proto::{QueueId, Refusal, RefusalCode, Reply, Request, Timestamp, VerifyingKey};

use crate::net::Conn;
use crate::paper::Dice;

/// A publish that waits for the next group.
struct Waiting {
    conn: Conn,
    checked: Checked,
}

/// A broker's process and its disk.
pub(crate) struct SimBroker {
    store: FaultyStore,
    key: ReceiptKey,
    commit: CommitQueue,
    waiting: Vec<Waiting>,
    descriptors: BTreeMap<Conn, QueueDescriptor>,
    subscriptions: BTreeMap<Conn, Subscription>,
    /// Subscriptions that have something to do.
    pub(crate) busy: std::collections::BTreeSet<Conn>,
    /// The store said something that makes a process stop.
    pub(crate) doomed: bool,
}

impl SimBroker {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            store: FaultyStore::new(bytes, Faults::NONE),
            key: ReceiptKey::from_seed([5; 32]),
            commit: CommitQueue::new(CommitSettings { hot_queues_max: 1, ..CommitSettings::default() }),
            waiting: Vec::new(),
            descriptors: BTreeMap::new(),
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
        self.subscriptions.clear();
        self.busy.clear();
        self.doomed = false;
    }

    /// Takes a frame; gives the answers.
    pub(crate) fn take(&mut self, conn: Conn, request: Request) -> Vec<Reply> {
        let answer = match request {
            Request::Open(open) => self.open(conn, &open.descriptor),
            Request::Publish(publish) => match self.descriptors.get(&conn) {
                Some(descriptor) => check(descriptor, publish).map(|checked| {
                    self.waiting.push(Waiting { conn, checked });
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
            // No owner of this world sends them.
            Request::Pulse(_) | Request::Transfer(_) | Request::Recover => Ok(None),
            Request::Hello(_) | Request::Prove(_) => Ok(None),
        };
        answer.unwrap_or_else(|refusal| Some(Reply::Refused(refusal))).into_iter().collect()
    }

    fn open(&mut self, conn: Conn, descriptor: &[u8]) -> Result<Option<Reply>, Refusal> {
        let descriptor = QueueDescriptor::decode(descriptor).expect("an honest owner's descriptor");
        let row = self.store.queue(&descriptor.id()).map_err(|error| tidings_broker::engine::refusal_of(&error))?;
        self.descriptors.insert(conn, descriptor);
        Ok(Some(Reply::Standing(row.map(|row| row.head).unwrap_or_default())))
    }

    fn acknowledge(&mut self, conn: Conn, bytes: bytes::Bytes) -> Result<Option<Reply>, Refusal> {
        let Some(subscription) = self.subscriptions.get(&conn) else { return Ok(None) };
        let acked = check_acknowledgement(&subscription.queue(), &subscription.reader(), bytes)?;
        let rank = acked.rank;
        match self.store.acknowledge(&[acked]) {
            Ok(()) => Ok(Some(Reply::Acknowledged(rank))),
            Err(error) => {
                self.doomed |= is_fatal(&error);
                Err(tidings_broker::engine::refusal_of(&error))
            }
        }
    }

    /// Commits everything that waits as one group; answers, and wakes live subscriptions.
    pub(crate) fn commit(&mut self, now: u64) -> Vec<(Conn, Reply)> {
        let waiting = std::mem::take(&mut self.waiting);
        let (conns, group): (Vec<_>, Vec<_>) = waiting.into_iter().map(|waiting| (waiting.conn, waiting.checked)).unzip();
        let answers = self.commit.commit_group(&self.store, Timestamp::new(now), group);
        let mut replies = Vec::new();
        for (conn, answer) in conns.into_iter().zip(answers) {
            match answer {
                Ok(Receipted { receipt, committed }) => {
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
        let subscription = self.subscriptions.get_mut(&conn)?;
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
