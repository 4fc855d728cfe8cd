//! A stop at every call to the storage, with and without its effect; the next start goes on.

use super::histories::assert_no_orphans;
use super::storages::Stopping;
use super::*;
use tidings_datastore::storage::MemoryStorage;

/// Writes with a channel that stops for ever at call number `calls`. False if it came through.
async fn stopped(owner: Owner, storage: &Arc<dyn Driver>, calls: usize, effect: bool) -> (Owner, bool) {
    let stopping = Stopping::new(storage.clone(), calls, effect);
    let driver: Arc<dyn Driver> = stopping.clone();
    let Owner { state, publisher, channel: running } = owner;
    running.close().await;
    let broken = channel(&state, &publisher, &driver);
    let stopped = tokio::select! {
        flushed = broken.flush(LONG) => { flushed.expect("in the storage"); false }
        () = stopping.stopped() => true,
    };
    broken.close().await;
    let channel = channel(&state, &publisher, storage);
    (Owner { state, publisher, channel }, stopped)
}

/// Ten records, some of them dead, a reader; then changes of all of it that no channel has written.
async fn prepared(storage: &Arc<dyn Driver>) -> Owner {
    let owner = Owner::new(storage);
    for round in 0..3 {
        let writes: Vec<_> = (0..10).map(|number| put(&format!("/{number}"), format!("{round} {number}"))).collect();
        owner.publish(&writes).await;
    }
    owner.grant(&reader_key()).await;
    owner
}

/// [P-21] No stop leaves anything that no row names, nothing half-written is ever shown, and the next start shows everything.
#[tokio::test]
async fn a_stop_between_any_two_writes_loses_nothing() {
    for effect in [false, true] {
        let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
        let mut owner = prepared(&storage).await;
        let mut calls = 0;
        loop {
            let before = owner.view();
            owner.write(&[put(&format!("/new/{calls}"), "value"), put("/0", format!("again {calls}")), delete("/5")]).await;
            let _ = owner.publisher.grant(NodeKey::from_seed([100 + calls as u8; 32]).card(), format!("reader {calls}")).await;
            let (reopened, crashed) = stopped(owner, &storage, calls, effect).await;
            owner = reopened;
            let shown = seen(&restored(&storage).await);
            assert!(shown == before || shown == owner.view(), "what was shown is whole");
            assert_no_orphans(&owner.state, &storage).await;
            owner.publish(&[put("/5", "back")]).await;
            assert_eq!(seen(&restored(&storage).await), owner.view());
            assert_no_orphans(&owner.state, &storage).await;
            if !crashed {
                break;
            }
            calls += 1;
        }
        assert!(calls >= 5, "parts and the head object are separate writes");
    }
}
