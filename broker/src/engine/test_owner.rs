//! An owner for the tests of engine and commit: the real writer with the tables its caller keeps.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_core::key::NodeKey;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::writer::{AccessChange, Draft, FloorStep, Invitee, NewTerm, OwnRecord, SignRequest, Signed, Writer};
use tidings_core::{Entropy, Head, QueueDescriptor, SetHash, SetKind, SignedHead, Version};
use tidings_proto::frames::Publish;
use tidings_proto::{Birth, Epoch, Offset, Pseudonym, QueueId, Term, Timestamp};

use super::publish::{Checked, check};

/// What happens to one record, named by a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Put(u8),
    Delete(u8),
}

/// One publish to come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) edits: Vec<Edit>,
    pub(crate) floor: Option<u64>,
    pub(crate) add: Vec<u8>,
    pub(crate) remove: Vec<Pseudonym>,
    pub(crate) rotate: bool,
}

/// Signs publishes that follow each other.
#[derive(Clone)]
pub(crate) struct TestOwner {
    key: NodeKey,
    writer: Writer,
    records: BTreeMap<u8, OwnRecord>,
    version: Version,
    steps: u64,
    /// How often it was copied: two copies draw different numbers.
    copies: u8,
}

impl TestOwner {
    pub(crate) fn new(seed: u8) -> Self {
        let key = NodeKey::from_seed([seed; 32]);
        let writer = Writer::create(&key, &mut Entropy::new([seed; 32]));
        Self { key, writer, records: BTreeMap::new(), version: Version::ZERO, steps: 0, copies: 0 }
    }

    pub(crate) fn descriptor(&self) -> &QueueDescriptor {
        self.writer.descriptor()
    }

    pub(crate) fn queue(&self) -> QueueId {
        self.writer.queue()
    }

    /// Readers that are not the owner; none before the first publish.
    pub(crate) fn readers(&self) -> Vec<Pseudonym> {
        let rows = self.writer.readers().iter().map(|reader| reader.row);
        rows.filter(|row| row.rights == tidings_core::access::Rights::Read).map(|row| row.pseudonym).collect()
    }

    /// The owner as a reader of its own queue.
    pub(crate) fn own_pseudonym(&self) -> Pseudonym {
        let rows = self.writer.readers().iter().map(|reader| reader.row);
        rows.filter(|row| row.rights == tidings_core::access::Rights::Owner).map(|row| row.pseudonym).next().expect("the owner reads")
    }

    /// Signs what of `request` is possible: deletes of what is not there and repeated records are left out.
    pub(crate) fn sign(&mut self, request: Request) -> Signed {
        self.steps += 1;
        let now = Timestamp::new(self.steps);
        let mut changes = BTreeMap::new();
        for edit in &request.edits {
            if let Some((name, draft)) = self.draft(*edit, now) {
                changes.entry(name).or_insert(draft);
            }
        }
        let floor = request.floor.map(|floor| self.floor_step(floor));
        let access = AccessChange {
            add: request.add.iter().map(|seed| self.invitee(*seed)).collect(),
            remove: request.remove,
            rotate: request.rotate,
            locator: String::new(),
        };
        let names: Vec<u8> = changes.keys().copied().collect();
        let sign = SignRequest { changes: changes.into_values().collect(), floor, access };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.steps.to_be_bytes());
        seed[8] = self.copies;
        let signed = self.writer.sign(&self.key, sign, now, &mut Entropy::new(seed)).expect("a possible request");
        self.records.retain(|_, record| !signed.purged.contains(&record.offset));
        self.records.extend(names.into_iter().zip(signed.entries.iter().map(|(record, _)| record.clone())));
        signed
    }

    /// What a copy of its state goes on as.
    pub(crate) fn copy(&self) -> Self {
        Self { copies: self.copies + 1, ..self.clone() }
    }

    /// The next publish is the first of a term above `seen` and its own, with a new name, a new epoch and new grants.
    pub(crate) fn open_term(&mut self, seen: u64) {
        let entropy = &mut Entropy::new([100 + self.copies; 32]);
        self.writer.open_term(Term::new(seen), NewTerm::on_found_head(Epoch::new(0)), entropy).expect("a term above");
    }

    /// Signs the last head of this term.
    pub(crate) fn close(&mut self) -> Publish {
        self.steps += 1;
        let now = Timestamp::new(self.steps);
        self.writer.close(&self.key, now, &mut Entropy::new([50; 32])).expect("open and signed before").publish()
    }

    /// Signs and checks.
    pub(crate) fn checked(&mut self, request: Request) -> Checked {
        let publish = self.sign(request).publish();
        check(self.descriptor(), publish).expect("a valid publish")
    }

    /// Puts these records.
    pub(crate) fn put(&mut self, names: &[u8]) -> Publish {
        self.sign(puts(names)).publish()
    }

    /// The publish with another head, signed by this owner.
    pub(crate) fn resign(&self, publish: &Publish, change: impl FnOnce(&mut Head)) -> Publish {
        let mut head = SignedHead::parse(publish.head.clone()).expect("an own head").head().clone();
        change(&mut head);
        Publish { head: head.sign(&self.key).bytes().clone(), ..publish.clone() }
    }

    /// Commitment to what lives now, from the owner's records alone.
    pub(crate) fn live_root(&self) -> [u8; 32] {
        let mut live = SetHash::new(SetKind::Live);
        self.records.values().for_each(|record| live.add(record.digest.bytes()));
        live.root()
    }

    /// Birth of a record.
    pub(crate) fn birth(&self, name: u8) -> Birth {
        self.records[&name].birth
    }

    fn draft(&mut self, edit: Edit, now: Timestamp) -> Option<(u8, Draft)> {
        let (name, operation) = match edit {
            Edit::Put(name) => (name, Operation::Create),
            Edit::Delete(name) => (name, Operation::Delete),
        };
        let prior = self.records.get(&name).cloned();
        if operation == Operation::Delete && prior.as_ref().is_none_or(|record| record.tombstone) {
            return None;
        }
        self.version = Version::after(self.version, now, self.key.version_node());
        let mutation = Mutation {
            path: format!("/record/{name}").parse().expect("a path"),
            operation,
            version: self.version,
            object: None,
            inline: (operation != Operation::Delete).then(|| Bytes::from(vec![name; 16])),
            headers: Vec::new(),
            unknown: Vec::new(),
        };
        Some((name, Draft { mutation, prior }))
    }

    /// A step towards `floor`, as far as the rules allow.
    fn floor_step(&self, floor: u64) -> FloorStep {
        let head = self.writer.head().map(SignedHead::head);
        let (lowest, highest) = head.map_or((0, 0), |head| (head.floor.value(), head.offset.value()));
        let floor = Offset::new(floor.clamp(lowest, highest));
        let purged = self.records.values().filter(|record| record.tombstone && record.offset <= floor).cloned().collect();
        FloorStep { floor, purged }
    }

    fn invitee(&self, seed: u8) -> Invitee {
        Invitee { card: NodeKey::from_seed([seed; 32]).card(), name: format!("reader {seed}") }
    }
}

/// A request that puts these records.
pub(crate) fn puts(names: &[u8]) -> Request {
    Request { edits: names.iter().map(|name| Edit::Put(*name)).collect(), ..Request::default() }
}
