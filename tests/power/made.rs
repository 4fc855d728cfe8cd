//! What a command said it had made is there after the power went at once.

use super::disk::Keep;
use super::site::{Party, Site};

/// A new home was made by writes that nobody synced: after a power cut there was no home, or one with a key and empty settings, and
/// the names of a broker's folders were not durable either. [P-3]
#[test]
fn homes_grants_and_follows_outlive_a_power_cut_right_after_them() {
    for keep in [Keep::Nothing, Keep::Some] {
        let Some(mut site) = Site::new(1) else { return };
        site.cut(&Party::ALL, 0, keep, 7);
        site.begin();
        site.wait_for_receipts(3);
        site.settle();
        assert_eq!(site.ledger().violations, Vec::<String>::new(), "{keep:?} kept");
    }
}

/// The folder of the list was made, and its own name not synced.
#[test]
fn an_owner_that_was_allowed_is_allowed_after_a_power_cut() {
    let Some(mut site) = Site::new(2) else { return };
    let admitted = site.allow_owner();
    site.cut(&[Party::Broker], 0, Keep::Nothing, 0);
    assert_eq!(site.admitted(), [admitted]);
}
