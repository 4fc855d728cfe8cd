//! The power goes while the broker's log is being written: any part of that write may be on the disk.

use super::disk::Keep;
use super::site::{Party, Site};

/// A log whose last write was torn so that a later part of it was there and an earlier one not.
#[test]
fn a_broker_whose_last_write_was_torn_anywhere_starts_with_all_that_it_receipted() {
    let Some(mut site) = Site::new(6) else { return };
    for round in 0..3 {
        site.begin();
        let receipts = site.ledger().receipts;
        site.wait_for_receipts(receipts + 7);
        site.kill_broker_before_a_sync();
        let saved = site.disk(Party::Broker).save();
        let acknowledged = site.ledger().acknowledged;
        for seed in 0..40 {
            site.disk(Party::Broker).restore(&saved);
            // An acknowledgement on its way may outlive one cut of this disk and not the other.
            site.ledger().acknowledged = acknowledged;
            site.disk(Party::Broker).cut(Keep::Some, seed);
            site.open_store();
            assert_eq!(site.ledger().violations, Vec::<String>::new(), "round {round}, seed {seed}");
        }
    }
}

/// A log with a torn end that had been read came back with the next cut, in front of whole writes, and was taken for damage.
#[test]
fn a_log_that_was_read_does_not_come_back() {
    let Some(mut site) = Site::new(7) else { return };
    site.begin();
    site.wait_for_receipts(7);
    site.kill_broker_before_a_sync();
    site.disk(Party::Broker).cut(Keep::Some, 1);
    let before = logs(&site);
    assert!(!before.is_empty());
    site.open_store();
    site.disk(Party::Broker).cut(Keep::Nothing, 0);
    let after = logs(&site);
    assert!(before.iter().all(|log| !after.contains(log)), "{before:?} {after:?}");
    site.open_store();
    assert_eq!(site.ledger().violations, Vec::<String>::new());
}

/// Names of the logs in the broker's store.
fn logs(site: &Site) -> Vec<String> {
    let files = std::fs::read_dir(site.disk(Party::Broker).place().join("data/store")).expect("a store");
    let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".log")).collect()
}
