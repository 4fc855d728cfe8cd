//! Client and broker over loopback: what the two connections say to each other.

#[path = "loopback/owners.rs"]
mod owners;
#[path = "command/port.rs"]
mod port;
#[path = "loopback/refill.rs"]
mod refill;

use std::sync::Arc;

use tempfile::TempDir;
use tidings_broker::server::{Admission, Broker, BrokerConfig};
use tidings_broker::store::MemoryStore;
use tidings_client::connection::{CloseReason, ConnectOptions, Connection, ConnectionError, Effect, Endpoint, PublishStream};
use tidings_core::grant::attachment_hash;
use tidings_core::reader::{MemoryReaderStore, Reader};
use tidings_core::writer::{AccessChange, SignRequest, Writer};
use tidings_core::{AccessRow, Entropy, NodeKey, Object, Receipt};
use tidings_proto::frames::Publish;
use tidings_proto::{BrokerAddress, RefusalCode, Reply, Request, Timestamp};

struct Fixture {
    broker: Broker,
    endpoint: Endpoint,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut config = BrokerConfig::new(folder.path());
        config.listen = ([127, 0, 0, 1], 0).into();
        config.admission = Admission::Open;
        let broker = Broker::start(config, Arc::new(MemoryStore::default())).await.expect("the broker starts");
        Self { broker, endpoint: Endpoint::bind().expect("a socket"), _folder: folder }
    }

    async fn connect(&self, address: &BrokerAddress) -> Result<Connection, ConnectionError> {
        Connection::connect(&self.endpoint, address, &ConnectOptions::default()).await
    }

    async fn connected(&self) -> Connection {
        self.connect(self.broker.address()).await.expect("connected")
    }
}

/// The first publish of a node: its head, its own row and its own grant.
fn first_publish(key: &NodeKey) -> (Writer, Publish) {
    let mut entropy = Entropy::new([1; 32]);
    let mut writer = Writer::create(key, &mut entropy);
    let access = AccessChange { add: vec![], remove: vec![], rotate: false, locator: String::new() };
    let request = SignRequest { changes: vec![], floor: None, access };
    let publish = writer.sign(key, request, Timestamp::new(1), &mut entropy).expect("signed").publish();
    (writer, publish)
}

async fn open(connection: &Connection, writer: &Writer) -> PublishStream {
    connection.open_publish(writer.descriptor().encode().into()).await.expect("opened")
}

#[tokio::test]
async fn a_client_meets_the_broker_of_its_address() {
    let fixture = Fixture::start().await;
    let connection = fixture.connected().await;
    assert_eq!(Some(connection.welcome().receipt_key), fixture.broker.address().receipt);
    let text = fixture.broker.address().to_string();
    assert!(fixture.connect(&text.parse().expect("an address")).await.is_ok());
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_named_and_gets_nothing() {
    let fixture = Fixture::start().await;
    let mut address = fixture.broker.address().clone();
    address.pin = Some([1; 32]);
    let error = fixture.connect(&address).await.expect_err("another pin");
    assert_eq!((error.effect(), error), (Effect::None, ConnectionError::WrongPin));
    address.pin = None;
    assert_eq!(fixture.connect(&address).await.expect_err("no pin"), ConnectionError::NoPin);
}

#[tokio::test]
async fn another_receipt_key_than_that_of_the_address_is_not_accepted() {
    let fixture = Fixture::start().await;
    let mut address = fixture.broker.address().clone();
    address.receipt = Some(NodeKey::from_seed([9; 32]).verifying_key());
    assert!(matches!(fixture.connect(&address).await, Err(ConnectionError::Protocol(_))));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let fixture = Fixture::start().await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut address = fixture.broker.address().clone();
    address.port = silent.local_addr().expect("bound").port();
    let options = ConnectOptions { timeout: std::time::Duration::from_millis(200), ..ConnectOptions::default() };
    let error = Connection::connect(&fixture.endpoint, &address, &options).await.expect_err("nobody answers");
    assert!(matches!(error, ConnectionError::Unreachable { .. }), "{error}");
}

/// [P-18]
#[tokio::test]
async fn what_an_owner_did_not_prove_it_may_not_publish() {
    let fixture = Fixture::start().await;
    let connection = fixture.connected().await;
    connection.prove(&NodeKey::from_seed([2; 32])).await.expect("proven");
    let (writer, _) = first_publish(&NodeKey::from_seed([1; 32]));
    let refused = connection.open_publish(writer.descriptor().encode().into()).await;
    assert!(matches!(refused, Err(ConnectionError::Refused(refusal)) if refusal.code == RefusalCode::NotProven));
}

#[tokio::test]
async fn a_publish_is_receipted_and_its_reader_is_sent_the_head() {
    let fixture = Fixture::start().await;
    let connection = fixture.connected().await;
    let key = NodeKey::from_seed([1; 32]);
    connection.prove(&key).await.expect("proven");
    let (writer, publish) = first_publish(&key);
    let mut stream = open(&connection, &writer).await;
    assert!(stream.standing.is_empty());
    stream.requests.send(Request::Publish(publish.clone())).await.expect("sent");
    let Ok(Reply::Receipt(receipt)) = stream.replies.receive().await else { panic!("a receipt") };
    Receipt::verify(&receipt, &connection.welcome().receipt_key).expect("signed by the broker");

    let row = AccessRow::decode(&publish.access_put[0]).expect("the owner's own row");
    let grant = publish.attachments.iter().find(|bytes| attachment_hash(bytes) == row.grant).expect("its grant");
    let mut reader = Reader::join(writer.descriptor().clone(), grant, &key).expect("its own grant");
    connection.prove(&reader.pseudonym_key()).await.expect("proven");
    let subscribe = reader.begin("broker", &mut MemoryReaderStore::default()).expect("memory does not fail");
    let mut subscription = connection.subscribe(subscribe).await.expect("subscribed");
    let Ok(Reply::Announce(announce)) = subscription.replies.receive().await else { panic!("an announcement") };
    assert_eq!(announce.head, publish.head);
}

#[tokio::test]
async fn a_draining_broker_says_why_it_closes() {
    let fixture = Fixture::start().await;
    let connection = fixture.connected().await;
    connection.prove(&NodeKey::from_seed([1; 32])).await.expect("proven");
    fixture.broker.drain().await;
    let CloseReason::Broker(refusal) = connection.closed().await else { panic!("closed by the broker") };
    assert_eq!(refusal.code, RefusalCode::ShuttingDown);
}

#[tokio::test]
async fn a_proof_that_was_given_up_does_not_answer_for_the_next() {
    let fixture = Fixture::start().await;
    let connection = fixture.connected().await;
    for seed in 1..20 {
        let key = NodeKey::from_seed([seed; 32]);
        tokio::select! {
            biased;
            _ = connection.prove(&key) => panic!("the first poll cannot have the answer"),
            () = std::future::ready(()) => {}
        }
    }
    let (one, two) = (NodeKey::from_seed([21; 32]), NodeKey::from_seed([22; 32]));
    let proven = tokio::join!(connection.prove(&one), connection.prove(&two));
    assert_eq!(proven, (Ok(()), Ok(())));
}
