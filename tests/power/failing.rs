//! The broker's disk fails or is full: nothing more is receipted, and nothing that was is lost. [P-7]

use fuser::Errno;

use super::disk::{Keep, Operation, Rule};
use super::site::{Party, Site};

/// The log of a store.
const LOG: &str = ".log";

/// A sync that fails is never repeated: what the system could not write it may have forgotten, and a second sync would say nothing.
#[test]
fn after_one_failed_sync_a_broker_receipts_nothing_until_it_was_restarted_and_says_so() {
    let Some(mut site) = Site::new(3) else { return };
    site.begin();
    site.wait_for_receipts(5);
    site.disk(Party::Broker).add(Rule { operation: Operation::Sync, ending: LOG, pass: 0, fail: 1, error: Errno::EIO });
    site.disk(Party::Broker).wait_for_failures(1);
    site.kill(&[Party::Owner]);
    let results = site.apply(5);
    assert_eq!(results, ["saved"; 5], "receipted after a failed sync");
    site.wait_for_word_of_broker(&["not stored", "no write is taken until the broker is started again"]);
    site.cut(&[Party::Broker], 0, Keep::Nothing, 0);
    site.begin();
    let receipts = site.ledger().receipts;
    site.wait_for_receipts(receipts + 5);
    site.settle();
    assert_eq!(site.ledger().violations, Vec::<String>::new());
}

#[test]
fn a_broker_on_a_full_disk_receipts_nothing_and_goes_on_when_it_is_restarted_with_space() {
    let Some(mut site) = Site::new(4) else { return };
    site.begin();
    site.wait_for_receipts(5);
    let used = site.disk(Party::Broker).used();
    site.disk(Party::Broker).set_capacity(Some(used + 100_000));
    site.disk(Party::Broker).wait_for_failures(1);
    site.kill(&[Party::Owner]);
    assert_eq!(site.apply(5), ["saved"; 5], "receipted on a full disk");
    site.wait_for_word_of_broker(&["not stored", "the disk is full: publishes and acknowledgements are refused"]);
    site.disk(Party::Broker).set_capacity(None);
    site.cut(&[Party::Broker], 0, Keep::Nothing, 0);
    site.begin();
    let receipts = site.ledger().receipts;
    site.wait_for_receipts(receipts + 5);
    site.settle();
    assert_eq!(site.ledger().violations, Vec::<String>::new());
}

/// The lab itself: on disks that say of every sync that it was done, and do nothing, it must find what is lost.
#[test]
fn what_lying_disks_lose_is_found() {
    for (party, finding) in [(Party::Broker, "and receipted"), (Party::Owner, "is lost"), (Party::Reader, "the reader acknowledged")] {
        let Some(mut site) = Site::new(5) else { return };
        site.disk(party).set_lies(true);
        site.begin();
        site.wait_for_receipts(5);
        site.wait_for_acknowledgement();
        site.cut(&[party], 0, Keep::Nothing, 0);
        let ledger = site.ledger();
        assert!(ledger.violations.iter().any(|wrong| wrong.contains(finding)), "{party:?}: {:?}", ledger.violations);
    }
}
