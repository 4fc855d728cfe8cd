//! A real owner with all it ever signed: puts, replaces, deletes, purges, grants, revokes. The same in every run.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::access::AccessRow;
use tidings_core::grant::{Grant, attachment_hash};
use tidings_core::key::NodeKey;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::writer::{AccessChange, Draft, FloorStep, Invitee, NewTerm, OwnRecord, SignRequest, Writer};
use tidings_core::{Entropy, Entry, Object, Pulse, QueueDescriptor, RecordPath, SignedHead, Version};
use tidings_proto::frames::{Publish, Transfer};
use tidings_proto::{Epoch, Offset, Timestamp};

/// What live records hold.
pub(crate) type View = BTreeMap<RecordPath, Bytes>;

/// Everything about one owner and its queue.
pub(crate) struct Story {
    pub(crate) owner: NodeKey,
    pub(crate) reader: NodeKey,
    pub(crate) descriptor: QueueDescriptor,
    /// The reader's first grant.
    pub(crate) grant: Bytes,
    /// What it signed.
    pub(crate) line: Line,
    /// What it signed after its state was lost: the first publishes of `line`, then others in a higher term. [P-4]
    pub(crate) branch: Line,
    /// The writer's row in the end.
    pub(crate) writer: Writer,
}

/// A queue from its first publish on.
#[derive(Clone, Default)]
pub(crate) struct Line {
    pub(crate) publishes: Vec<Publish>,
    pub(crate) heads: Vec<SignedHead>,
    /// What the records hold at each head.
    pub(crate) views: Vec<View>,
    /// One pulse for each head.
    pub(crate) pulses: Vec<Bytes>,
}

/// One step: records put, records deleted, floor, whether readers come, whether the epoch changes.
struct Step {
    put: &'static [u8],
    delete: &'static [u8],
    floor: Option<u64>,
    add: &'static [u8],
    rotate: bool,
}

const NONE: Step = Step { put: &[], delete: &[], floor: None, add: &[], rotate: false };

const STEPS: [Step; 10] = [
    Step { put: &[1, 2, 3, 4], add: &[9], ..NONE },
    Step { put: &[2], add: &[10, 11], ..NONE },
    Step { put: &[5, 6], ..NONE },
    Step { put: &[7], delete: &[1], ..NONE },
    Step { put: &[3], ..NONE },
    Step { put: &[8, 9], floor: Some(9), ..NONE },
    Step { put: &[1], rotate: true, ..NONE },
    NONE,
    Step { put: &[2], delete: &[9, 5], ..NONE },
    Step { put: &[9, 12, 13], floor: Some(16), ..NONE },
];

/// Publishes that the branch begins with.
const COMMON: usize = 6;

/// What it signs instead of the rest.
const BRANCH_STEPS: [Step; 4] = [
    Step { put: &[1, 14], ..NONE },
    Step { put: &[2], delete: &[3, 6], ..NONE },
    Step { put: &[15, 5], floor: Some(14), add: &[12], ..NONE },
    Step { delete: &[14], ..NONE },
];

/// The seed of the reader whose grant is [`Story::grant`].
const READER: u8 = 9;

/// The one story.
pub(crate) fn story() -> &'static Story {
    static STORY: OnceLock<Story> = OnceLock::new();
    STORY.get_or_init(tell)
}

impl Line {
    /// All of the first `taken` publishes, at least one, from zero, in one part.
    pub(crate) fn whole(&self, taken: usize) -> Transfer {
        let short = Self { publishes: self.publishes[..taken].to_vec(), heads: self.heads[..taken].to_vec(), ..Self::default() };
        short.transfer(0)
    }

    /// The whole way from the first `taken` publishes to the newest, in one part.
    pub(crate) fn transfer(&self, taken: usize) -> Transfer {
        let through = taken.checked_sub(1).map_or(Offset::ZERO, |last| self.heads[last].head().offset);
        let live = self.live_entries();
        let kept: RoaringTreemap = live.keys().filter(|offset| **offset <= through).map(|offset| offset.value()).collect();
        let (rows, attachments) = self.access();
        let last = self.heads.len() - 1;
        Transfer {
            history: self.heads[taken.min(last)..last].iter().map(|head| *head.hash().bytes()).collect(),
            after: Offset::ZERO,
            through,
            live: if taken == 0 { Bytes::new() } else { serialized(&kept) },
            entries: live.range(Offset::new(through.value() + 1)..).map(|(_, bytes)| bytes.clone()).collect(),
            attachments,
            head: self.heads[last].bytes().clone(),
            rows,
        }
    }

    /// Encoded entries that live in the end.
    pub(crate) fn live_entries(&self) -> BTreeMap<Offset, Bytes> {
        let (mut live, mut births) = (BTreeMap::new(), BTreeMap::new());
        for publish in &self.publishes {
            for bytes in &publish.entries {
                let entry = Entry::decode(bytes).expect("an own entry");
                births.insert(entry.birth, entry.offset).map(|old| live.remove(&old));
                live.insert(entry.offset, bytes.clone());
            }
            publish.purged.iter().for_each(|offset| drop(live.remove(offset)));
        }
        live
    }

    /// Access rows in the end, and what they name.
    pub(crate) fn access(&self) -> (Vec<Bytes>, Vec<Bytes>) {
        let (mut rows, mut attachments) = (BTreeMap::new(), BTreeMap::new());
        for publish in &self.publishes {
            publish.access_removed.iter().for_each(|reader| drop(rows.remove(reader)));
            let decoded = publish.access_put.iter().map(|bytes| (AccessRow::decode(bytes).expect("an own row"), bytes.clone()));
            rows.extend(decoded.map(|(row, bytes)| (row.pseudonym, (row, bytes))));
            attachments.extend(publish.attachments.iter().map(|bytes| (attachment_hash(bytes), bytes.clone())));
        }
        let named = rows.values().flat_map(|(row, _)| [row.grant, row.owner_copy]).map(|hash| attachments[&hash].clone()).collect();
        (rows.into_values().map(|(_, bytes)| bytes).collect(), named)
    }
}

/// A bitmap as it travels.
pub(crate) fn serialized(live: &RoaringTreemap) -> Bytes {
    let mut bytes = Vec::with_capacity(live.serialized_size());
    live.serialize_into(&mut bytes).expect("writing to memory cannot fail");
    bytes.into()
}

/// Signs step by step, with the tables that a writer's caller keeps.
#[derive(Clone)]
struct Teller {
    key: NodeKey,
    writer: Writer,
    records: BTreeMap<u8, OwnRecord>,
    version: Version,
    view: View,
    now: Timestamp,
}

fn tell() -> Story {
    // No key of docs/vectors: what those keys signed is not in this story.
    let key = NodeKey::from_seed([0x51; 32]);
    let writer = Writer::create(&key, &mut Entropy::new([1; 32]));
    let (records, view) = (BTreeMap::new(), View::new());
    let mut teller = Teller { key: key.clone(), writer, records, version: Version::ZERO, view, now: Timestamp::new(1_000) };
    let (descriptor, mut line) = (teller.writer.descriptor().clone(), Line::default());
    for (number, step) in STEPS.iter().enumerate().take(COMMON) {
        teller.sign(number, step, &mut line);
    }
    let branch = teller.clone().branch(line.clone());
    for (number, step) in STEPS.iter().enumerate().skip(COMMON) {
        teller.sign(number, step, &mut line);
    }
    let reader = NodeKey::from_seed([READER; 32]);
    let opens = |bytes: &&Bytes| Grant::open(bytes, &reader, &descriptor).is_ok();
    let grant = line.publishes[0].attachments.iter().find(opens).expect("the first publish grants").clone();
    Story { owner: key, reader, descriptor, grant, line, branch, writer: teller.writer }
}

impl Teller {
    /// Goes on from here in a higher term, as after a state that was put back.
    fn branch(mut self, mut line: Line) -> Line {
        // Above the epochs of the other line: both would else give one number to two secrets.
        let how = NewTerm::on_found_head(Epoch::new(9));
        self.writer.open_term(self.writer.term(), how, &mut Entropy::new([3; 32])).expect("terms are left");
        for (number, step) in BRANCH_STEPS.iter().enumerate() {
            self.sign(100 + number, step, &mut line);
        }
        line
    }

    fn sign(&mut self, number: usize, step: &Step, line: &mut Line) {
        self.now = Timestamp::new(self.now.value() + 1_000);
        let edits = step.put.iter().map(|name| (*name, true)).chain(step.delete.iter().map(|name| (*name, false)));
        let drafts: Vec<_> = edits.map(|(name, put)| (name, self.draft(name, put, number))).collect();
        let names: Vec<u8> = drafts.iter().map(|(name, _)| *name).collect();
        let floor = step.floor.map(|floor| self.floor_step(Offset::new(floor)));
        let add = step.add.iter().map(|seed| Invitee { card: NodeKey::from_seed([*seed; 32]).card(), name: format!("reader {seed}") });
        let access = AccessChange { add: add.collect(), rotate: step.rotate, ..AccessChange::default() };
        let request = SignRequest { changes: drafts.into_iter().map(|(_, draft)| draft).collect(), floor, access };
        let signed = self.writer.sign(&self.key, request, self.now, &mut Entropy::new([number as u8; 32])).expect("a possible request");
        self.records.retain(|_, record| !signed.purged.contains(&record.offset));
        self.records.extend(names.into_iter().zip(signed.entries.iter().map(|(record, _)| record.clone())));
        line.pulses.push(self.pulse(&signed.head));
        line.publishes.push(signed.publish());
        line.heads.push(signed.head);
        line.views.push(self.view.clone());
    }

    fn draft(&mut self, name: u8, put: bool, number: usize) -> Draft {
        self.version = Version::after(self.version, self.now, self.key.version_node());
        let path: RecordPath = format!("/record/{name}").parse().expect("a path");
        let value = Bytes::from(vec![name; 8 + number]);
        match put {
            true => self.view.insert(path.clone(), value.clone()),
            false => self.view.remove(&path),
        };
        let mutation = Mutation {
            path,
            operation: if put { Operation::Create } else { Operation::Delete },
            version: self.version,
            object: None,
            inline: put.then_some(value),
            headers: Vec::new(),
            unknown: Vec::new(),
        };
        Draft { mutation, prior: self.records.get(&name).cloned() }
    }

    fn floor_step(&self, floor: Offset) -> FloorStep {
        let highest = self.writer.head().map_or(Offset::ZERO, |head| head.head().offset);
        let floor = floor.min(highest);
        FloorStep { floor, purged: self.records.values().filter(|record| record.tombstone && record.offset <= floor).cloned().collect() }
    }

    fn pulse(&self, head: &SignedHead) -> Bytes {
        let next = Timestamp::new(self.now.value() + 500);
        let pulse = Pulse { queue: self.writer.queue(), rank: head.rank(), head: head.hash(), time: self.now, next };
        pulse.sign(&self.key)
    }
}
