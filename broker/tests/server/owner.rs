//! An owner with one queue, which is also its only reader.

use bytes::Bytes;
use tidings_core::grant::attachment_hash;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::reader::{MemoryReaderStore, Reader, Step};
use tidings_core::writer::{AccessChange, Draft, Invitee, NewTerm, SignRequest, Writer};
use tidings_core::{AccessRow, Entropy, NodeKey, Object, Pulse, Version};
use tidings_proto::frames::{Open, Publish};
use tidings_proto::{Epoch, HeadRank, Pseudonym, Reply, Request, Term, Timestamp};

use crate::client::{TestClient, TestStream};

#[derive(Clone)]
pub(crate) struct TestOwner {
    pub(crate) key: NodeKey,
    pub(crate) writer: Writer,
    steps: u64,
    /// How often it was copied: two copies draw different numbers.
    copies: u8,
}

impl TestOwner {
    pub(crate) fn new(seed: u8) -> Self {
        let key = NodeKey::from_seed([seed; 32]);
        let writer = Writer::create(&key, &mut Entropy::new([seed; 32]));
        Self { key, writer, steps: 0, copies: 0 }
    }

    /// What a copy of its state goes on as: in a higher term, under a new name and a new epoch.
    pub(crate) fn fork(&self) -> Self {
        let mut fork = Self { copies: self.copies + 1, ..self.clone() };
        let how = NewTerm::on_found_head(Epoch::new(0));
        fork.writer.open_term(Term::new(0), how, &mut Entropy::new([fork.copies; 32])).expect("a term above");
        fork
    }

    pub(crate) fn open(&self) -> Request {
        Request::Open(Open { descriptor: self.writer.descriptor().encode().into() })
    }

    /// Signs a publish of new records with values of `bytes` each.
    pub(crate) fn publish(&mut self, records: u64, bytes: usize) -> Publish {
        self.steps += 1;
        let now = Timestamp::new(self.steps);
        let mut version = Version::ZERO;
        let changes = (0..records).map(|record| {
            version = Version::after(version, now, self.key.version_node());
            let mutation = Mutation {
                path: format!("/{}/{record}", self.steps).parse().expect("a path"),
                operation: Operation::Create,
                version,
                object: None,
                inline: Some(Bytes::from(vec![7; bytes])),
                headers: Vec::new(),
                unknown: Vec::new(),
            };
            Draft { mutation, prior: None }
        });
        let changes = changes.collect();
        self.sign(changes, AccessChange { add: vec![], remove: vec![], rotate: false, locator: String::new() })
    }

    /// Signs a publish that grants this node the queue.
    pub(crate) fn grant(&mut self, key: &NodeKey) -> Publish {
        self.steps += 1;
        let add = vec![Invitee { card: key.card(), name: "a reader".into() }];
        self.sign(vec![], AccessChange { add, remove: vec![], rotate: false, locator: String::new() })
    }

    /// Signs a publish that ends this reader's access.
    pub(crate) fn revoke(&mut self, reader: Pseudonym) -> Publish {
        self.steps += 1;
        self.sign(vec![], AccessChange { add: vec![], remove: vec![reader], rotate: false, locator: String::new() })
    }

    /// Signs a pulse about the newest head.
    pub(crate) fn pulse(&self, time: u64) -> Bytes {
        let head = self.writer.head().expect("signed");
        let (time, next) = (Timestamp::new(time), Timestamp::new(u64::MAX));
        Pulse { queue: self.writer.queue(), rank: head.rank(), head: head.hash(), time, next }.sign(&self.key)
    }

    fn sign(&mut self, changes: Vec<Draft>, access: AccessChange) -> Publish {
        let now = Timestamp::new(self.steps);
        let request = SignRequest { changes, floor: None, access };
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&self.steps.to_be_bytes());
        seed[8] = self.copies;
        self.writer.sign(&self.key, request, now, &mut Entropy::new(seed)).expect("signed").publish()
    }

    /// The owner as a reader, from its first publish.
    pub(crate) fn reader(&self, first: &Publish) -> TestReader {
        self.reader_with(first, &self.key)
    }

    /// A reader, from the publish that granted it the queue.
    pub(crate) fn reader_with(&self, granting: &Publish, key: &NodeKey) -> TestReader {
        let rows = granting.access_put.iter().map(|bytes| AccessRow::decode(bytes).expect("a row"));
        let grants = rows.filter_map(|row| granting.attachments.iter().find(|bytes| attachment_hash(bytes) == row.grant));
        let mut joined = grants.filter_map(|grant| Reader::join(self.writer.descriptor().clone(), grant, key).ok());
        let reader = joined.next().expect("a grant for this key");
        TestReader { reader, store: MemoryReaderStore::default(), key: key.clone() }
    }
}

/// A reader that verifies all it is sent.
pub(crate) struct TestReader {
    pub(crate) reader: Reader,
    store: MemoryReaderStore,
    key: NodeKey,
}

impl TestReader {
    pub(crate) async fn subscribe(&mut self, client: &mut TestClient) -> TestStream {
        client.prove_pseudonym(&self.reader.pseudonym_key()).await;
        let subscribe = self.reader.begin("broker", &mut self.store).expect("memory does not fail");
        let mut stream = client.stream().await;
        stream.send(Request::Subscribe(subscribe)).await;
        stream
    }

    /// Reads until the head of this rank is verified.
    pub(crate) async fn follow(&mut self, stream: &mut TestStream, rank: HeadRank) {
        while self.reader.cursor().rank < rank {
            let step = match stream.reply().await.expect("the stream goes on") {
                Reply::Grant(grant) => self.reader.on_grant(&grant, &self.key, &mut self.store),
                Reply::Announce(announce) => self.reader.on_announce(&announce, &mut self.store),
                Reply::Chunk(chunk) => self.reader.on_chunk(&chunk, &mut self.store),
                other => panic!("not of a delta: {other:?}"),
            };
            match step.expect("memory does not fail") {
                Step::Continue | Step::Accepted(_) => {}
                other => panic!("an honest broker leads to {other:?}"),
            }
        }
    }
}
