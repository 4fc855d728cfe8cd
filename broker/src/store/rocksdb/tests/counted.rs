//! How often the disk is waited for, as RocksDB itself counts it.

use ::rocksdb::Options;
use ::rocksdb::statistics::Ticker;

use super::super::Tuning;
use super::*;

/// A store that counts, and what it counts with.
fn counting(folder: &Path) -> (RocksStore, Options) {
    let tuning = Tuning { counts: true, ..Tuning::default() };
    let store = RocksStore::open_tuned(folder, &Settings::default(), &tuning).expect("the folder opens");
    let counted = store.counted.clone().expect("it counts");
    (store, counted)
}

/// [P-7] 256 publishes of eight queues become durable together: one sync of the log for all of them.
#[test]
fn a_group_of_publishes_is_one_sync_however_large() {
    let folder = folder();
    let (store, options) = counting(folder.path());
    let mut owners: Vec<_> = (1..9).map(owner).collect();
    let group: Vec<_> = (0..256).map(|number| owners[number % 8].records(4)).collect();
    let before = options.get_ticker_count(Ticker::WalFileSynced);
    store.append(&group).expect("it continues");
    assert_eq!(options.get_ticker_count(Ticker::WalFileSynced) - before, 1);
    assert!(owners.iter().all(|owner| entries(&store, owner) == Ok(32 * 4)));
}

#[test]
fn the_acknowledgements_of_many_readers_are_one_sync() {
    let folder = folder();
    let (store, options) = counting(folder.path());
    let mut owner = owner(1);
    store.append(&[owner.records(1)]).expect("it continues");
    let group: Vec<_> = (0..=255).map(|reader| owner.acked(reader, 1, 1)).collect();
    let before = options.get_ticker_count(Ticker::WalFileSynced);
    store.acknowledge(&group).expect("the store has no reason to fail");
    assert_eq!(options.get_ticker_count(Ticker::WalFileSynced) - before, 1);
}
