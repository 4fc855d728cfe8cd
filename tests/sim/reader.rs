//! A reader with an application: state, cursor and changes are one transaction; the acknowledgement follows the application's.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::key::NodeKey;
use tidings_core::mutation::Mutation;
use tidings_core::path::RecordPath;
use tidings_core::reader::{Accepted, Change, ChangeKind, Fault, HeldKind, MemoryReaderStore};
use tidings_core::{Object, Reader, SignedHead, Step, Verdict};
use tidings_proto::{HeadHash, HeadRank, QueueId, Reply, Request};

use crate::net::Conn;

/// A reader's process and its application.
pub(crate) struct SimReader {
    key: Arc<NodeKey>,
    reader: Reader,
    store: MemoryReaderStore,
    /// The head accepted last; the start before the first.
    held: HeadHash,
    durable: (Vec<u8>, MemoryReaderStore, HeadHash),
    pub(crate) queue: QueueId,
    /// The highest rank announced to it.
    told: HeadRank,
    /// The broker it reads at.
    pub(crate) broker: usize,
    /// The application's own durable state.
    pub(crate) seen: BTreeMap<RecordPath, Bytes>,
    /// Changes that the application committed; the reader may not know yet.
    handed: bool,
    pub(crate) conn: Option<Conn>,
    /// Highest acknowledgement that each broker said is durable.
    pub(crate) acknowledged: BTreeMap<usize, HeadRank>,
}

/// What a frame led to.
pub(crate) enum Took {
    Nothing,
    Ask,
    /// With the head that was held before.
    Accepted(Box<Accepted>, HeadHash),
    /// Subscribe again here.
    Again,
    /// Another broker, or this one later.
    Behind,
    /// The owner ended the access, by this head.
    Denied(SignedHead),
    /// The owner went on from before the head that was held, by this head.
    Rewound(SignedHead, HeadHash),
}

impl SimReader {
    pub(crate) fn new(key: Arc<NodeKey>, reader: Reader) -> Self {
        let store = MemoryReaderStore::default();
        let (queue, held) = (reader.queue(), HeadHash::ZERO);
        let durable = (reader.encode(), store.clone(), held);
        let acknowledged = BTreeMap::new();
        Self {
            key,
            reader,
            store,
            held,
            durable,
            queue,
            told: HeadRank::default(),
            broker: 0,
            seen: BTreeMap::new(),
            handed: false,
            conn: None,
            acknowledged,
        }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The highest rank that it accepted or was told of.
    pub(crate) fn seen_rank(&self) -> HeadRank {
        self.told.max(self.reader.cursor().rank)
    }

    /// What is verified, as records.
    pub(crate) fn holds(&self) -> BTreeMap<RecordPath, Bytes> {
        let rows = self.store.rows().filter(|row| row.kind == HeldKind::Value);
        let value = |bytes| Mutation::decode(bytes).expect("verified").inline.expect("inline");
        rows.filter_map(|row| Some((row.path.clone()?, value(&row.bytes)))).collect()
    }

    pub(crate) fn subscribe(&mut self, conn: Conn) -> Request {
        self.conn = Some(conn);
        Request::Subscribe(self.reader.begin(&format!("broker {}", self.broker), &mut self.store).expect("memory does not fail"))
    }

    /// Takes a frame. `commit`: also make durable what is only staged.
    pub(crate) fn take(&mut self, reply: &Reply, commit: bool) -> Took {
        let store = &mut self.store;
        let step = match reply {
            Reply::Announce(announce) => self.reader.on_announce(announce, store),
            Reply::Chunk(chunk) => self.reader.on_chunk(chunk, store),
            Reply::Bitmap(bitmap) => self.reader.on_bitmap(bitmap, store),
            Reply::Grant(grant) => self.reader.on_grant(grant, &self.key, store),
            Reply::Acknowledged(_) => return Took::Nothing,
            Reply::Refused(refusal) if self.reader.is_denied(refusal) => {
                return Took::Denied(SignedHead::parse(refusal.head.clone()).expect("a head that justifies it"));
            }
            _ => return Took::Behind,
        };
        self.told = self.told.max(self.reader.announced().unwrap_or_default());
        let took = self.took(step.expect("memory does not fail"));
        if commit || matches!(took, Took::Accepted(..)) {
            self.keep();
        }
        took
    }

    fn took(&mut self, step: Step) -> Took {
        match step {
            Step::Continue => Took::Nothing,
            Step::AskBitmap => Took::Ask,
            Step::Accepted(accepted) => {
                // What waits now is more than what the application has.
                self.handed = false;
                let before = std::mem::replace(&mut self.held, accepted.cursor.head);
                Took::Accepted(Box::new(accepted), before)
            }
            Step::Behind => Took::Behind,
            // What was staged at another broker stands in a branch that was replaced.
            Step::Restart(Fault::Branch) => Took::Again,
            Step::Verdict(finding) if finding.verdict == Verdict::Rewound => {
                let announced = finding.evidence.and_then(|evidence| evidence.announced.last().cloned()).expect("the head it rests on");
                let head = SignedHead::parse(announced).expect("a verified head");
                self.told = self.told.max(head.rank());
                Took::Rewound(head, self.held)
            }
            accusation => panic!("an honest broker was answered with {accusation:?}"),
        }
    }

    fn keep(&mut self) {
        self.durable = (self.reader.encode(), self.store.clone(), self.held);
    }

    /// The application takes what waits and commits it.
    pub(crate) fn hand_out(&mut self) {
        for change in self.store.hand_out() {
            self.apply(change);
        }
        self.handed = true;
    }

    /// The application's commit is known to the reader: what was handed out is forgotten, and acknowledged.
    pub(crate) fn acknowledge(&mut self) -> Option<Request> {
        if !std::mem::take(&mut self.handed) {
            return None;
        }
        self.store.take_changes();
        self.keep();
        Some(Request::Acknowledge(self.reader.acknowledgement()))
    }

    /// At least once: applying a change twice is applying it once.
    fn apply(&mut self, change: Change) {
        assert!(!change.path.is_reserved(), "the owner's own places were handed out");
        match change.kind {
            ChangeKind::Delete => self.seen.remove(&change.path),
            _ => {
                let value = Mutation::decode(&change.mutation).expect("verified").inline.expect("inline");
                self.seen.insert(change.path, value)
            }
        };
    }

    /// The process dies and starts again from what is durable.
    pub(crate) fn crash(&mut self) {
        self.reader = Reader::decode(&self.durable.0).expect("own state decodes");
        self.store = self.durable.1.clone();
        self.held = self.durable.2;
        // Whatever waits may have been handed out by the process that died.
        self.store.hand_out();
        (self.handed, self.conn) = (false, None);
    }
}
