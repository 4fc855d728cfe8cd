//! Makes appends as fast as a store can take them: right in form, signed heads that chain, but entries that nobody can open.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tidings_broker::store::{Append, LiveRow, QueueRow};
use tidings_core::{Cursor, EpochCommitment, Frontier, Head, NodeKey, Object, QueueState, SignedHead, Version, WriterId};
use tidings_proto::{Birth, EntryDigest, Epoch, HeadNumber, Offset, QueueId, Term, Timestamp};

/// Bytes that entries are cut from: no two entries of a queue that follow each other are the same.
const POOL: usize = 1 << 16;

/// One queue as its owner sees it.
pub(crate) struct Author {
    key: Arc<NodeKey>,
    pub(crate) queue: QueueId,
    head: Option<SignedHead>,
    frontier: Option<Frontier>,
    offset: u64,
    entry_bytes: usize,
    /// The live entry of each record.
    pub(crate) live: Vec<LiveRow>,
}

/// Numbers that come again with the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Below `bound`, which is above 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// Some of the numbers of a range, each once.
    pub(crate) fn some_of(&mut self, range: std::ops::Range<usize>, count: usize) -> Vec<usize> {
        let mut drawn = std::collections::BTreeSet::new();
        while drawn.len() < count.min(range.len()) {
            drawn.insert(range.start + self.below(range.len()));
        }
        drawn.into_iter().collect()
    }
}

/// An id that looks like a hash.
pub(crate) fn queue_id(number: u64) -> QueueId {
    let mut dice = Dice::new((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    QueueId::new(std::array::from_fn(|_| dice.below(256) as u8))
}

fn pool() -> &'static Bytes {
    static POOL_BYTES: OnceLock<Bytes> = OnceLock::new();
    POOL_BYTES.get_or_init(|| {
        let mut dice = Dice::new(77);
        Bytes::from_iter((0..2 * POOL).map(|_| dice.below(256) as u8))
    })
}

impl Author {
    /// A queue that nothing was published to; its entries have this many bytes.
    pub(crate) fn new(number: u64, entry_bytes: usize) -> Self {
        static KEY: OnceLock<Arc<NodeKey>> = OnceLock::new();
        let key = KEY.get_or_init(|| Arc::new(NodeKey::from_seed([1; 32]))).clone();
        Self { key, queue: queue_id(number), head: None, frontier: None, offset: 0, entry_bytes, live: Vec::new() }
    }

    /// The next publish: new records.
    pub(crate) fn add(&mut self, count: usize) -> Append {
        let entries = (0..count).map(|_| {
            let entry = self.entry(None);
            self.live.push(entry.0);
            entry
        });
        let entries = entries.collect();
        Append { entries, ..self.sign() }
    }

    /// The next publish: new entries of these records, each named once.
    pub(crate) fn update(&mut self, records: &[usize]) -> Append {
        let (mut entries, mut retired) = (Vec::new(), Vec::new());
        for record in records {
            let entry = self.entry(Some(self.live[*record].birth));
            retired.push(std::mem::replace(&mut self.live[*record], entry.0));
            entries.push(entry);
        }
        Append { entries, retired, ..self.sign() }
    }

    /// The newest offset.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    fn entry(&mut self, birth: Option<Birth>) -> (LiveRow, Bytes) {
        self.offset += 1;
        let mut digest = [self.offset as u8; 32];
        digest[..8].copy_from_slice(&self.offset.to_be_bytes());
        let birth = birth.unwrap_or(Birth::new(self.offset));
        let row = LiveRow { offset: Offset::new(self.offset), birth, digest: EntryDigest::new(digest), bytes: self.entry_bytes as u32 };
        let start = self.offset as usize * 61 % POOL;
        (row, pool().slice(start..start + self.entry_bytes))
    }

    fn sign(&mut self) -> Append {
        let expected = self.head.as_ref().map(SignedHead::hash);
        let (mut frontier, mut history) =
            self.frontier.take().map_or_else(|| Frontier::start(&self.queue), |frontier| (frontier, Vec::new()));
        let head = self.next_head(frontier.root()).sign(&self.key);
        history.extend(frontier.append(head.hash().bytes()));
        let row = QueueRow {
            descriptor: pool().slice(..45),
            head: head.bytes().clone(),
            live: Box::new([self.offset as u8; 2048]),
            access: Box::new([7; 2048]),
            frontier: Bytes::from(frontier.encode()),
            live_bytes: (self.live.len() * self.entry_bytes) as u64,
            since: Timestamp::new(1_000),
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
        Head {
            queue: self.queue,
            writer: WriterId([1; 16]),
            term: Term::new(1),
            base: start,
            number: self.head.as_ref().and_then(|head| head.rank().number.next()).unwrap_or(HeadNumber::new(1)),
            offset: Offset::new(self.offset),
            live_count: self.live.len() as u64,
            live_root: [2; 32],
            floor: Offset::ZERO,
            floor_version: Version::ZERO,
            purged: Head::purged_hash(&[]),
            epoch: Epoch::new(1),
            epochs: vec![EpochCommitment { epoch: Epoch::new(1), commitment: [3; 32] }],
            access_root: [4; 32],
            access_count: 0,
            history_root,
            previous: self.head.as_ref().map_or(start.head, SignedHead::hash),
            state: QueueState::Open,
            time: Timestamp::new(5),
        }
    }
}
