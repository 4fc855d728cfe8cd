//! Makes appends that are right in form: heads that chain, dense offsets, one live entry for each birth.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_core::{Cursor, EpochCommitment, Frontier, Head, NodeKey, Object, QueueState, SignedHead, Version, WriterId};
use tidings_proto::{Birth, EntryDigest, Epoch, HeadNumber, HeadRank, Offset, QueueId, Term, Timestamp};

use super::super::{Acked, Append, LiveRow, QueueRow};

/// One queue as its owner sees it. Heads are signed, but set hashes and entries are only told apart, not real: no store looks.
#[derive(Clone)]
pub struct Publisher {
    key: NodeKey,
    /// The queue; not derived from the key, so that checks can choose neighbours.
    pub queue: QueueId,
    term: Term,
    head: Option<SignedHead>,
    frontier: Option<Frontier>,
    offset: u64,
    live: BTreeMap<Birth, LiveRow>,
}

impl Publisher {
    /// A queue that nothing was published to.
    pub fn new(queue: QueueId) -> Self {
        let key = NodeKey::from_seed([1; 32]);
        Self { key, queue, term: Term::new(1), head: None, frontier: None, offset: 0, live: BTreeMap::new() }
    }

    /// Live rows, ascending by birth.
    pub fn live(&self) -> Vec<LiveRow> {
        self.live.values().copied().collect()
    }

    /// The newest head.
    ///
    /// # Panics
    /// If nothing was published.
    pub fn head(&self) -> &SignedHead {
        self.head.as_ref().expect("something was published")
    }

    /// The next publish: a new record for each `None`, a new entry of a record for each birth.
    pub fn publish(&mut self, births: &[Option<Birth>]) -> Append {
        let (mut entries, mut retired) = (Vec::new(), Vec::new());
        for birth in births {
            self.offset += 1;
            let row = self.row(birth.unwrap_or(Birth::new(self.offset)));
            retired.extend(self.live.insert(row.birth, row));
            entries.push((row, entry_bytes(&row)));
        }
        Append { entries, retired, ..self.sign() }
    }

    /// The next publish: new records.
    pub fn records(&mut self, count: usize) -> Append {
        self.publish(&vec![None; count])
    }

    /// The next publish: the live entries of these births are purged.
    pub fn purge(&mut self, births: &[Birth]) -> Append {
        let retired = births.iter().filter_map(|birth| self.live.remove(birth)).collect();
        Append { retired, ended: births.to_vec(), ..self.sign() }
    }

    /// A new term that goes on from nothing: whatever was live is gone, and offsets begin at 1 again.
    pub fn start_over(&mut self, records: usize) -> Append {
        let (expected, gone) = (self.head.as_ref().map(SignedHead::hash), std::mem::take(&mut self.live));
        (self.term, self.head, self.frontier, self.offset) = (Term::new(self.term.value() + 7), None, None, 0);
        let append = self.records(records);
        Append { expected, retired: gone.values().copied().collect(), ended: gone.keys().copied().collect(), ..append }
    }

    /// An acknowledgement as the store gets it.
    pub fn acked(&self, reader: u8, term: u64, number: u64) -> Acked {
        let rank = HeadRank { term: Term::new(term), number: HeadNumber::new(number) };
        let bytes = Bytes::from(format!("reader {reader} has {rank}"));
        Acked { queue: self.queue, reader: tidings_proto::Pseudonym::new([reader; 32]), rank, bytes }
    }

    fn row(&self, birth: Birth) -> LiveRow {
        let digest = EntryDigest::new([self.offset as u8; 32]);
        LiveRow { offset: Offset::new(self.offset), birth, digest, bytes: 100 + (self.offset % 7) as u32 }
    }

    /// An append of the next head that changes nothing else.
    fn sign(&mut self) -> Append {
        let expected = self.head.as_ref().map(SignedHead::hash);
        let (mut frontier, mut history) =
            self.frontier.take().map_or_else(|| Frontier::start(&self.queue), |frontier| (frontier, Vec::new()));
        let head = self.next_head(frontier.root()).sign(&self.key);
        history.extend(frontier.append(head.hash().bytes()));
        let row = QueueRow {
            descriptor: Bytes::from_static(b"descriptor"),
            head: head.bytes().clone(),
            live: Box::new([self.offset as u8; 2048]),
            access: Box::new([access_of(head.rank().number); 2048]),
            frontier: Bytes::from(frontier.encode()),
            live_bytes: self.live.values().map(|row| u64::from(row.bytes)).sum(),
            since: Timestamp::new(1_000 + head.rank().number.value()),
        };
        (self.head, self.frontier) = (Some(head), Some(frontier));
        Append {
            queue: self.queue,
            expected,
            row,
            entries: Vec::new(),
            staged: Vec::new(),
            replaces: false,
            retired: Vec::new(),
            ended: Vec::new(),
            history,
            access_put: Vec::new(),
            access_removed: Vec::new(),
            attachments_put: Vec::new(),
            attachments_removed: Vec::new(),
        }
    }

    fn next_head(&self, history_root: [u8; 32]) -> Head {
        let start = Cursor::start(&self.queue);
        let number = self.head.as_ref().and_then(|head| head.rank().number.next()).unwrap_or(HeadNumber::new(1));
        Head {
            queue: self.queue,
            writer: WriterId([1; 16]),
            term: self.term,
            base: start,
            number,
            offset: Offset::new(self.offset),
            live_count: self.live.len() as u64,
            live_root: [2; 32],
            floor: Offset::ZERO,
            floor_version: Version::ZERO,
            purged: Head::purged_hash(&[]),
            epoch: Epoch::new(1),
            epochs: vec![EpochCommitment { epoch: Epoch::new(1), commitment: [3; 32] }],
            access_root: [access_of(number); 32],
            access_count: 0,
            history_root,
            previous: self.head.as_ref().map_or(start.head, SignedHead::hash),
            state: QueueState::Open,
            time: Timestamp::new(5),
        }
    }
}

/// What stands for the state of the access list at a head, and for what it hashes to: another one at every third head.
fn access_of(number: HeadNumber) -> u8 {
    (number.value() / 3) as u8
}

/// What stands for the encoded entry of a row: its length is right, and no two entries of a queue are equal.
pub fn entry_bytes(row: &LiveRow) -> Bytes {
    let mut bytes = vec![row.birth.value() as u8; row.bytes as usize];
    bytes[..8].copy_from_slice(&row.offset.value().to_be_bytes());
    Bytes::from(bytes)
}
