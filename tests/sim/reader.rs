//! A reader with an application: state, cursor and changes are one transaction; the acknowledgement follows the application's.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::key::NodeKey;
use tidings_core::mutation::Mutation;
use tidings_core::path::RecordPath;
use tidings_core::reader::{Change, ChangeKind, HeldKind, MemoryReaderStore};
use tidings_core::{Object, Reader, Step};
use tidings_proto::{HeadRank, Reply, Request};

use crate::net::Conn;

/// A reader's process and its application.
pub(crate) struct SimReader {
    key: Arc<NodeKey>,
    reader: Reader,
    store: MemoryReaderStore,
    durable: (Vec<u8>, MemoryReaderStore),
    /// The application's own durable state.
    pub(crate) seen: BTreeMap<RecordPath, Bytes>,
    /// Changes that the application committed; the reader may not know yet.
    handed: bool,
    pub(crate) conn: Option<Conn>,
    /// Highest acknowledgement the broker said is durable.
    pub(crate) acknowledged: HeadRank,
}

/// What a frame led to.
pub(crate) enum Took {
    Nothing,
    Ask,
    Accepted,
    Behind,
}

impl SimReader {
    pub(crate) fn new(key: Arc<NodeKey>, reader: Reader) -> Self {
        let store = MemoryReaderStore::default();
        let durable = (reader.encode(), store.clone());
        Self { key, reader, store, durable, seen: BTreeMap::new(), handed: false, conn: None, acknowledged: HeadRank::default() }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What is verified, as records.
    pub(crate) fn holds(&self) -> BTreeMap<RecordPath, Bytes> {
        let rows = self.store.rows().filter(|row| row.kind == HeldKind::Value);
        let value = |bytes| Mutation::decode(bytes).expect("verified").inline.expect("inline");
        rows.filter_map(|row| Some((row.path.clone()?, value(&row.bytes)))).collect()
    }

    pub(crate) fn subscribe(&mut self, conn: Conn) -> Request {
        self.conn = Some(conn);
        Request::Subscribe(self.reader.begin("the broker", &mut self.store).expect("memory does not fail"))
    }

    /// Takes a frame. `commit`: also make durable what is only staged.
    pub(crate) fn take(&mut self, reply: &Reply, commit: bool) -> Took {
        let store = &mut self.store;
        let step = match reply {
            Reply::Announce(announce) => self.reader.on_announce(announce, store),
            Reply::Chunk(chunk) => self.reader.on_chunk(chunk, store),
            Reply::Bitmap(bitmap) => self.reader.on_bitmap(bitmap, store),
            Reply::Grant(grant) => self.reader.on_grant(grant, &self.key, store),
            Reply::Acknowledged(rank) => {
                self.acknowledged = self.acknowledged.max(*rank);
                return Took::Nothing;
            }
            _ => return Took::Behind,
        };
        let took = match step.expect("memory does not fail") {
            Step::Continue => Took::Nothing,
            Step::AskBitmap => Took::Ask,
            Step::Accepted(_) => {
                // What waits now is more than what the application has.
                self.handed = false;
                Took::Accepted
            }
            Step::Behind => Took::Behind,
            accusation => panic!("an honest broker was answered with {accusation:?}"),
        };
        if commit || matches!(took, Took::Accepted) {
            self.durable = (self.reader.encode(), self.store.clone());
        }
        took
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
        self.durable = (self.reader.encode(), self.store.clone());
        Some(Request::Acknowledge(self.reader.acknowledgement()))
    }

    /// At least once: applying a change twice is applying it once.
    fn apply(&mut self, change: Change) {
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
        // Whatever waits may have been handed out by the process that died.
        self.store.hand_out();
        (self.handed, self.conn) = (false, None);
    }
}
