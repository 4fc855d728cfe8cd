//! An owner with one queue, which is also its only reader.

use bytes::Bytes;
use tidings_core::grant::attachment_hash;
use tidings_core::mutation::{Mutation, Operation};
use tidings_core::reader::{MemoryReaderStore, Reader, Step};
use tidings_core::writer::{AccessChange, Draft, SignRequest, Writer};
use tidings_core::{AccessRow, Entropy, NodeKey, Object, Version};
use tidings_proto::frames::{Open, Publish};
use tidings_proto::{HeadRank, Reply, Request, Timestamp};

use crate::client::{TestClient, TestStream};

pub(crate) struct TestOwner {
    pub(crate) key: NodeKey,
    pub(crate) writer: Writer,
    steps: u64,
}

impl TestOwner {
    pub(crate) fn new(seed: u8) -> Self {
        let key = NodeKey::from_seed([seed; 32]);
        let writer = Writer::create(&key, &mut Entropy::new([seed; 32]));
        Self { key, writer, steps: 0 }
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
        let access = AccessChange { add: vec![], remove: vec![], rotate: false, locator: String::new() };
        let request = SignRequest { changes: changes.collect(), floor: None, access };
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&self.steps.to_be_bytes());
        self.writer.sign(&self.key, request, now, &mut Entropy::new(seed)).expect("signed").publish()
    }

    /// The owner as a reader, from its first publish.
    pub(crate) fn reader(&self, first: &Publish) -> TestReader {
        let row = AccessRow::decode(&first.access_put[0]).expect("the owner's own row");
        let grant = first.attachments.iter().find(|bytes| attachment_hash(bytes) == row.grant).expect("its grant");
        let reader = Reader::join(self.writer.descriptor().clone(), grant, &self.key).expect("its own grant");
        TestReader { reader, store: MemoryReaderStore::default(), key: self.key.clone() }
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
