//! An owner and a broker on paper: the smallest parts that speak the protocol, so that `Writer` and `Reader` can be tested
//! without the broker crate.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::entry::Entry;
use tidings_core::key::NodeKey;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::path::RecordPath;
use tidings_core::writer::{AccessChange, Draft, FloorStep, Invitee, OwnRecord, SignRequest, Signed};
use tidings_core::{
    AccessRow, Entropy, Frontier, NewTerm, NodeIndex, Object, ProofPlan, SetHash, SetKind, SignedHead, Version, Writer, attachment_hash,
};
use tidings_proto::frames::{Announce, Bitmap, Chunk, Publish, Reply, Subscribe, Transfer};
use tidings_proto::{Birth, ContentHash, HeadNumber, Offset, Pseudonym, Term, Timestamp};

/// An owner with its records in memory. A clone is what a durable copy of its state would be.
#[derive(Clone)]
pub struct Owner {
    pub key: Arc<NodeKey>,
    pub writer: Writer,
    pub records: BTreeMap<RecordPath, OwnRecord>,
    pub values: BTreeMap<RecordPath, Bytes>,
    pub log: Vec<Publish>,
    seed: u64,
}

impl Owner {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [77; 32];
        bytes[0] = seed as u8;
        let key = NodeKey::from_seed(bytes);
        let mut owner = Self {
            writer: Writer::create(&key, &mut Entropy::new([1; 32])),
            key: Arc::new(key),
            records: BTreeMap::new(),
            values: BTreeMap::new(),
            log: Vec::new(),
            seed: seed << 32,
        };
        owner.publish(&[], None);
        owner
    }

    /// A copy of the home, which draws other randomness from now on.
    pub fn copied(&self, salt: u64) -> Self {
        Self { seed: self.seed ^ (salt << 48), ..self.clone() }
    }

    pub fn open_term(&mut self, seen: Term, how: NewTerm) {
        let mut entropy = self.entropy();
        self.writer.open_term(seen, how, &mut entropy).expect("terms are not used up");
    }

    /// A new epoch, for all readers but those that are removed.
    pub fn rotate(&mut self, remove: Vec<Pseudonym>) -> Signed {
        let access = AccessChange { remove, rotate: true, locator: "file:///store".into(), ..AccessChange::default() };
        self.sign(SignRequest { access, ..SignRequest::default() })
    }

    pub fn entropy(&mut self) -> Entropy {
        self.seed += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.seed.to_be_bytes());
        Entropy::new(bytes)
    }

    fn mutation(&self, path: RecordPath, value: Option<Bytes>) -> Mutation {
        let operation = if value.is_some() { Operation::Create } else { Operation::Delete };
        let version = Version::after(Version::ZERO, Timestamp::new(self.log.len() as u64), self.key.version_node());
        Mutation { path, operation, version, object: None, inline: value, headers: Vec::new(), unknown: Vec::new() }
    }

    /// Publishes writes (`Some`) and deletes (`None`); what has no effect is left out, as an owner's outbox would.
    pub fn publish(&mut self, changes: &[(RecordPath, Option<Bytes>)], floor: Option<Offset>) -> Signed {
        let request = self.request(changes, floor);
        self.sign(request)
    }

    /// What [`Self::publish`] gives to the writer.
    pub fn request(&mut self, changes: &[(RecordPath, Option<Bytes>)], floor: Option<Offset>) -> SignRequest {
        let mut drafts: Vec<Draft> = Vec::new();
        for (path, value) in changes {
            let prior = self.records.get(path).cloned();
            let lives = prior.as_ref().is_some_and(|record| !record.tombstone);
            if drafts.iter().any(|draft| draft.mutation.path == *path) || (value.is_none() && !lives) {
                continue;
            }
            drafts.push(Draft { mutation: self.mutation(path.clone(), value.clone()), prior });
            match value {
                Some(value) => self.values.insert(path.clone(), value.clone()),
                None => self.values.remove(path),
            };
        }
        let floor = floor.map(|target| self.floor_step(target));
        SignRequest { changes: drafts, floor, access: AccessChange::default() }
    }

    /// A faulty request: an entry of the record `of` that names `other`.
    pub fn foreign_path(&self, of: &RecordPath, other: &RecordPath) -> SignRequest {
        let draft = Draft { mutation: self.mutation(other.clone(), Some("foreign".into())), prior: self.records.get(of).cloned() };
        SignRequest { changes: vec![draft], ..SignRequest::default() }
    }

    fn floor_step(&self, target: Offset) -> FloorStep {
        let head = self.writer.head().expect("a head").head();
        let target = target.min(head.offset).max(head.floor);
        let mut gone: Vec<_> = self.records.values().filter(|record| record.tombstone && record.offset <= target).cloned().collect();
        gone.sort_by_key(|record| record.offset);
        FloorStep::capped(target, gone)
    }

    pub fn sign(&mut self, request: SignRequest) -> Signed {
        let now = Timestamp::new(1_000 + self.log.len() as u64);
        let mut entropy = self.entropy();
        let signed = self.writer.sign(&self.key, request, now, &mut entropy).expect("the request is sound");
        for (record, _) in &signed.entries {
            self.records.insert(record.path.clone(), record.clone());
        }
        self.records.retain(|_, record| !signed.ended.contains(&record.birth));
        self.log.push(signed.publish());
        signed
    }

    pub fn grant(&mut self, reader: &NodeKey) -> Bytes {
        let add = vec![Invitee { card: reader.card(), name: "reader".into() }];
        let access = AccessChange { add, locator: "file:///store".into(), ..AccessChange::default() };
        self.sign(SignRequest { access, ..SignRequest::default() }).granted[0].grant.clone()
    }
}

/// A broker that keeps what it is sent and answers honestly.
#[derive(Default)]
pub struct PaperBroker {
    pub at: usize,
    pub entries: BTreeMap<Offset, Bytes>,
    pub heads: Vec<SignedHead>,
    births: BTreeMap<Birth, Offset>,
    nodes: BTreeMap<NodeIndex, [u8; 32]>,
    frontier: Option<Frontier>,
    pub rows: BTreeMap<Pseudonym, Bytes>,
    pub attachments: HashMap<ContentHash, Bytes>,
    pub graveyard: Vec<Bytes>,
}

impl PaperBroker {
    pub fn receive(&mut self, log: &[Publish], publishes: usize) {
        for publish in log.iter().skip(self.at).take(publishes) {
            self.apply(publish);
            self.at += 1;
        }
    }

    fn apply(&mut self, publish: &Publish) {
        let head = SignedHead::parse(publish.head.clone()).expect("a head");
        let frontier = self.frontier.get_or_insert_with(|| {
            let (frontier, nodes) = Frontier::start(&head.head().queue);
            self.nodes.extend(nodes);
            frontier
        });
        self.nodes.extend(frontier.append(head.hash().bytes()));
        for bytes in &publish.entries {
            let entry = Entry::decode(bytes).expect("an entry");
            if let Some(old) = self.births.insert(entry.birth, entry.offset) {
                self.graveyard.extend(self.entries.remove(&old));
            }
            self.entries.insert(entry.offset, bytes.clone());
        }
        for offset in &publish.purged {
            self.graveyard.extend(self.entries.remove(offset));
            self.births.retain(|_, at| at != offset);
        }
        for row in &publish.access_put {
            self.rows.insert(AccessRow::decode(row).expect("a row").pseudonym, row.clone());
        }
        self.rows.retain(|pseudonym, _| !publish.access_removed.contains(pseudonym));
        self.attachments.extend(publish.attachments.iter().map(|bytes| (attachment_hash(bytes), bytes.clone())));
        let named: Vec<_> = self.access_rows().flat_map(|row| [row.grant, row.owner_copy]).collect();
        self.attachments.retain(|hash, _| named.contains(hash));
        self.heads.push(head);
    }

    pub fn access_rows(&self) -> impl Iterator<Item = AccessRow> {
        self.rows.values().map(|row| AccessRow::decode(row).expect("a row"))
    }

    /// The grant that a subscription lacks.
    pub fn grant_for(&self, subscribe: &Subscribe) -> Option<Bytes> {
        let row = self.access_rows().find(|row| row.pseudonym == subscribe.reader)?;
        (row.grant.bytes() != subscribe.grant.as_ref()).then(|| self.attachments[&row.grant].clone())
    }

    /// What a broker checks before it takes a publish: the set and the list are those that the newest head signs, and so is its past.
    pub fn assert_sets_are_signed(&self) {
        let head = self.head().head();
        let (mut live, mut access) = (SetHash::new(SetKind::Live), SetHash::new(SetKind::Access));
        self.entries.values().for_each(|bytes| live.add(Entry::digest_of(bytes, &head.queue).bytes()));
        self.rows.values().for_each(|row| access.add(row));
        assert_eq!((self.entries.len() as u64, live.root()), (head.live_count, head.live_root));
        assert_eq!((self.rows.len() as u32, access.root()), (head.access_count, head.access_root));
        let (mut history, _) = Frontier::start(&head.queue);
        self.heads[..self.heads.len() - 1].iter().for_each(|head| _ = history.append(head.hash().bytes()));
        assert_eq!(history.root(), head.history_root);
        let named = self.access_rows().flat_map(|row| [row.grant, row.owner_copy]);
        assert!(named.into_iter().all(|hash| self.attachments.contains_key(&hash)));
    }

    /// All of it, in parts of at most `size` items.
    pub fn parts(&self, size: usize) -> Vec<Transfer> {
        let hashes: Vec<[u8; 32]> = self.heads[..self.heads.len() - 1].iter().map(|head| *head.hash().bytes()).collect();
        let entries: Vec<Bytes> = self.entries.values().cloned().collect();
        let attachments: Vec<Bytes> = self.attachments.values().cloned().collect();
        let mut parts: Vec<_> = hashes.chunks(size).map(|some| Transfer { history: some.to_vec(), ..Transfer::default() }).collect();
        parts.extend(entries.chunks(size).map(|some| Transfer { entries: some.to_vec(), ..Transfer::default() }));
        parts.extend(attachments.chunks(size).map(|some| Transfer { attachments: some.to_vec(), ..Transfer::default() }));
        let rows = self.rows.values().cloned().collect();
        parts.push(Transfer { head: self.head().bytes().clone(), rows, ..Transfer::default() });
        parts
    }

    pub fn head(&self) -> &SignedHead {
        self.heads.last().expect("a broker that received something")
    }

    /// The head with the proof that it descends from number `base`.
    pub fn announce(&self, base: HeadNumber) -> Announce {
        let head = self.head();
        let (number, base_value) = (head.rank().number.value(), base.value());
        let mut announce = Announce { head: head.bytes().clone(), base, leaf: Bytes::new(), proof: Vec::new() };
        if base_value < number {
            let leaf = self.nodes[&NodeIndex { level: 0, index: base_value }];
            announce.leaf = Bytes::copy_from_slice(&leaf);
            if base_value + 1 < number {
                let plan = ProofPlan::new(base_value, number).expect("a leaf of the tree");
                let hashes: Vec<_> = plan.nodes().iter().map(|node| self.nodes[node]).collect();
                announce.proof = plan.assemble(&hashes).expect("all nodes are there");
            }
        }
        announce
    }
}

/// One subscription at a paper broker.
pub struct Session {
    base: HeadNumber,
    position: Offset,
    announced: bool,
}

impl Session {
    pub fn new(subscribe: &Subscribe) -> Self {
        Self { base: subscribe.cursor, position: subscribe.position, announced: false }
    }

    /// The announcement, if the broker's head is not announced yet.
    fn announce(&mut self, broker: &PaperBroker) -> Option<Reply> {
        let number = broker.head().rank().number;
        if self.announced && number == self.base {
            return None;
        }
        let announce = broker.announce(self.base);
        self.announced = true;
        self.base = number;
        Some(Reply::Announce(announce))
    }

    /// The next frames: an announcement if needed and a chunk of at most `size` entries.
    pub fn next(&mut self, broker: &PaperBroker, size: usize) -> Vec<Reply> {
        let mut replies: Vec<_> = self.announce(broker).into_iter().collect();
        let above: Vec<_> = broker.entries.range(self.position.next().expect("small")..).take(size + 1).collect();
        let complete = above.len() <= size;
        let taken: Vec<_> = above.into_iter().take(size).collect();
        if let Some((last, _)) = taken.last() {
            self.position = **last;
        }
        let head = broker.head();
        if complete {
            self.position = head.head().offset;
        }
        let entries = taken.into_iter().map(|(_, bytes)| bytes.clone()).collect();
        replies.push(Reply::Chunk(Chunk { stamp: head.rank(), entries, complete }));
        replies
    }

    /// The answer to `AskBitmap`, in `parts` parts, with the next chunk from the same snapshot.
    pub fn bitmap(&mut self, broker: &PaperBroker, parts: u64, size: usize) -> Vec<Reply> {
        let mut replies: Vec<_> = self.announce(broker).into_iter().collect();
        let through = self.position.value();
        let mut after = 0;
        for part in 1..=parts {
            let to = if part == parts { through } else { through * part / parts };
            let live: RoaringTreemap =
                broker.entries.keys().map(|offset| offset.value()).filter(|offset| *offset > after && *offset <= to).collect();
            let mut bytes = Vec::new();
            live.serialize_into(&mut bytes).expect("a vector takes all");
            let stamp = broker.head().rank();
            replies.push(Reply::Bitmap(Bitmap {
                stamp,
                after: Offset::new(after),
                through: Offset::new(to),
                live: bytes.into(),
                last: part == parts,
            }));
            after = to;
        }
        replies.extend(self.next(broker, size));
        replies
    }
}

/// A short path for a small number.
pub fn path(number: u64) -> RecordPath {
    format!("/record/{number}").parse().expect("a path")
}

/// A small deterministic generator, so that a failing seed can be repeated.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0xD1B5_4A32_D192_ED03))
    }

    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}
