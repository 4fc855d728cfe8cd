//! The owner's side: outbox, receipts, and brokers that are not what they should be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_client::{BrokerState, GrantFailure, Nowhere, Publisher, PublisherConfig, Stage, TicketError};
use tidings_core::{Invitation, SignedHead};
use tidings_proto::{HeadNumber, RefusalCode};

use crate::peer::{Peer, Peers};
use crate::{LONG, broker_is, delete, memory, owner_key, path, published, publisher, put, reader_key};

fn numbers(peer: &Peer) -> Vec<u64> {
    let number = |bytes: &Bytes| SignedHead::parse(bytes.clone()).expect("a head").rank().number.value();
    peer.look(|queue| queue.publishes.iter().map(|publish| number(&publish.head)).collect())
}

#[tokio::test]
async fn a_write_is_durable_without_a_broker_and_published_when_there_is_one() {
    let (state, peer) = (memory(), Peer::new());
    let offline =
        Publisher::open(state.clone(), owner_key(), PublisherConfig::new(Arc::new(Nowhere), vec![Peer::address(1)])).expect("opened");
    let tickets = offline.write(vec![put("/a", "1")]).await.expect("written");
    assert_eq!(offline.get(&path("/a")).expect("read").expect("there").stage, Stage::Waiting);
    offline.close().await;
    for ticket in tickets {
        assert_eq!(ticket.receipted().await, Err(TicketError::Closed));
    }
    let online = publisher(&state, &peer);
    online.flush(LONG).await.expect("published");
    assert_eq!(online.get(&path("/a")).expect("read").expect("there").stage, Stage::Receipted);
    assert_eq!(peer.look(|queue| queue.live.len()), 1);
}

#[tokio::test]
async fn a_ticket_is_answered_with_the_receipt_of_its_publish() {
    let (state, peer) = (memory(), Peer::new());
    let publisher = publisher(&state, &peer);
    let mut tickets = publisher.write(vec![put("/a", "1"), put("/b", "1"), put("/c", "1"), delete("/c")]).await.expect("written");
    let undone = tickets.split_off(2);
    for ticket in tickets {
        assert_eq!(ticket.receipted().await.expect("a receipt").rank.number, HeadNumber::new(1));
    }
    for ticket in undone {
        assert_eq!(ticket.receipted().await, Err(TicketError::NothingToPublish));
    }
}

/// [P-3]
#[tokio::test]
async fn a_publish_without_a_receipt_is_sent_again_byte_for_byte() {
    let (state, peer) = (memory(), Peer::new());
    peer.set(|queue| queue.swallow_receipts = true);
    let first = publisher(&state, &peer);
    first.write(vec![put("/a", "1")]).await.expect("written");
    peer.until(|queue| queue.publishes.len() >= 2).await;
    peer.set(|queue| queue.swallow_receipts = false);
    first.flush(LONG).await.expect("published");
    let publishes = peer.look(|queue| queue.publishes.clone());
    assert!(publishes.iter().all(|publish| *publish == publishes[0]));
}

#[tokio::test]
async fn nothing_is_sent_twice_that_was_receipted() {
    let (state, peer) = (memory(), Peer::new());
    let first = publisher(&state, &peer);
    published(&first, &[put("/a", "1")]).await;
    first.close().await;
    let second = publisher(&state, &peer);
    published(&second, &[put("/a", "2")]).await;
    assert_eq!(numbers(&peer), [1, 2]);
}

#[tokio::test]
async fn many_writers_at_once_share_publishes_and_all_are_receipted() {
    let (state, peer) = (memory(), Peer::new());
    let publisher = publisher(&state, &peer);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let publisher = publisher.clone();
        tasks.spawn(async move {
            for number in 0..25 {
                let tickets = publisher.write(vec![put(&format!("/{writer}/{number}"), "1")]).await.expect("written");
                assert_eq!(tickets.len(), 1);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer");
    }
    publisher.flush(LONG).await.expect("published");
    assert_eq!(peer.look(|queue| queue.live.len()), 200);
    assert_eq!(publisher.list("/3").expect("read").len(), 25);
}

/// [P-3]
#[tokio::test]
async fn a_receipt_by_another_key_is_not_taken() {
    let (state, peer) = (memory(), Peer::new());
    peer.set(|queue| queue.forge_receipts = true);
    let publisher = publisher(&state, &peer);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    broker_is(&publisher, 0, BrokerState::Broken).await;
    assert_eq!(publisher.status().expect("read").unreceipted, 1);
}

/// [P-5]
#[tokio::test]
async fn nothing_is_published_over_a_head_that_this_node_never_signed() {
    let (foreign, peer) = (memory(), Peer::new());
    let other = publisher(&foreign, &peer);
    published(&other, &[put("/a", "1")]).await;
    other.close().await;
    let lost = memory();
    let publisher = publisher(&lost, &peer);
    publisher.write(vec![put("/b", "1")]).await.expect("written");
    broker_is(&publisher, 0, BrokerState::Conflict).await;
    assert_eq!(peer.look(|queue| queue.publishes.len()), 1);
    assert_eq!(publisher.status().expect("read").unsigned, 1);
}

/// [P-5] A broker that lost what it had receipted is a fact that a person should see, even if it is filled up again.
#[tokio::test]
async fn a_broker_below_its_own_receipt_is_noted_once() {
    let (state, peer) = (memory(), Peer::new());
    let first = publisher(&state, &peer);
    published(&first, &[put("/a", "1")]).await;
    published(&first, &[put("/a", "2")]).await;
    first.close().await;
    peer.set(|queue| queue.claim = Some(queue.heads[0].bytes().clone()));
    let second = publisher(&state, &peer);
    let dials = peer.look(|queue| queue.dials);
    peer.until(|queue| queue.dials > dials + 2).await;
    let losses = second.status().expect("read").losses;
    let seen: Vec<_> = losses.iter().map(|loss| (loss.receipted.number.value(), loss.standing.number.value())).collect();
    assert_eq!(seen, [(2, 1)]);
}

#[tokio::test]
async fn the_next_broker_is_used_when_the_first_is_away() {
    let (state, away, there) = (memory(), Peer::new(), Peer::new());
    away.set(|queue| queue.away = true);
    let dial = Arc::new(Peers(vec![(1, away), (2, there.clone())]));
    let mut config = PublisherConfig::new(dial, vec![Peer::address(1), Peer::address(2)]);
    config.compare_wait = Duration::ZERO;
    let publisher = Publisher::open(state, owner_key(), config).expect("opened");
    published(&publisher, &[put("/a", "1")]).await;
    let states = || publisher.status().expect("read").brokers.into_iter().map(|broker| broker.state).collect::<Vec<_>>();
    // The receipt of the one does not wait for what becomes of the other.
    let told = async {
        while states() != [BrokerState::Unreachable, BrokerState::Connected] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, told).await.unwrap_or_else(|_| panic!("{:?}", states()));
}

#[tokio::test]
async fn a_refusal_is_shown_and_loses_nothing() {
    let (state, peer) = (memory(), Peer::new());
    peer.set(|queue| queue.refuse = Some(RefusalCode::Quota));
    let publisher = publisher(&state, &peer);
    publisher.write(vec![put("/a", "1")]).await.expect("written");
    broker_is(&publisher, 0, BrokerState::Refused).await;
    peer.set(|queue| queue.refuse = None);
    publisher.flush(LONG).await.expect("published");
}

#[tokio::test]
async fn a_grant_without_a_broker_is_saved_and_gives_the_invitation() {
    let mut config = PublisherConfig::new(Arc::new(Nowhere), vec![Peer::address(1)]);
    (config.grant_wait, config.compare_wait) = (Duration::ZERO, Duration::ZERO);
    let publisher = Publisher::open(memory(), owner_key(), config).expect("opened");
    let saved = publisher.grant(reader_key().card(), "reader".into()).await;
    assert!(matches!(saved, Err(GrantFailure::Saved { invitation }) if Invitation::parse(&invitation).is_ok()));
}
