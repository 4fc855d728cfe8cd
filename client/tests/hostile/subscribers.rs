//! The reader's side. [P-11] [P-14] [P-15]

use std::collections::BTreeMap;

use tidings_client::{ChangeId, Event, Subscriber, SubscriberConfig};
use tidings_core::reader::{ChangeKind, Verdict};
use tidings_core::{Invitation, Mutation, Object};
use tidings_proto::QueueId;

use crate::liar::Liar;
use crate::peer::{Peer, Peers};
use crate::{Both, LONG, memory, memory_is_bounded, published, publisher, put, reader_key};

/// Times that a reader begins with the liar.
const ROUNDS: usize = 60;

/// What the application makes of the changes.
type Seen = BTreeMap<String, Vec<u8>>;

async fn follow(publisher: &tidings_client::Publisher, state: &tidings_client::State, addresses: Vec<String>) -> QueueId {
    let text = publisher.grant(reader_key().card(), "reader".into()).await.expect("granted");
    let invitation = Invitation { addresses, ..Invitation::parse(&text).expect("an invitation") };
    Subscriber::follow(state, &reader_key(), &invitation, "owner").expect("followed")
}

/// Applies changes until the application sees `wanted`; the owner is accused of nothing meanwhile.
async fn sees(subscriber: &mut Subscriber, seen: &mut Seen, wanted: &Seen) {
    let until = async {
        while seen != wanted {
            match subscriber.next().await.expect("running") {
                Event::Changes(changes) => {
                    for change in &changes {
                        let path = change.path.as_str().to_owned();
                        let value = Mutation::decode(&change.mutation).expect("verified").inline;
                        match change.kind {
                            ChangeKind::Delete => drop(seen.remove(&path)),
                            _ => drop(seen.insert(path, value.expect("inline").to_vec())),
                        }
                    }
                    assert!(seen.iter().all(|(path, value)| wanted.get(path) == Some(value)), "something that the owner never wrote");
                    subscriber.acknowledge(&changes.iter().map(ChangeId::from).collect::<Vec<_>>()).expect("kept");
                }
                Event::Verdict(report) => assert!(!matches!(report.verdict, Verdict::Forked | Verdict::Rewound), "{report:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(LONG, until).await.expect("the honest broker brings it up to date");
}

/// [P-15] The liar is asked first, again and again, by a reader that keeps its state; and what it hands out is only what the owner wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_broker_tells_a_reader_sees_what_its_owner_wrote_and_accuses_no_owner() {
    let (owner, reader, peer, liar) = (memory(), memory(), Peer::new(), Liar::start(3));
    let dial = Both::new(Peers(vec![(1, peer.clone())]));
    let publisher = publisher(&owner, dial.clone(), vec![Peer::address(1)]);
    let queue = follow(&publisher, &reader, vec![liar.address.to_string(), Peer::address(1).to_string()]).await;
    let (mut seen, mut wanted) = (Seen::new(), Seen::new());
    for round in 0..ROUNDS {
        let (path, value) = (format!("/record/{}", round % 20), format!("value {round}"));
        published(&publisher, &[put(&path, &value)]).await;
        wanted.insert(path, value.into_bytes());
        liar.tell(&peer.look(|queue| queue.publishes.clone()));
        // What was seen and then changed is not there any more until it is handed out again.
        seen.retain(|path, value| wanted.get(path) == Some(value));
        let mut subscriber = Subscriber::start(reader.clone(), reader_key(), queue, SubscriberConfig::new(dial.clone())).expect("started");
        sees(&mut subscriber, &mut seen, &wanted).await;
        subscriber.close().await;
    }
    assert!(liar.connections() >= ROUNDS, "{} connections", liar.connections());
    println!("{} connections to the liar", liar.connections());
    memory_is_bounded();
}
