//! The storage beside a broker: nothing is shown before its receipt, and a broker that freezes is seen.

#[allow(dead_code, reason = "written for the client's own tests, which use all of it")]
#[path = "../../../client/tests/exchange/peer.rs"]
mod peer;

use peer::{Peer, Peers};

use super::storages::objects;
use super::*;
use tidings_datastore::channel::{ChannelError, StorageWitness};
use tidings_datastore::storage::MemoryStorage;
use tidings_proto::HeadRank;

fn published_to(peer: &Peer, state: &State) -> Publisher {
    let config = PublisherConfig::new(Peers::one(peer), vec![Peer::address(1)]);
    Publisher::open(state.clone(), owner_key(), config).expect("opened")
}

/// [P-21] Storage that shows what no broker has confirmed would accuse an honest broker.
#[tokio::test]
async fn nothing_is_shown_before_its_receipt() {
    let (storage, state, peer): (Arc<dyn Driver>, _, _) = (Arc::new(MemoryStorage::new()), memory(), Peer::new());
    peer.set(|queue| queue.swallow_receipts = true);
    let publisher = published_to(&peer, &state);
    publisher.write(vec![put("/a", "one")]).await.expect("written");
    peer.until(|queue| !queue.heads.is_empty()).await;
    let channel = Channel::start(state, publisher.clone(), storage.clone(), ChannelConfig::default());
    let early = channel.flush(Duration::from_millis(300)).await;
    assert!(matches!(early, Err(ChannelError::Deadline | ChannelError::NotReceipted)), "{early:?}");
    assert!(objects(&*storage).await.is_empty());
    peer.set(|queue| queue.swallow_receipts = false);
    let mut status = channel.status();
    let shown = status.wait_for(|status| status.written > HeadRank::default());
    tokio::time::timeout(LONG, shown).await.expect("in time").expect("running");
    assert_eq!(restored(&storage).await.head.bytes(), peer.look(|queue| queue.heads[0].bytes().clone()).as_ref());
}

/// [P-21] A broker that stands still while the owner goes on is noticed at once, and accused after a grace.
#[tokio::test]
async fn a_broker_that_shows_less_than_the_storage_is_stale_and_then_withholds() {
    let (storage, state, peer): (Arc<dyn Driver>, _, _) = (Arc::new(MemoryStorage::new()), memory(), Peer::new());
    let publisher = published_to(&peer, &state);
    let text = publisher.grant(reader_key().card(), "reader".into()).await.expect("granted");
    publisher.close().await;
    let reading = memory();
    let queue = follow(&reading, &Invitation::parse(&text).expect("an invitation"));
    let alone = super::publisher(&state);
    let channel = channel(&state, &alone, &storage);
    alone.write(vec![put("/a", "one")]).await.expect("written");
    channel.flush(LONG).await.expect("in the storage");
    let witness = StorageWitness::new(storage, queue, owner_key().verifying_key());
    let config = SubscriberConfig {
        witness: Some(Arc::new(witness)),
        witness_every: Duration::from_millis(20),
        witness_grace: Duration::from_millis(100),
        ..SubscriberConfig::new(Peers::one(&peer))
    };
    let mut reader = Subscriber::start(reading, reader_key(), queue, config).expect("started");
    verdict(&mut reader, Verdict::Stale).await;
    verdict(&mut reader, Verdict::Withheld).await;
}
