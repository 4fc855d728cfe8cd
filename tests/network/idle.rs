//! Nothing happens for a long time, behind mappings that are forgotten: a change still arrives.

use std::time::Duration;

use super::lab::{Lab, Nodes, SLACK, run};
use super::relay::{Rebind, Weather};

/// Nobody writes for `quiet`, behind a NAT that forgets mappings after `mapping`; gives how long a change then takes to the reader.
pub(crate) async fn heard_after(lab: &Lab, mapping: Duration, quiet: Duration) -> Duration {
    lab.relay.weather(Weather { mapping: Some(mapping), ..Weather::default() });
    let nodes = Nodes::join(lab).await;
    tokio::time::sleep(quiet).await;
    // The owner's own packets do not keep the reader's mapping.
    let (_, delivery) = nodes.hears("/late", "2", 6 * SLACK).await;
    nodes.agree("after a quiet time").await;
    nodes.close().await;
    delivery
}

/// The port of an idle reader changes unseen, and then there is a change; gives how long that takes to the reader.
async fn heard_at_a_new_port(lab: &Lab) -> Duration {
    let nodes = Nodes::join(lab).await;
    lab.relay.rebind(Rebind::Port);
    let (_, delivery) = nodes.hears("/after", "2", 6 * SLACK).await;
    nodes.agree("at a new port").await;
    nodes.close().await;
    delivery
}

/// Clients say something every 15 s; common NATs keep a mapping for at least 30 s. A NAT that forgets sooner lets the broker speak to
/// nobody until the client speaks next, and then from a new port.
#[test]
fn a_reader_that_was_idle_behind_a_nat_hears_of_a_change_at_once_or_at_its_next_word() {
    let labs = [Lab::start(20), Lab::start(21), Lab::start(22)];
    let [kept, forgotten, changed] = &labs;
    let seconds = Duration::from_secs;
    let (kept, forgotten, changed) = run(async {
        let kept = heard_after(kept, seconds(20), seconds(42));
        tokio::join!(kept, heard_after(forgotten, seconds(5), seconds(23)), heard_at_a_new_port(changed))
    });
    println!("mapping kept: {kept:?}, forgotten: {forgotten:?}, changed: {changed:?}");
    assert!(kept < seconds(5), "{kept:?}");
    assert!(forgotten < seconds(15) + SLACK && changed < seconds(15) + SLACK, "{forgotten:?} {changed:?}");
    assert!(labs[1].relay.seen().unmapped > 0, "{:?}", labs[1].relay.seen());
}
