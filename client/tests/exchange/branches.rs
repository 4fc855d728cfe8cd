//! What a merge makes of each kind of difference, and of those who lie about one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidings_client::{Archive, Archived, BrokerState, PublisherConfig};
use tidings_core::{QueueDescriptor, QueueState};
use tidings_proto::frames::Transfer;

use crate::owners::{Forked, Home, addresses, config, conflict, follows, forked, impatient, open, publisher, rescued, value};
use crate::vault::{Held, Vaults};
use crate::{LONG, broker_is, delete, memory, published, put};

/// [P-5] What waited unsigned is older than what the branch that is gone on from has.
#[tokio::test]
async fn what_waits_and_is_older_than_the_base_is_rescued() {
    let Forked { vaults, one, other } = forked().await;
    vaults.set(1, |vault| vault.away = true);
    let original = publisher(&one.state(), &vaults, &[1]);
    original.write(vec![put("/a", "waits"), put("/b", "waits"), put("/new", "waits")]).await.expect("written");
    original.close().await;
    vaults.set(1, |vault| vault.away = false);
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/a", "clone"), delete("/b")]).await;
    clone.close().await;
    let both = open(&one.state(), PublisherConfig { restoring: true, ..config(&vaults, &[1, 2]) });
    assert!(both.compared(LONG).await.is_whole());
    both.flush(LONG).await.expect("published");
    let values = ["/a", "/b", "/new"].map(|path| value(&both, path));
    assert_eq!(values, [Some("clone".into()), None, Some("waits".into())]);
    let mut kept = rescued(&both);
    kept.sort();
    assert_eq!(kept, ["/a", "/b"].map(|path| (path.to_owned(), "waits".to_owned())));
}

/// [P-5] The own branch goes on and the tail has deleted a record so long ago that its tombstone is purged.
#[tokio::test]
async fn a_record_whose_tombstone_the_tail_has_purged_is_deleted_on_the_own_branch() {
    let Forked { vaults, one, other } = forked().await;
    let original = open(&one.state(), PublisherConfig { tombstone_age: Duration::ZERO, ..config(&vaults, &[1]) });
    published(&original, &[put("/a", "original"), delete("/d"), put("/tail", "1")]).await;
    published(&original, &[put("/b", "original")]).await;
    assert_eq!(original.status().expect("read").live_count, 5);
    original.close().await;
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/a", "clone"), put("/own", "1")]).await;
    clone.close().await;
    let both = open(&other.state(), PublisherConfig { restoring: true, ..config(&vaults, &[1, 2]) });
    both.write(vec![put("/waits", "1")]).await.expect("written");
    assert!(both.compared(LONG).await.is_whole());
    both.flush(LONG).await.expect("published");
    follows(&both, &vaults, 1).await;
    let there = |text: &str| Some(text.to_owned());
    let values = ["/a", "/b", "/d", "/tail", "/own", "/waits"].map(|path| value(&both, path));
    assert_eq!(values, [there("clone"), there("original"), None, there("1"), there("1"), there("1")]);
    assert_eq!(rescued(&both), [("/a".to_owned(), "original".to_owned())]);
    let merge = both.status().expect("read").merged.pop().expect("a merge");
    assert_eq!((merge.deleted, merge.base.term > merge.tail.term), (1, true));
}

/// [P-4, P-5] A broker stands at one head and gives back another: an old one, or one of a writer that nobody confirmed. Neither is merged,
/// and it is asked again later and not at once.
#[tokio::test]
async fn a_broker_that_gives_back_another_head_than_it_stands_at_is_not_believed() {
    let Forked { vaults, one, other } = forked().await;
    let third = one.copied();
    let old = vaults.look(2, |vault| vault.held.clone());
    let stranger = publisher(&third.state(), &vaults, &[1]);
    published(&stranger, &[put("/stranger", "1")]).await;
    stranger.close().await;
    let unknown = vaults.look(1, |vault| vault.held.clone());
    let at_fork = old.clone();
    vaults.set(1, |vault| vault.held = at_fork);
    let clone = publisher(&other.state(), &vaults, &[2]);
    published(&clone, &[put("/clone", "1")]).await;
    clone.close().await;
    for given in [old, unknown] {
        vaults.set(2, |vault| vault.gives = Some(given));
        let both = publisher(&one.state(), &vaults, &[1, 2]);
        conflict_or_known(&both).await;
        broker_is(&both, 1, BrokerState::Broken).await;
        assert!(both.status().expect("read").merged.is_empty());
        both.close().await;
    }
    vaults.set(2, |vault| vault.gives = None);
    let both = publisher(&one.state(), &vaults, &[1, 2]);
    published(&both, &[put("/b", "1")]).await;
    assert_eq!((value(&both, "/clone"), value(&both, "/stranger")), (Some("1".into()), None));
}

/// The first time a person has to confirm the clone; afterwards it is known.
async fn conflict_or_known(publisher: &tidings_client::Publisher) {
    let _ = publisher.compared(Duration::from_secs(1)).await;
    if publisher.status().expect("read").conflict.is_some() {
        conflict(publisher).await;
        publisher.take_over().await.expect("taken over");
    }
}

/// A queue as a storage has it.
struct Copy(Mutex<Held>);

impl Archive for Copy {
    fn newest(&self) -> Archived<'_, Option<Bytes>> {
        let head = self.0.lock().expect("not poisoned").head.as_ref().map(|head| head.bytes().clone());
        Box::pin(async move { Ok(head) })
    }

    fn recover<'a>(&'a self, _: QueueDescriptor, take: &'a mut (dyn FnMut(Transfer) -> bool + Send)) -> Archived<'a, ()> {
        let parts = self.0.lock().expect("not poisoned").whole();
        Box::pin(async move {
            parts.into_iter().all(take);
            Ok(())
        })
    }
}

/// [P-4, P-5] Neither state nor broker is left: the storage has what is needed, and the empty broker is filled from it.
#[tokio::test]
async fn a_lost_state_and_an_emptied_broker_come_back_from_the_storage() {
    let vaults = Vaults::new([1]);
    let first = publisher(&memory(), &vaults, &[1]);
    published(&first, &[put("/a", "1"), put("/b", "1")]).await;
    published(&first, &[delete("/b")]).await;
    first.close().await;
    let archive = Arc::new(Copy(Mutex::new(vaults.look(1, |vault| vault.held.clone()))));
    vaults.set(1, |vault| vault.held = Held::default());
    let restored = open(&memory(), PublisherConfig { restoring: true, archive: Some(archive), ..config(&vaults, &[1]) });
    assert!(restored.compared(LONG).await.is_whole());
    published(&restored, &[put("/c", "1")]).await;
    let values = ["/a", "/b", "/c"].map(|path| value(&restored, path));
    assert_eq!(values, [Some("1".into()), None, Some("1".into())]);
    let status = restored.status().expect("read");
    assert_eq!((status.merged.len(), status.merged[0].source.as_str(), vaults.rank(1)), (1, "the storage", status.head));
}

/// A crash came between the closed head and the head that goes on from it: for the readers of the broker that stays the queue had ended
/// until the owner's next write. [P-13]
#[tokio::test]
async fn a_move_that_ended_behind_the_closed_head_goes_on_at_the_next_start() {
    let (home, vaults) = (Home::new(), Vaults::new([1, 2]));
    let first = publisher(&home.state(), &vaults, &[1, 2]);
    published(&first, &[put("/a", "1")]).await;
    follows(&first, &vaults, 2).await;
    vaults.set(1, |vault| vault.mute = true);
    let moving = first.clone();
    let moved = tokio::spawn(async move { moving.set_brokers(addresses(&[2]), String::new(), LONG).await.is_ok() });
    let state_is =
        |state: QueueState| move |vault: &crate::vault::Vault| vault.held.head.as_ref().is_some_and(|head| head.head().state == state);
    vaults.until(2, state_is(QueueState::Closed)).await;
    first.close().await;
    assert!(!moved.await.expect("ended"));
    let _second = publisher(&home.state(), &vaults, &[2]);
    tokio::time::timeout(LONG, vaults.until(2, state_is(QueueState::Open))).await.expect("in time");
}

/// What was wanted of receipts was cut down to the brokers that there were at the start, for ever.
#[tokio::test]
async fn a_broker_that_is_added_counts_among_the_receipts_that_are_wanted() {
    let (state, vaults) = (memory(), Vaults::new([1, 2]));
    let publisher = open(&state, PublisherConfig { receipts: 2, ..config(&vaults, &[1]) });
    published(&publisher, &[put("/a", "1")]).await;
    publisher.set_brokers(addresses(&[1, 2]), String::new(), LONG).await.expect("added");
    follows(&publisher, &vaults, 2).await;
    vaults.set(2, |vault| vault.away = true);
    broker_is(&publisher, 1, BrokerState::Unreachable).await;
    let ticket = publisher.write(vec![put("/a", "2")]).await.expect("written").pop().expect("a ticket");
    vaults.until(1, |vault| vault.held.head.as_ref().is_some_and(|head| head.rank().number.value() == 2)).await;
    assert_eq!(publisher.status().expect("read").unreceipted, 1);
    vaults.set(2, |vault| vault.away = false);
    tokio::time::timeout(LONG, ticket.receipted()).await.expect("in time").expect("receipted");
}

/// [P-5] A revocation is never undone: not where the state that knew of it was lost since, and the other branch is gone on from.
#[tokio::test]
async fn a_reader_that_a_lost_state_had_removed_is_removed_when_another_branch_is_gone_on_from() {
    let Forked { vaults, one, other } = forked().await;
    let original = publisher(&one.state(), &vaults, &[1]);
    let reader = original.readers().await.expect("open").into_iter().find(|reader| !reader.owner).expect("a reader").pseudonym;
    original.revoke(&reader).await.expect("revoked");
    original.close().await;
    let home = Home::new();
    let rebuilt = open(&home.state(), PublisherConfig { restoring: true, ..config(&vaults, &[1]) });
    assert!(rebuilt.compared(LONG).await.is_whole());
    published(&rebuilt, &[put("/a", "rebuilt")]).await;
    rebuilt.close().await;
    vaults.set(1, |vault| vault.away = true);
    for session in 0..100 {
        let clone = impatient(&other.state(), &vaults, &[1, 2]);
        published(&clone, &[put("/clone", &session.to_string())]).await;
        clone.close().await;
        if vaults.rank(2) > vaults.rank(1) {
            break;
        }
    }
    assert!(vaults.rank(2) > vaults.rank(1));
    vaults.set(1, |vault| vault.away = false);

    let both = publisher(&home.state(), &vaults, &[1, 2]);
    conflict(&both).await;
    both.take_over().await.expect("taken over");
    assert!(both.compared(LONG).await.is_whole());
    both.flush(LONG).await.expect("published");
    assert!(both.readers().await.expect("open").iter().all(|reader| reader.owner));
    let merge = both.status().expect("read").merged.pop().expect("a merge");
    assert_eq!((merge.removed.len(), merge.base > merge.tail), (1, true));
    follows(&both, &vaults, 1).await;
    assert_eq!(vaults.look(1, |vault| vault.held.head.as_ref().map(|head| head.head().access_count)), Some(1));
}
