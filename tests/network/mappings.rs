//! A node gets another port or address while it reads: the connection goes on.

use std::time::{Duration, Instant};

use tidings_client::View;

use super::lab::{Lab, Nodes, SLACK, owner, reader, run};
use super::relay::{Rebind, Seen, Way, Weather};
use crate::nodes::{self, put};

/// Records that a reader catches up with.
const RECORDS: usize = 4_000;
/// Datagrams of the broker between two changes.
const DATAGRAMS: u64 = 500;

/// How a catch-up went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaughtUp {
    pub(crate) took: Duration,
    /// Connections that it needed.
    pub(crate) connections: usize,
    /// How often ports or addresses changed.
    pub(crate) changes: u64,
}

/// A reader catches up with [`RECORDS`] records while its mapping changes again and again.
pub(crate) async fn catch_up(lab: &Lab, rebind: Rebind) -> CaughtUp {
    let owner = owner(lab).await;
    let value = "z".repeat(600);
    nodes::published(&owner, (0..RECORDS).map(|number| put(&format!("/{number}"), &value)).collect()).await;
    let reader = reader(&owner, 2).await;
    let delay = (Duration::from_millis(5), Duration::ZERO);
    lab.relay.weather(Weather::both(Way { delay, ..Way::default() }));
    let before: Seen = lab.relay.seen();
    lab.relay.rebind_every(Some(DATAGRAMS), rebind);
    let began = Instant::now();
    let subscriber = reader.start(&nodes::network());
    let records = |view: &View| view.caught_up.is_some_and(|seen| seen.entries as usize >= RECORDS);
    let mut view = subscriber.view();
    tokio::time::timeout(6 * SLACK, view.wait_for(records)).await.expect("in time").expect("it runs");
    let took = began.elapsed();
    lab.relay.rebind_every(None, rebind);
    let after = lab.relay.seen();
    let nodes = Nodes { owner, reader, subscriber };
    nodes.agree(&format!("{rebind:?}")).await;
    nodes.close().await;
    let (connections, changes) = (after.connections - before.connections, (after.down - before.down) / DATAGRAMS);
    CaughtUp { took, connections, changes }
}

#[test]
fn a_catch_up_goes_on_over_the_same_connection_when_the_port_changes() {
    let lab = Lab::start(40);
    let caught_up = run(catch_up(&lab, Rebind::Port));
    println!("{caught_up:?}");
    assert!(caught_up.changes >= 3, "{caught_up:?}");
    // On a machine that stands still for seconds a path may count as lost.
    assert!(caught_up.connections <= 2 && caught_up.took < 3 * SLACK, "{caught_up:?}");
}

#[test]
fn a_catch_up_goes_on_over_the_same_connection_when_the_address_changes() {
    let lab = Lab::start(41);
    let caught_up = run(catch_up(&lab, Rebind::Address));
    println!("{caught_up:?}");
    assert!(caught_up.changes >= 3, "{caught_up:?}");
    assert!(caught_up.connections <= 2 && caught_up.took < 3 * SLACK, "{caught_up:?}");
}
