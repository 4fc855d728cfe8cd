//! What polling reads and what writing costs.

use super::storages::{Counting, objects};
use super::*;
use tidings_core::{Object, StorageHead};
use tidings_datastore::storage::MemoryStorage;

async fn shown(storage: &Arc<dyn Driver>) -> StorageHead {
    let names = objects(&**storage).await;
    let head = names.iter().find(|name| name.as_str().ends_with("/head")).expect("a head object");
    StorageHead::decode(&super::storages::content(&**storage, head).await).expect("a head object")
}

/// [P-21] One object read for each poll of an owner that signed nothing.
#[tokio::test]
async fn an_unchanged_owner_costs_one_read_for_each_poll() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    owner.publish(&[put("/a", "one")]).await;
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let counting = Counting::new(storage);
    let driver: Arc<dyn Driver> = counting.clone();
    let mut reader = subscriber(&state, queue, &driver, Duration::from_millis(5));
    until_value(&mut reader, "/a", "one").await;
    counting.take();
    let polled = async {
        while counting.count() < 10 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, polled).await.expect("in time");
    assert!(counting.take().iter().all(|name| name.as_str().ends_with("/head")));
}

/// [P-21] Of an owner that signed a little, a little is read.
#[tokio::test]
async fn a_poll_that_finds_something_reads_only_new_segments() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let many: Vec<_> = (0..1_000).map(|number| put(&format!("/{number}"), vec![7; 300])).collect();
    owner.publish(&many).await;
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let counting = Counting::new(storage.clone());
    let driver: Arc<dyn Driver> = counting.clone();
    let mut reader = subscriber(&state, queue, &driver, Duration::from_millis(5));
    until_value(&mut reader, "/7", &String::from_utf8(vec![7; 300]).expect("text")).await;
    counting.take();
    owner.publish(&[put("/7", "seven")]).await;
    until_value(&mut reader, "/7", "seven").await;
    let segments = counting.take().iter().filter(|name| name.as_str().contains("/index/")).count();
    assert_eq!(segments, 1);
    assert!(shown(&storage).await.segments.len() > 1, "the large segment stayed");
}

/// [P-21] Bounded write amplification and few segments, whatever is updated.
#[tokio::test]
async fn ten_thousand_updates_are_written_a_few_times_each() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let (mut segments, mut updates) = (0, 0u64);
    for round in 0..200u64 {
        // 50 of 500 records, others each time.
        let writes: Vec<_> = (0..50).map(|number| put(&format!("/{}", (round * 37 + number * 11) % 500), vec![round as u8; 100])).collect();
        owner.publish(&writes).await;
        updates += 50;
        segments = segments.max(shown(&storage).await.segments.len());
    }
    let head = shown(&storage).await;
    let live: u64 = head.segments.iter().map(|segment| u64::from(segment.part.bytes)).sum();
    let status = owner.channel.status().borrow().clone();
    let entry = live / head.segments.iter().map(|segment| u64::from(segment.count)).sum::<u64>();
    let (once, written) = (updates * entry, status.bytes);
    let (of_live, of_once) = (written as f64 / live as f64, written as f64 / once as f64);
    println!("{updates} updates, {} heads: {written} bytes written, {live} in segments", status.heads);
    println!("{of_live:.1} times the live bytes, {of_once:.2} times the updates; at most {segments} segments, {} runs", head.history.len());
    assert!(written < 6 * once && segments <= 8 && head.history.len() <= 9);
}

/// [P-21] Parts of older heads go when their grace is over, and nothing else goes.
#[tokio::test]
async fn parts_that_are_not_shown_any_more_go_after_the_grace() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let (state, long) = (memory(), Duration::from_secs(3_600));
    let publisher = publisher(&state);
    let config = |grace| ChannelConfig { gap: Duration::ZERO, behind_max: LONG, grace };
    let kept = Channel::start(state.clone(), publisher.clone(), storage.clone(), config(long));
    for round in 0..5 {
        publisher.write(vec![put("/a", round.to_string()), put(&format!("/{round}"), "value")]).await.expect("written");
        kept.flush(LONG).await.expect("in the storage");
    }
    kept.close().await;
    let parts = |head: &StorageHead| head.segments.len() + head.history.len() + 3;
    assert!(objects(&*storage).await.len() > parts(&shown(&storage).await), "older parts are there for the grace");
    let collecting = Channel::start(state.clone(), publisher.clone(), storage.clone(), config(Duration::ZERO));
    publisher.write(vec![put("/a", "last")]).await.expect("written");
    let mut status = collecting.status();
    let removed = async {
        while objects(&*storage).await.len() != parts(&shown(&storage).await) {
            status.changed().await.expect("running");
        }
    };
    tokio::time::timeout(LONG, removed).await.expect("in time");
    assert_eq!(seen(&restored(&storage).await).len(), 6);
}
