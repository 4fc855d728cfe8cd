//! Two branches of the own queue become one, as the client does it, on the parts of it that are pure. [P-5]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::path::RecordPath;
use tidings_core::recovery::{Opened, OpenedRecord, Recovered};
use tidings_core::writer::OwnRecord;
use tidings_core::{
    Branch, Cursor, Entropy, Entry, Fate, NewTerm, Object, Parting, Side, SignedAt, SignedHead, TermKeys, Version, Writer, WriterName,
    attachment_hash, fate, key::NodeKey, rescue,
};
use tidings_proto::{HeadHash, HeadNumber, Offset, Pseudonym, QueueId, Term, Timestamp};

use crate::state::{Kept, State, delete_of};

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// The state was rebuilt on what was found.
    pub(crate) rebuilt: bool,
    /// There were two branches, and not only a state that was behind.
    pub(crate) parted: bool,
    pub(crate) rescued: u64,
    pub(crate) deleted: u64,
}

/// What else a merge is given.
pub(crate) struct Merging<'a> {
    pub(crate) key: &'a NodeKey,
    pub(crate) seen: Term,
    /// The state is a copy that signed nothing yet.
    pub(crate) moved: bool,
    pub(crate) now: Timestamp,
    pub(crate) entropy: Entropy,
}

struct Found<'a> {
    recovered: &'a Recovered,
    opened: Opened,
    fork: HeadNumber,
    parting: Parting,
    own_terms: BTreeMap<Offset, Term>,
}

impl Found<'_> {
    fn own(&self, record: &OwnRecord) -> Side {
        self.parting.own(self.own_terms.get(&record.offset).copied(), record.offset)
    }

    fn theirs(&self, record: &OwnRecord) -> Side {
        let found = self.recovered.entries().iter().find(|(entry, _)| entry.offset == record.offset);
        self.parting.theirs(found.map(|(entry, _)| entry.term), record.offset)
    }

    fn heads(&self) -> impl Iterator<Item = HeadHash> {
        let newest = self.recovered.head().rank().number.value();
        (self.fork.value() + 1..=newest).map(|number| self.recovered.hash_of(HeadNumber::new(number)).expect("a head below the newest"))
    }
}

fn signed_at(entry: &Entry, bytes: &[u8], queue: &QueueId) -> SignedAt {
    SignedAt { term: Some(entry.term), offset: entry.offset, digest: Entry::digest_of(bytes, queue) }
}

/// What becomes of each value.
struct Plan<'a> {
    live: &'a dyn Fn(&RecordPath) -> Option<Mutation>,
    floor_version: Version,
    publish: BTreeMap<RecordPath, Mutation>,
    /// Latest delete that found nothing to delete.
    dropped: Version,
    merged: Merged,
}

impl<'a> Plan<'a> {
    fn new(live: &'a dyn Fn(&RecordPath) -> Option<Mutation>, floor_version: Version) -> Self {
        Self { live, floor_version, publish: BTreeMap::new(), dropped: Version::ZERO, merged: Merged::default() }
    }

    fn take(&mut self, row: &Mutation) {
        match fate(row, self.now(&row.path).as_ref(), self.floor_version) {
            Fate::Publish => self.put(row.clone()),
            Fate::Rescue => {
                let rescued = rescue(row);
                if self.now(&rescued.path).is_none() {
                    self.merged.rescued += 1;
                    self.put(rescued);
                }
            }
            Fate::Nothing if row.operation == Operation::Delete => self.dropped = self.dropped.max(row.version),
            Fate::There | Fate::Nothing => {}
        }
    }

    fn now(&self, path: &RecordPath) -> Option<Mutation> {
        self.publish.get(path).cloned().or_else(|| (self.live)(path))
    }

    fn put(&mut self, row: Mutation) {
        let exists = (self.live)(&row.path).is_some_and(|live| live.operation != Operation::Delete);
        if row.operation == Operation::Delete && !exists {
            self.dropped = self.dropped.max(row.version);
            self.publish.remove(&row.path);
        } else {
            self.publish.insert(row.path.clone(), row);
        }
    }
}

impl State {
    /// Merges what was recovered, as one transaction; `None` if it is in the own history by now.
    pub(crate) fn merge(&mut self, recovered: &Recovered, mut with: Merging<'_>) -> Option<Merged> {
        let opened = recovered.open(with.key).expect("the owner opens what it signed");
        let (own, theirs) = (self.rank(), recovered.head().rank());
        let common = |number: &u64| self.hash_of(HeadNumber::new(*number)) == recovered.hash_of(HeadNumber::new(*number));
        let fork = (1..=own.number.min(theirs.number).value()).rev().find(common).map_or(HeadNumber::ZERO, HeadNumber::new);
        if fork == theirs.number {
            return None;
        }
        let lives = self.signed_at();
        let signed_at = |(entry, bytes): &(Entry, Bytes)| signed_at(entry, bytes, &self.writer.queue());
        let live: Vec<SignedAt> = recovered.entries().iter().map(signed_at).collect();
        let below = self.cursor_at_or_below(fork);
        let parting = match self.writer.head() {
            Some(head) if below.rank.number != fork => {
                let theirs = Branch { head: recovered.head().head(), live: &live };
                Parting::between(fork, &below, Branch { head: head.head(), live: &lives }, theirs)
            }
            _ => Parting::at(&below),
        };
        let own_terms = lives.iter().filter_map(|entry| Some((entry.offset, entry.term?))).collect();
        let found = Found { recovered, opened, fork, parting, own_terms };
        with.seen = with.seen.max(theirs.term).max(own.term);
        self.clock = self.latest(&found);
        Some(if fork < own.number && own > theirs { self.take_theirs(&found, with) } else { self.rebuild(&found, with) })
    }

    /// The newest head at or below `number` of which it is known where it stands.
    fn cursor_at_or_below(&self, number: HeadNumber) -> Cursor {
        let mut known = self.history.iter().take(number.value() as usize).rev();
        known.find_map(|(_, cursor)| *cursor).unwrap_or_else(|| Cursor::start(&self.writer.queue()))
    }

    /// Where the live entries were signed.
    fn signed_at(&self) -> Vec<SignedAt> {
        let decoded = |kept: &Kept| Entry::decode(&kept.entry).expect("an own entry");
        self.records.values().map(|kept| signed_at(&decoded(kept), &kept.entry, &self.writer.queue())).collect()
    }

    /// Whatever is written from now on is later than everything there is.
    fn latest(&self, found: &Found<'_>) -> u64 {
        let records = found.opened.records.iter().map(|row| row.record.version.clock);
        let outbox = self.outbox.values().map(|row| row.version.clock);
        let floor = found.recovered.head().head().floor_version.clock;
        records.chain(outbox).chain([floor, self.clock]).max().unwrap_or_default()
    }

    fn next_version(&mut self, with: &Merging<'_>) -> Version {
        let version = Version::after(Version { clock: self.clock, ..Version::ZERO }, with.now, with.key.version_node());
        self.clock = version.clock;
        version
    }

    /// The own branch goes on; theirs is the tail.
    fn take_theirs(&mut self, found: &Found<'_>, mut with: Merging<'_>) -> Merged {
        let tail: BTreeMap<&RecordPath, &OpenedRecord> = found.opened.records.iter().map(|row| (&row.record.path, row)).collect();
        let unchanged = |kept: &&Kept| found.own(&kept.record) == Side::Common && !kept.record.tombstone;
        let waits = |path: &RecordPath| self.outbox.contains_key(path) || tail.contains_key(path);
        let gone = self.records.values().filter(unchanged).map(|kept| kept.record.path.clone());
        let gone: Vec<RecordPath> = gone.filter(|path| !waits(path)).collect();
        let deletes: Vec<Mutation> = gone.iter().map(|path| delete_of(path, self.next_version(&with))).collect();
        let records = self.records.clone();
        let live = |path: &RecordPath| records.get(path).map(|kept| kept.mutation.clone());
        let floors = [self.floor_version(), found.recovered.head().head().floor_version];
        let mut plan = Plan::new(&live, floors[0]);
        plan.merged.deleted = deletes.len() as u64;
        deletes.into_iter().for_each(|row| plan.put(row));
        found.opened.records.iter().filter(|row| found.theirs(&row.record) != Side::Common).for_each(|row| plan.take(&row.mutation));
        let touched: Vec<&Mutation> = self.outbox.values().filter(|row| plan.publish.contains_key(&row.path)).collect();
        touched.into_iter().for_each(|row| plan.take(row));
        let name = if with.moved { WriterName::New } else { WriterName::Kept };
        let how = NewTerm { writer: name, keys: TermKeys::New { seen: found.opened.writer.current_epoch() } };
        let mut writer = self.writer.clone();
        writer.open_term(with.seen, how, &mut with.entropy).expect("terms are not used up");
        let known = |reader: &Pseudonym| self.readers.get(reader).is_none_or(|(since, _)| *since <= found.fork);
        // What an earlier merge owes and nobody signed yet is still owed. Seed 1385 forgot it, and a revocation was undone.
        self.removals.extend(lacking(&self.writer, &found.opened.writer).into_iter().filter(known));
        let (publish, dropped) = (plan.publish, plan.dropped);
        self.outbox.extend(publish);
        self.merged.extend(found.heads());
        self.finish(writer, floors.into_iter().chain([dropped]).max().unwrap_or_default());
        Merged { parted: true, ..plan.merged }
    }

    /// Their branch goes on; what was signed here since the fork is the tail.
    fn rebuild(&mut self, found: &Found<'_>, mut with: Merging<'_>) -> Merged {
        let parted = found.fork < self.rank().number;
        let base: BTreeMap<RecordPath, &OpenedRecord> = found.opened.records.iter().map(|row| (row.record.path.clone(), row)).collect();
        let live = |path: &RecordPath| base.get(path).map(|row| row.mutation.clone());
        let unchanged = |row: &&OpenedRecord| found.theirs(&row.record) == Side::Common && !row.record.tombstone;
        let waits = |path: &RecordPath| self.outbox.contains_key(path) || self.records.contains_key(path);
        let gone = found.opened.records.iter().filter(unchanged).map(|row| row.record.path.clone());
        let gone: Vec<RecordPath> = gone.filter(|path| !waits(path)).collect();
        let deletes: Vec<Mutation> = gone.iter().map(|path| delete_of(path, self.next_version(&with))).collect();
        let floors = [self.floor_version(), found.recovered.head().head().floor_version];
        let mut plan = Plan::new(&live, floors[1]);
        plan.merged.deleted = deletes.len() as u64;
        deletes.into_iter().for_each(|row| plan.put(row));
        let mut tail: Vec<&Kept> = self.records.values().filter(|kept| found.own(&kept.record) != Side::Common).collect();
        tail.sort_by_key(|kept| kept.record.offset);
        tail.into_iter().for_each(|kept| plan.take(&kept.mutation));
        self.outbox.values().for_each(|row| plan.take(row));
        let mut writer = found.opened.writer.clone();
        let how = NewTerm::on_found_head(self.writer.current_epoch());
        writer.open_term(with.seen, how, &mut with.entropy).expect("terms are not used up");
        // A state that was rebuilt above the fork does not know whom an earlier incarnation removed on this branch: everybody it lacks is
        // removed again. Seed 1283 gave a revoked reader its access back.
        let unsure = self.rebuilt > found.fork;
        let ended = |reader: &Pseudonym| unsure || self.readers.get(reader).is_some_and(|(_, ended)| *ended > HeadNumber::ZERO);
        self.removals.extend(lacking(&found.opened.writer, &self.writer).into_iter().filter(ended));
        let (publish, dropped, merged) = (plan.publish, plan.dropped, plan.merged);
        let left: Vec<HeadHash> = self.history.drain(found.fork.value() as usize..).map(|(hash, _)| hash).collect();
        self.merged.extend(left);
        self.take_over(found);
        self.outbox = publish;
        self.finish(writer, floors.into_iter().chain([dropped]).max().unwrap_or_default());
        Merged { rebuilt: true, parted, ..merged }
    }

    /// Everything sealed is that of the found branch.
    fn take_over(&mut self, found: &Found<'_>) {
        let kept = |row: &OpenedRecord| Kept { record: row.record.clone(), mutation: row.mutation.clone(), entry: row.entry.clone() };
        self.records = found.opened.records.iter().map(|row| (row.record.path.clone(), kept(row))).collect();
        let names = found.recovered.rows().iter().flat_map(|row| [row.grant, row.owner_copy]);
        let attachments = names.map(|hash| found.recovered.attachment(&hash).expect("every one that a row names").clone());
        self.attachments = attachments.map(|bytes| (attachment_hash(&bytes), bytes)).collect();
        self.history.extend(found.heads().map(|hash| (hash, None)));
        let newest = found.recovered.head();
        // Where the others of them stand is not known.
        for cursor in [newest.head().base, newest.cursor()] {
            let at = cursor.rank.number.value().checked_sub(1).filter(|at| *at >= found.fork.value());
            if let Some(row) = at.and_then(|at| self.history.get_mut(at as usize)) {
                row.1 = Some(cursor);
            }
        }
        self.log = VecDeque::new();
        self.rebuilt = newest.rank().number;
        self.know(newest.head().writer, Term::new(u64::MAX));
        for row in found.recovered.rows() {
            self.readers.entry(row.pseudonym).or_insert((HeadNumber::ZERO, HeadNumber::ZERO));
        }
    }

    fn floor_version(&self) -> Version {
        self.writer.head().map_or(Version::ZERO, |head: &SignedHead| head.head().floor_version)
    }

    fn finish(&mut self, mut writer: Writer, floor_version: Version) {
        writer.raise_floor_version(floor_version);
        self.know(writer.writer(), Term::ZERO);
        self.writer = writer;
        self.merging = self.outbox.keys().cloned().collect::<BTreeSet<_>>();
    }
}

/// Readers of one that the other does not have. The owner is none of them.
fn lacking(one: &Writer, other: &Writer) -> Vec<Pseudonym> {
    let has = |reader: &Pseudonym| other.readers().iter().any(|other| other.row.pseudonym == *reader);
    let readers = one.readers().iter().filter(|reader| reader.row.rights != tidings_core::Rights::Owner);
    readers.map(|reader| reader.row.pseudonym).filter(|reader| !has(reader)).collect()
}
