//! Whatever an owner does: what is in the storage is what it sees.

use super::storages::objects;
use super::*;
use proptest::prelude::*;
use tidings_datastore::storage::faulty::Faults;
use tidings_datastore::storage::{Faulty, MemoryStorage, Name};

/// One thing that an owner does.
#[derive(Clone, Debug)]
enum Act {
    Put(u8, u8),
    Delete(u8),
    Grant(u8),
    Revoke,
    Flush,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..12u8, any::<u8>()).prop_map(|(path, value)| Act::Put(path, value)),
        3 => (0..12u8).prop_map(Act::Delete),
        1 => (10..13u8).prop_map(Act::Grant),
        1 => Just(Act::Revoke),
        4 => Just(Act::Flush),
        1 => Just(Act::Reopen),
    ]
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

async fn revoke_one(owner: &Owner) {
    let readers = owner.publisher.readers().await.expect("listed");
    if let Some(reader) = readers.iter().find(|reader| !reader.owner) {
        // Nobody gives a receipt here.
        let _ = owner.publisher.revoke(&reader.pseudonym).await;
    }
}

/// Flushes until the storage takes it.
async fn flush(owner: &Owner) {
    while owner.channel.flush(LONG).await.is_err() {}
}

async fn check(owner: &Owner, storage: &Arc<dyn Driver>) {
    if owner.publisher.status().expect("read").head == tidings_proto::HeadRank::default() {
        return;
    }
    let restored = restored(storage).await;
    assert_eq!(seen(&restored), owner.view());
    let names = |names: Vec<String>| {
        let mut names = names;
        names.sort();
        names
    };
    let readers = owner.publisher.readers().await.expect("listed").into_iter().map(|reader| format!("{}{}", reader.name, reader.did));
    let copies = restored.readers.iter().map(|reader| format!("{}{}", reader.copy.name, reader.copy.card.did()));
    assert_eq!(names(copies.collect()), names(readers.collect()));
}

/// Everything in the storage is the head object, shown by it, or in a row that waits for its removal.
pub(crate) async fn assert_no_orphans(state: &State, storage: &Arc<dyn Driver>) {
    assert_no_orphans_but(state, storage, &[]).await;
}

/// The same, but for these: only another state knew them.
pub(crate) async fn assert_no_orphans_but(state: &State, storage: &Arc<dyn Driver>, others: &[Name]) {
    let mut known: Vec<Name> = others.to_vec();
    let prefix = [storage.address().as_bytes(), &[0]].concat();
    for (table, front) in [("channel/pending", 0), ("channel/garbage", 8)] {
        let rows = state.rows(table, &prefix, None, usize::MAX).expect("rows");
        let name = |key: &[u8]| Name::new(std::str::from_utf8(&key[prefix.len() + front..]).expect("text")).expect("a name");
        known.extend(rows.iter().map(|(key, _)| name(key)));
    }
    let written = state.row("channel/written", &prefix).expect("a row");
    let shown = written.map(|row| tidings_core::StorageHead::decode(&row).expect("a head object"));
    let hashes: Vec<[u8; 32]> = shown.iter().flat_map(hashes_of).collect();
    for name in objects(&**storage).await {
        let shown = name.as_str().ends_with("/head") || hashes.iter().any(|hash| name.as_str().ends_with(&hex(hash)));
        assert!(shown || known.contains(&name), "{name} is an orphan");
    }
}

pub(crate) fn hashes_of(head: &tidings_core::StorageHead) -> Vec<[u8; 32]> {
    let parts = head.segments.iter().map(|segment| segment.part).chain(head.history.iter().map(|run| run.part));
    parts.chain([head.live, head.access]).map(|part| part.hash).collect()
}

pub(crate) fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

use tidings_core::Object;

/// Does `acts` over `storage`; after every flush the storage shows what the owner sees.
async fn live(acts: Vec<Act>, storage: Arc<dyn Driver>, honest: Arc<dyn Driver>) {
    let mut owner = Owner::new(&storage);
    for act in acts {
        match act {
            Act::Put(path, value) => owner.write(&[put(&format!("/{path}"), vec![value; 1 + usize::from(value)])]).await,
            // What is not there cannot be deleted.
            Act::Delete(path) => drop(owner.publisher.write(vec![delete(&format!("/{path}"))]).await),
            Act::Grant(seed) => {
                let _ = owner.publisher.grant(NodeKey::from_seed([seed; 32]).card(), format!("reader {seed}")).await;
            }
            Act::Revoke => revoke_one(&owner).await,
            Act::Flush => {
                flush(&owner).await;
                check(&owner, &honest).await;
            }
            Act::Reopen => {
                let Owner { state, publisher: open, channel: running } = owner;
                running.close().await;
                open.close().await;
                let publisher = publisher(&state);
                owner = Owner { channel: channel(&state, &publisher, &storage), publisher, state };
            }
        }
    }
    flush(&owner).await;
    check(&owner, &honest).await;
    assert_no_orphans(&owner.state, &honest).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// [P-21] Creates, updates, deletes, raised floors, grants, revocations, restarts.
    #[test]
    fn the_storage_shows_what_the_owner_sees(acts in prop::collection::vec(act(), 1..60)) {
        let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
        run(live(acts, storage.clone(), storage));
    }

    /// [P-21] The same over a storage whose writes fail, or happen and are not answered.
    #[test]
    fn a_storage_that_fails_is_right_in_the_end(acts in prop::collection::vec(act(), 1..60), seed: [u8; 32]) {
        let honest: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
        let faults = Faults { write_failed: 100, answer_lost: 100, ..Faults::NONE };
        run(live(acts, Arc::new(Faulty::new(honest.clone(), seed, faults)), honest));
    }
}
