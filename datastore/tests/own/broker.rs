//! A broker in the same process that believes everything and gives receipts, when it is told to.

use std::sync::Arc;

use tidings_client::Dial;
use tidings_client::connection::{MemoryBroker, MemoryStream, memory_pair};
use tidings_client::dial::Dialing;
use tidings_core::{Object, QueueDescriptor, Receipt, ReceiptKey, SignedHead};
use tidings_proto::frames::{Limits, Readers, Welcome};
use tidings_proto::{BrokerAddress, QueueId, Reply, Request, Timestamp};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Broker {
    receipts: Arc<watch::Sender<bool>>,
    publishes: Arc<watch::Sender<u64>>,
}

fn receipt_key() -> ReceiptKey {
    ReceiptKey::from_seed([77; 32])
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self { receipts: Arc::new(watch::channel(true).0), publishes: Arc::new(watch::channel(0).0) }
    }

    pub(crate) fn address() -> BrokerAddress {
        BrokerAddress { host: "peer".into(), port: 1, pin: Some([1; 32]), receipt: Some(receipt_key().verifying_key()) }
    }

    /// Whether receipts are given from now on; those that wait are given then.
    pub(crate) fn give_receipts(&self, give: bool) {
        self.receipts.send_replace(give);
    }

    /// Waits until more publishes have come than `before`.
    pub(crate) async fn published_after(&self, before: u64) {
        self.publishes.subscribe().wait_for(|count| *count > before).await.expect("the broker is there");
    }

    pub(crate) fn publishes(&self) -> u64 {
        *self.publishes.borrow()
    }

    async fn serve(self, mut broker: MemoryBroker) {
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(stream) = broker.streams.recv().await {
            tasks.spawn(self.clone().stream(stream));
        }
    }

    async fn stream(self, mut stream: MemoryStream) {
        match stream.requests.recv().await {
            Some(Request::Hello(_)) => control(stream).await,
            Some(Request::Open(open)) => {
                let queue = QueueDescriptor::decode(&open.descriptor).expect("a descriptor").id();
                self.publish_stream(stream, queue).await;
            }
            _ => {}
        }
    }

    async fn publish_stream(self, mut stream: MemoryStream, queue: QueueId) {
        let _ = stream.replies.send(Reply::Standing(bytes::Bytes::new())).await;
        while let Some(request) = stream.requests.recv().await {
            let reply = match request {
                Request::Publish(publish) => {
                    let head = SignedHead::parse(publish.head).expect("a head");
                    self.publishes.send_modify(|count| *count += 1);
                    let _ = self.receipts.subscribe().wait_for(|give| *give).await;
                    let receipt = Receipt { queue, rank: head.rank(), head: head.hash(), since: Timestamp::new(1) };
                    Reply::Receipt(receipt.sign(&receipt_key()))
                }
                // A queue that is new here comes whole.
                Request::Transfer(part) if !part.head.is_empty() => {
                    let head = SignedHead::parse(part.head).expect("a head");
                    let receipt = Receipt { queue, rank: head.rank(), head: head.hash(), since: Timestamp::new(1) };
                    Reply::Receipt(receipt.sign(&receipt_key()))
                }
                Request::AskReaders => Reply::Readers(Readers { rows: Vec::new(), acknowledgements: Vec::new() }),
                _ => continue,
            };
            let _ = stream.replies.send(reply).await;
        }
    }
}

async fn control(mut stream: MemoryStream) {
    let limits = Limits {
        publish_entries_max: 100,
        publish_bytes_max: 1 << 20,
        entry_bytes_max: 16_384,
        publishes_in_flight_max: 8,
        readers_max: 16,
        live_bytes_max: 0,
    };
    let welcome = Welcome { software: "peer".into(), receipt_key: receipt_key().verifying_key(), limits };
    let _ = stream.replies.send(Reply::Welcome(welcome)).await;
    while let Some(Request::Prove(prove)) = stream.requests.recv().await {
        let _ = stream.replies.send(Reply::Proven(prove.key)).await;
    }
}

impl Dial for Broker {
    fn dial<'a>(&'a self, _: &'a BrokerAddress) -> Dialing<'a> {
        let (broker, client) = memory_pair([1; 32]);
        tokio::spawn(self.clone().serve(broker));
        Box::pin(client)
    }
}
