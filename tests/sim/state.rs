//! What an owner keeps durably. A clone is a backup, or the home of another machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::access::Rights;
use tidings_core::head::WriterId;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::path::RecordPath;
use tidings_core::writer::{OwnRecord, Signed};
use tidings_core::{Cursor, Object, SignedHead, Writer, attachment_hash};
use tidings_proto::frames::{Publish, Transfer};
use tidings_proto::{ContentHash, HeadHash, HeadNumber, HeadRank, Offset, Pseudonym, Term};

/// Publishes that are kept for sending.
const KEPT: usize = 6;
/// Entries of one part of a transfer.
const PART: usize = 4;

/// A live record.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) record: OwnRecord,
    pub(crate) mutation: Mutation,
    pub(crate) entry: Bytes,
}

/// Everything an owner decides by, but for its conversations.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) writer: Writer,
    pub(crate) records: BTreeMap<RecordPath, Kept>,
    pub(crate) attachments: BTreeMap<ContentHash, Bytes>,
    /// Hash of each head, from number 1, and where it stands, if that is known.
    pub(crate) history: Vec<(HeadHash, Option<Cursor>)>,
    pub(crate) outbox: BTreeMap<RecordPath, Mutation>,
    /// The newest publishes of this history, without a gap.
    pub(crate) log: VecDeque<Publish>,
    pub(crate) clock: u64,
    pub(crate) known: BTreeMap<[u8; 16], Term>,
    /// Heads of branches that were given up and merged.
    pub(crate) merged: BTreeSet<HeadHash>,
    /// What of the newest merge still waits.
    pub(crate) merging: BTreeSet<RecordPath>,
    /// Readers that the next term's first publish removes.
    pub(crate) removals: Vec<Pseudonym>,
    /// Since which head each reader was one, and at which its access ended.
    pub(crate) readers: BTreeMap<Pseudonym, (HeadNumber, HeadNumber)>,
    /// Up to this head it was rebuilt on what a broker held: whose access ended below, and when, is not known.
    pub(crate) rebuilt: HeadNumber,
}

impl State {
    pub(crate) fn new(writer: Writer) -> Self {
        let known = BTreeMap::from([(writer.writer().0, Term::ZERO)]);
        Self {
            writer,
            known,
            records: BTreeMap::new(),
            attachments: BTreeMap::new(),
            history: Vec::new(),
            outbox: BTreeMap::new(),
            log: VecDeque::new(),
            clock: 0,
            merged: BTreeSet::new(),
            merging: BTreeSet::new(),
            removals: Vec::new(),
            readers: BTreeMap::new(),
            rebuilt: HeadNumber::ZERO,
        }
    }

    pub(crate) fn rank(&self) -> HeadRank {
        self.writer.head().map(SignedHead::rank).unwrap_or_default()
    }

    pub(crate) fn hash_of(&self, number: HeadNumber) -> Option<HeadHash> {
        let at = usize::try_from(number.value().checked_sub(1)?).ok()?;
        self.history.get(at).map(|(hash, _)| *hash)
    }

    pub(crate) fn know(&mut self, writer: WriterId, term: Term) {
        let confirmed = self.known.entry(writer.0).or_default();
        *confirmed = term.max(*confirmed);
    }

    /// Every value that lives, by path; the owner's own places too.
    pub(crate) fn view(&self) -> BTreeMap<RecordPath, Bytes> {
        let live = self.records.values().filter(|kept| !kept.record.tombstone);
        live.map(|kept| (kept.record.path.clone(), kept.mutation.inline.clone().unwrap_or_default())).collect()
    }

    /// The readers but the owner.
    pub(crate) fn granted(&self) -> Vec<Pseudonym> {
        let readers = self.writer.readers().iter().filter(|reader| reader.row.rights != Rights::Owner);
        readers.map(|reader| reader.row.pseudonym).collect()
    }

    /// Takes what was signed, as one transaction. `mutations` are those of the entries, in their order.
    pub(crate) fn apply(&mut self, writer: Writer, signed: &Signed, mutations: Vec<Mutation>) {
        self.records.retain(|_, kept| !signed.ended.contains(&kept.record.birth));
        for ((record, entry), mutation) in signed.entries.iter().zip(mutations) {
            self.outbox.remove(&record.path);
            self.records.insert(record.path.clone(), Kept { record: record.clone(), mutation, entry: entry.clone() });
        }
        self.attachments.extend(signed.attachments.iter().map(|bytes| (attachment_hash(bytes), bytes.clone())));
        let number = signed.head.rank().number;
        self.writer = writer;
        for reader in self.granted() {
            self.readers.entry(reader).or_insert((number, HeadNumber::ZERO));
        }
        for gone in &signed.access_removed {
            self.readers.entry(*gone).or_default().1 = number;
        }
        self.history.push((signed.head.hash(), Some(signed.head.cursor())));
        self.log.push_back(signed.publish());
        if self.log.len() > KEPT {
            self.log.pop_front();
        }
        let outbox = &self.outbox;
        self.merging.retain(|path| outbox.contains_key(path));
    }

    /// Publishes to send to a broker that stands at head `number`; `None` if those that are kept do not lead on from there.
    pub(crate) fn first_to_send(&self, number: HeadNumber) -> Option<HeadNumber> {
        let newest = self.rank().number;
        let first = HeadNumber::new(newest.value() + 1 - self.log.len() as u64);
        match () {
            () if self.log.is_empty() => (number == newest).then(|| HeadNumber::new(number.value() + 1)),
            () if first.value() <= number.value() + 1 => Some(first.max(number)),
            () => None,
        }
    }

    /// Kept publishes from head `number` on; `None` if some are not kept any more.
    pub(crate) fn publishes_from(&self, number: HeadNumber) -> Option<Vec<Publish>> {
        let first = self.rank().number.value() + 1 - self.log.len() as u64;
        let skip = usize::try_from(number.value().checked_sub(first)?).ok()?;
        Some(self.log.iter().skip(skip).cloned().collect())
    }

    /// [P-10] The parts that lead from `standing`, a head of this history or the start, to the newest head.
    pub(crate) fn transfer(&self, standing: &Cursor) -> Vec<Transfer> {
        let head = self.writer.head().expect("a head to lead to");
        let from = standing.rank.number.value() as usize;
        let hashes = self.history.iter().skip(from).take(self.history.len().saturating_sub(from + 1));
        let mut parts = vec![Transfer { history: hashes.map(|(hash, _)| *hash.bytes()).collect(), ..Transfer::default() }];
        if standing.offset > Offset::ZERO {
            parts.push(self.bitmap(standing.offset));
        }
        let mut above: Vec<_> = self.records.values().filter(|kept| kept.record.offset > standing.offset).collect();
        above.sort_by_key(|kept| kept.record.offset);
        for some in above.chunks(PART) {
            parts.push(Transfer { entries: some.iter().map(|kept| kept.entry.clone()).collect(), ..Transfer::default() });
        }
        let rows = self.writer.readers().iter().map(|reader| reader.row);
        let names = rows.clone().flat_map(|row| [row.grant, row.owner_copy]);
        parts.push(Transfer {
            attachments: names.map(|hash| self.attachments[&hash].clone()).collect(),
            rows: rows.map(|row| row.encode().into()).collect(),
            head: head.bytes().clone(),
            ..Transfer::default()
        });
        parts.retain(|part| *part != Transfer::default());
        parts
    }

    fn bitmap(&self, through: Offset) -> Transfer {
        let offsets = self.records.values().map(|kept| kept.record.offset).filter(|offset| *offset <= through);
        let live: RoaringTreemap = offsets.map(Offset::value).collect();
        let mut bytes = Vec::new();
        live.serialize_into(&mut bytes).expect("a vector takes all");
        Transfer { through, live: bytes.into(), ..Transfer::default() }
    }
}

/// A delete of a record.
pub(crate) fn delete_of(path: &RecordPath, version: tidings_core::Version) -> Mutation {
    mutation_of(path, version, None)
}

/// A write (`Some`) or a delete (`None`).
pub(crate) fn mutation_of(path: &RecordPath, version: tidings_core::Version, inline: Option<Bytes>) -> Mutation {
    let operation = if inline.is_some() { Operation::Create } else { Operation::Delete };
    Mutation { path: path.clone(), operation, version, object: None, inline, headers: Vec::new(), unknown: Vec::new() }
}
