//! Nothing happens for a long time, behind mappings that are forgotten: a change still arrives.

use std::time::Duration;

use super::lab::{Lab, Nodes, SLACK, run};
use super::relay::Weather;

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

/// Clients say something every 15 s; common NATs keep a mapping for at least 30 s.
#[test]
fn a_reader_that_was_idle_behind_a_nat_hears_of_a_change_at_once() {
    let labs = [Lab::start(20), Lab::start(21)];
    let [kept, forgotten] = &labs;
    let seconds = Duration::from_secs;
    let (kept, forgotten) =
        run(async { tokio::join!(heard_after(kept, seconds(20), seconds(42)), heard_after(forgotten, seconds(5), seconds(23))) });
    println!("mapping kept: {kept:?}, forgotten: {forgotten:?}");
    assert!(kept < seconds(5), "{kept:?}");
    // A NAT that forgets sooner: the broker speaks to nobody until the client speaks next, and then from a new port.
    assert!(forgotten < seconds(15) + SLACK, "{forgotten:?}");
    assert!(labs[1].relay.seen().unmapped > 0, "{:?}", labs[1].relay.seen());
}
