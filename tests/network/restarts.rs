//! The broker is killed: when those who only listen notice.

use std::time::{Duration, Instant};

use super::lab::{Lab, Nodes, SLACK, run};

/// Clients say something so often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What is not acknowledged for so long is lost.
const SILENCE: Duration = Duration::from_secs(5);

/// The broker is killed after `idle` and begun again at once; gives how long a change that is written then takes to the reader.
pub(crate) async fn heard_after_restart(lab: &mut Lab, idle: Duration) -> Duration {
    let nodes = Nodes::join(lab).await;
    tokio::time::sleep(idle).await;
    tokio::task::block_in_place(|| {
        lab.kill_broker();
        lab.revive_broker();
    });
    let (_, delivery) = nodes.hears("/after", "2", 6 * SLACK).await;
    nodes.agree("after a restart").await;
    nodes.close().await;
    delivery
}

/// The broker is killed after `idle` and stays away; gives when the reader says so.
pub(crate) async fn noticed_after_kill(lab: &mut Lab, idle: Duration) -> Duration {
    let nodes = Nodes::join(lab).await;
    tokio::time::sleep(idle).await;
    tokio::task::block_in_place(|| lab.kill_broker());
    let began = Instant::now();
    let mut view = nodes.subscriber.view();
    let noticed = tokio::time::timeout(6 * SLACK, view.wait_for(|view| !view.connected)).await;
    noticed.expect("in time").expect("it runs");
    let noticed = began.elapsed();
    nodes.subscriber.close().await;
    noticed
}

#[test]
fn whoever_only_listens_notices_a_killed_broker_at_the_next_word_of_its_own() {
    let mut labs = [Lab::start(30), Lab::start(31)];
    let [back, away] = &mut labs;
    let idle = Duration::from_secs(4);
    let (back, away) = run(async {
        // Each blocks a thread for a moment, so neither may be polled by the other.
        tokio::join!(heard_after_restart(back, idle), noticed_after_kill(away, idle))
    });
    println!("back: {back:?}, away: {away:?}");
    assert!(back < KEEP_ALIVE + SLACK, "{back:?}");
    assert!(away < KEEP_ALIVE + SILENCE + SLACK, "{away:?}");
}
