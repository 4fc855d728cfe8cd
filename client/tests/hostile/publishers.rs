//! The owner's side. [P-3] [P-4] [P-5]

use std::sync::Arc;
use std::time::Duration;

use tidings_client::{Publisher, PublisherConfig, Stage};
use tidings_proto::BrokerAddress;

use crate::liar::Liar;
use crate::peer::{Peer, Peers};
use crate::vault::Vaults;
use crate::{Both, LONG, memory, memory_is_bounded, owner_key, path, published, publisher, put};

/// Times that the owner comes back to the liar.
const ROUNDS: usize = 40;
/// Recoveries that meet the liar.
const RECOVERIES: usize = 16;

fn value(publisher: &Publisher, number: usize) -> Option<(Vec<u8>, Stage)> {
    let found = publisher.get(&path(&format!("/record/{number}"))).expect("read")?;
    Some((found.mutation.inline.expect("inline").to_vec(), found.stage))
}

fn write(number: usize) -> tidings_client::Write {
    put(&format!("/record/{number}"), &format!("value {number}"))
}

/// Waits until the liar was met once more: an owner that is closed before has heard nothing.
async fn met(liar: &Liar, before: usize) {
    let met = async {
        while liar.connections() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, met).await.expect("it is dialled");
}

/// [P-3] Neither what waits nor what is signed depends on what a broker says; the scripted honest one checks that numbers ascend by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_broker_answers_nothing_written_is_lost_and_an_honest_one_gets_it() {
    let (state, peer, liar) = (memory(), Peer::new(), Liar::start(1));
    let dial = Both::new(Peers(vec![(1, peer.clone())]));
    let brokers = vec![liar.address.clone(), Peer::address(1)];
    for round in 0..ROUNDS {
        let before = liar.connections();
        let publisher = publisher(&state, dial.clone(), brokers.clone());
        published(&publisher, &[write(round)]).await;
        met(&liar, before).await;
        published(&publisher, &[write(1_000 + round)]).await;
        liar.tell(&peer.look(|queue| queue.publishes.clone()));
        publisher.close().await;
    }
    let publisher = publisher(&state, dial, vec![Peer::address(1)]);
    publisher.flush(LONG).await.expect("nothing waits");
    for number in (0..ROUNDS).chain(1_000..1_000 + ROUNDS) {
        assert_eq!(value(&publisher, number), Some((format!("value {number}").into_bytes(), Stage::Receipted)));
    }
    assert_eq!(peer.look(|queue| queue.live.len()), 2 * ROUNDS);
    println!("{} connections to the liar", liar.connections());
    memory_is_bounded();
}

fn restoring(dial: Arc<Both<Vaults>>, brokers: Vec<BrokerAddress>) -> PublisherConfig {
    let mut config = PublisherConfig::new(dial, brokers);
    (config.compare_wait, config.restoring) = (LONG, true);
    config
}

/// [P-5] What a liar gives back of a queue whose owner lost its state is not believed; what the honest broker gives is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_state_is_rebuilt_from_the_honest_broker_whatever_the_other_gives_back() {
    let (vaults, liar) = (Vaults::new([1]), Liar::start(2));
    let dial = Both::new(vaults.clone());
    let both = vec![liar.address.clone(), Vaults::address(1)];
    let first = publisher(&memory(), dial.clone(), both.clone());
    for number in 0..20 {
        published(&first, &[write(number)]).await;
    }
    first.close().await;
    for round in 0..RECOVERIES {
        let state = memory();
        let mut config = restoring(dial.clone(), both.clone());
        // The honest broker is always compared with before that; the liar need not be.
        config.compare_wait = Duration::from_secs(2);
        let before = liar.connections();
        let publisher = Publisher::open(state, owner_key(), config).expect("opened");
        met(&liar, before).await;
        rebuilt(&publisher, 20 + round).await;
        published(&publisher, &[write(20 + round)]).await;
        publisher.close().await;
    }
    let publisher = Publisher::open(memory(), owner_key(), restoring(dial, vec![Vaults::address(1)])).expect("opened");
    rebuilt(&publisher, 20 + RECOVERIES).await;
    println!("{} connections to the liar", liar.connections());
    memory_is_bounded();
}

/// Waits until the first `count` values are back.
async fn rebuilt(publisher: &Publisher, count: usize) {
    let whole = async {
        while (0..count).any(|number| value(publisher, number).is_none()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, whole).await.expect("the honest broker gives everything back");
    for number in 0..count {
        assert_eq!(value(publisher, number).expect("there").0, format!("value {number}").into_bytes());
    }
}
