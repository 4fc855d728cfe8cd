//! A path that carries nothing for a while: nothing is lost, and what waits goes on soon after the path is back.

use std::time::{Duration, Instant};

use super::lab::{Lab, Nodes, SLACK, run};
use super::relay::Weather;

/// Which datagrams are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Away {
    Both,
    ToBroker,
    FromBroker,
}

/// From when the path was back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resumed {
    /// To the receipt of what the owner wrote while it was away.
    pub(crate) receipt: Duration,
    /// Until the reader had it.
    pub(crate) delivery: Duration,
    /// Handshake packets that both nodes sent meanwhile.
    pub(crate) initials: u64,
}

/// The path goes away, the owner writes after `quiet`, and the path comes back after `time`.
pub(crate) async fn resume(lab: &Lab, away: Away, quiet: Duration, time: Duration, longest: Duration) -> Resumed {
    let nodes = Nodes::join(lab).await;
    let before = lab.relay.seen().initials;
    let mut weather = Weather::default();
    (weather.up.closed, weather.down.closed) = (away != Away::FromBroker, away != Away::ToBroker);
    lab.relay.weather(weather);
    tokio::time::sleep(quiet).await;
    nodes.owner.write(vec![crate::nodes::put("/away", "2")]).await.expect("written");
    tokio::time::sleep(time.saturating_sub(quiet)).await;
    lab.relay.weather(Weather::default());
    let (receipt, delivery) = nodes.has_heard(Instant::now(), "/away", "2", longest).await;
    let initials = lab.relay.seen().initials - before;
    nodes.hears("/after", "3", longest).await;
    nodes.agree(&format!("{away:?} for {time:?}")).await;
    nodes.close().await;
    Resumed { receipt, delivery, initials }
}

/// Something is written in the second in which the last word came. QUIC alone would ask again a quarter of a minute later.
#[test]
fn what_is_written_as_the_path_goes_away_does_not_wait_for_as_long_as_that_was_away() {
    let lab = Lab::start(13);
    let resumed = run(resume(&lab, Away::Both, Duration::from_millis(10), Duration::from_millis(14_500), 6 * SLACK));
    assert!(resumed.receipt < SLACK && resumed.delivery < SLACK && resumed.initials > 0, "{resumed:?}");
}

/// Both directions longer than either end keeps a silent connection, and each direction alone.
#[test]
fn after_a_path_was_away_both_sides_go_on_at_once() {
    let labs = [Lab::start(10), Lab::start(11), Lab::start(12)];
    let [both, up, down] = &labs;
    let (quiet, long, short, longest) = (Duration::from_secs(1), Duration::from_secs(36), Duration::from_secs(21), 6 * SLACK);
    let (both, up, down) = run(async {
        tokio::join!(
            resume(both, Away::Both, quiet, long, longest),
            resume(up, Away::ToBroker, quiet, short, longest),
            resume(down, Away::FromBroker, quiet, short, longest)
        )
    });
    println!("both: {both:?}\nto the broker: {up:?}\nfrom the broker: {down:?}");
    for resumed in [both, up, down] {
        assert!(resumed.receipt < SLACK && resumed.delivery < SLACK, "{resumed:?}");
        // Without the first packets of new connections it was not the dialing that found the path.
        assert!(resumed.initials > 0, "{resumed:?}");
    }
    // Two nodes, two datagrams for each packet of a handshake, fewer than three of them each second: a broker that is away is not stormed.
    assert!(both.initials < 36 * 2 * 2 * 3, "{both:?}");
}
