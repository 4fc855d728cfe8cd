//! What really happened: every head that was signed with what it holds, every write, every promise. The parts under test never see it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidings_core::entry::Entry;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::path::RecordPath;
use tidings_core::{Object, SignedHead, Version};
use tidings_proto::frames::Publish;
use tidings_proto::{EntryDigest, HeadHash, HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Term};

/// A head, and what its owner knew when it signed it.
pub(crate) struct Signed {
    previous: HeadHash,
    rank: HeadRank,
    /// Every value that lives, by path.
    pub(crate) view: BTreeMap<RecordPath, Bytes>,
    pub(crate) readers: BTreeSet<Pseudonym>,
    writes: Vec<usize>,
}

/// One write of an application.
pub(crate) struct Written {
    queue: QueueId,
    row: Mutation,
    signed: Vec<HeadHash>,
    /// When each broker receipted a head that has it in its history.
    receipted: BTreeMap<usize, u64>,
}

/// What a value or delete is known by.
type Key = (QueueId, RecordPath, Version, Option<Bytes>);

/// Everything that was signed, written and promised.
#[derive(Default)]
pub(crate) struct Truth {
    heads: BTreeMap<HeadHash, Signed>,
    ranks: BTreeSet<(QueueId, Term, HeadNumber)>,
    offsets: BTreeSet<(QueueId, Term, Offset)>,
    nonces: BTreeSet<(QueueId, [u8; 24])>,
    /// Head that an entry was signed with.
    entries: BTreeMap<EntryDigest, HeadHash>,
    written: Vec<Written>,
    index: BTreeMap<Key, usize>,
    /// Heads below which everything is marked as receipted by a broker.
    held: BTreeSet<(usize, HeadHash)>,
    revoked: Vec<(QueueId, Pseudonym, HeadHash)>,
    /// When an owner lost what it had.
    lost: Vec<(QueueId, u64)>,
    /// When a broker was rolled back or began to lie.
    failed: Vec<(usize, u64)>,
}

/// What was found at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Receipted values that are where they should be.
    pub(crate) kept: u64,
    /// Receipted and lost, because the owner lost its state and every broker that held them was rolled back or lied.
    pub(crate) excused: u64,
    /// Values that live although somebody who knew them deleted them.
    pub(crate) resurrected: u64,
}

fn key(queue: QueueId, row: &Mutation) -> Key {
    (queue, row.path.clone(), row.version, row.inline.clone())
}

impl Truth {
    pub(crate) fn write(&mut self, queue: QueueId, row: &Mutation) {
        self.index.entry(key(queue, row)).or_insert(self.written.len());
        self.written.push(Written { queue, row: row.clone(), signed: Vec::new(), receipted: BTreeMap::new() });
    }

    /// [P-3] A rank, a place in a term, and a nonce are used once.
    pub(crate) fn sign(&mut self, publish: &Publish, rows: &[Mutation], view: BTreeMap<RecordPath, Bytes>, readers: BTreeSet<Pseudonym>) {
        let head = SignedHead::parse(publish.head.clone()).expect("own head");
        let (queue, rank) = (head.head().queue, head.rank());
        assert!(self.ranks.insert((queue, rank.term, rank.number)), "rank {rank} was signed twice");
        for bytes in &publish.entries {
            let entry = Entry::decode(bytes).expect("own entry");
            assert!(self.offsets.insert((queue, entry.term, entry.offset)), "a place in a term was used twice");
            assert!(self.nonces.insert((queue, entry.nonce)), "a nonce was used twice");
            self.entries.insert(entry.digest(&queue), head.hash());
        }
        let before = self.heads.get(&head.head().previous).map(|before| before.readers.clone()).unwrap_or_default();
        self.revoked.extend(before.difference(&readers).map(|reader| (queue, *reader, head.hash())));
        let writes: Vec<usize> = rows.iter().filter_map(|row| self.index.get(&key(queue, row)).copied()).collect();
        writes.iter().for_each(|write| self.written[*write].signed.push(head.hash()));
        self.heads.insert(head.hash(), Signed { previous: head.head().previous, rank, view, readers, writes });
    }

    pub(crate) fn signed(&self, head: &HeadHash) -> &Signed {
        self.heads.get(head).expect("a verified head was signed by somebody")
    }

    /// Whether `older` is `newer` or in its history; the start is in every history.
    pub(crate) fn descends(&self, newer: &HeadHash, older: &HeadHash) -> bool {
        let Some(target) = self.heads.get(older).map(|head| head.rank.number) else { return true };
        let mut at = *newer;
        while let Some(head) = self.heads.get(&at).filter(|head| head.rank.number > target) {
            at = head.previous;
        }
        at == *older
    }

    /// A broker says that it holds a head, durably.
    pub(crate) fn receipt(&mut self, broker: usize, head: &HeadHash, now: u64) {
        let mut at = *head;
        while let Some(signed) = self.heads.get(&at) {
            if !self.held.insert((broker, at)) {
                return;
            }
            for write in &signed.writes {
                self.written[*write].receipted.entry(broker).or_insert(now);
            }
            at = signed.previous;
        }
    }

    pub(crate) fn owner_lost(&mut self, queue: QueueId, now: u64) {
        self.lost.push((queue, now));
    }

    pub(crate) fn broker_failed(&mut self, broker: usize, now: u64) {
        self.failed.push((broker, now));
    }

    /// Whether what was signed last may be known to nobody any more: the owner lost its state, and a broker what it held.
    pub(crate) fn is_forgotten(&self, queue: &QueueId) -> bool {
        self.lost.iter().any(|(of, _)| of == queue) && !self.failed.is_empty()
    }

    /// [P-17] Nothing that was sealed after a revocation of this reader leaves for it.
    pub(crate) fn check_entries(&self, reader: &Pseudonym, queue: &QueueId, entries: &[Bytes]) {
        let revoked: Vec<&HeadHash> = self.revoked.iter().filter(|(_, gone, _)| gone == reader).map(|(.., head)| head).collect();
        for bytes in entries {
            let head = self.entries.get(&Entry::digest_of(bytes, queue)).expect("an entry that somebody signed");
            let after = revoked.iter().any(|revocation| self.descends(head, revocation));
            assert!(!after, "a reader was sent what was sealed after its revocation");
        }
    }

    /// [P-5] A revocation in this history, or in a branch that was merged into it, stands.
    pub(crate) fn check_revocations(&self, newest: &SignedHead, merged: &BTreeSet<HeadHash>) {
        let queue = newest.head().queue;
        let readers = &self.signed(&newest.hash()).readers;
        for (_, reader, head) in self.revoked.iter().filter(|(of, ..)| *of == queue) {
            let binds = self.descends(&newest.hash(), head) || merged.contains(head);
            let rank = self.signed(head).rank;
            assert!(!binds || !readers.contains(reader), "the revocation of {reader:?} at head {rank} was undone at {}", newest.rank());
        }
    }

    /// [P-5] Every value that a broker receipted lives, was overwritten or deleted by somebody, or is kept below `/.tidings/rescued/`.
    pub(crate) fn judge(&self, queue: QueueId, records: &BTreeMap<RecordPath, Mutation>) -> Judged {
        let mut judged = Judged::default();
        let held = self.written.iter().filter(|written| written.queue == queue && !written.receipted.is_empty());
        for written in held {
            if written.row.operation == Operation::Delete {
                judged.resurrected += u64::from(self.is_resurrected(written, records));
            } else if self.is_there(written, records) {
                judged.kept += 1;
            } else {
                assert!(self.is_excused(written), "a receipted value is lost: {}", self.describe(written));
                judged.excused += 1;
            }
        }
        judged
    }

    /// For a person who looks into a failed run.
    fn describe(&self, written: &Written) -> String {
        let Written { row, signed, receipted, .. } = written;
        let ranks: Vec<String> = signed.iter().map(|head| format!("{}:{head:?}", self.signed(head).rank)).collect();
        format!("{} {:?} {:?}, signed with {ranks:?}, receipted {receipted:?}", row.path, row.version.clock, row.inline)
    }

    fn is_there(&self, written: &Written, records: &BTreeMap<RecordPath, Mutation>) -> bool {
        let row = &written.row;
        let replaces = |version: Version, value: &Option<Bytes>| version > row.version || (version == row.version && *value == row.inline);
        let lives = records.get(&row.path).is_some_and(|live| replaces(live.version, &live.inline));
        let rescued = |kept: &Mutation| kept.rescued().is_some_and(|was| was.path == row.path && replaces(was.version, &kept.inline));
        let deletes = |later: &Written| {
            let delete = later.row.operation == Operation::Delete && later.row.path == row.path;
            delete && later.queue == written.queue && later.row.version > row.version
        };
        lives || records.values().any(rescued) || self.written.iter().any(deletes)
    }

    fn is_excused(&self, written: &Written) -> bool {
        // Milliseconds of the wall clock are above the counter. It may be receipted after its owner lost it: frames are late.
        let first = written.row.version.clock >> 16;
        let failed = |(broker, held): (&usize, &u64)| self.failed.iter().any(|(of, time)| of == broker && time >= held);
        self.lost.iter().any(|(of, time)| *of == written.queue && *time >= first) && written.receipted.iter().all(failed)
    }

    fn is_resurrected(&self, deleted: &Written, records: &BTreeMap<RecordPath, Mutation>) -> bool {
        let earlier = |live: &&Mutation| live.operation != Operation::Delete && live.version < deleted.row.version;
        let Some(live) = records.get(&deleted.row.path).filter(earlier) else { return false };
        let Some(value) = self.index.get(&key(deleted.queue, live)).map(|index| &self.written[*index]) else { return false };
        let knew = |delete: &HeadHash| value.signed.iter().any(|signed| self.descends(delete, signed));
        deleted.signed.iter().any(knew)
    }
}
