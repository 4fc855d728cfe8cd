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
