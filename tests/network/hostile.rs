//! Somebody on the way sends what it has recorded, and what it makes up, to the broker and to its nodes: it has no effect.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::dice::Dice;
use super::lab::{Lab, Nodes, run};
use crate::nodes::LONG;

/// Memory that the broker may take for it, KiB.
const GROWTH_MAX: u64 = 64 * 1024;

/// What an attack came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attack {
    /// Datagrams sent to each side.
    pub(crate) replayed: usize,
    pub(crate) made_up: usize,
    /// Resident memory of the broker before and after, KiB.
    pub(crate) memory: (u64, u64),
    /// Connections that nodes opened because of it.
    pub(crate) connections: usize,
}

/// Records a session, sends all of it again from both sides, then `made_up` datagrams that never were.
pub(crate) async fn attack(lab: &Lab, made_up: usize, seed: u64) -> Attack {
    let nodes = Nodes::join(lab).await;
    for number in 0..100 {
        nodes.hears(&format!("/{}", number % 10), &number.to_string(), LONG).await;
    }
    let (before, memory) = (lab.relay.seen().connections, lab.broker_memory());
    let recorded = lab.relay.recorded();
    let mut dice = Dice::new(seed);
    for (number, datagram) in recorded.iter().enumerate() {
        send(lab, datagram);
        if number % 100 == 0 {
            nodes.hears("/during", &number.to_string(), LONG).await;
        }
    }
    let stranger = Stranger::new(lab);
    for number in 0..made_up {
        let datagram = make_up(&mut dice, &recorded);
        send(lab, &datagram);
        stranger.send(&datagram);
        if number % 100 == 0 {
            nodes.hears("/during", &format!("made up {number}"), LONG).await;
        }
    }
    nodes.hears("/after", "1", LONG).await;
    nodes.agree("under attack").await;
    nodes.close().await;
    let connections = lab.relay.seen().connections - before;
    Attack { replayed: recorded.len(), made_up, memory: (memory, lab.broker_memory()), connections }
}

fn send(lab: &Lab, datagram: &[u8]) {
    lab.relay.to_broker(datagram);
    lab.relay.to_nodes(datagram);
}

/// One that the broker has never heard of.
struct Stranger {
    socket: UdpSocket,
    broker: SocketAddr,
}

impl Stranger {
    fn new(lab: &Lab) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        Self { socket, broker: lab.broker.place().parse().expect("an address") }
    }

    fn send(&self, datagram: &[u8]) {
        // A full buffer loses it, as a network does.
        let _ = self.socket.send_to(datagram, self.broker);
    }
}

/// Noise, noise that looks like the first packet of a handshake, or something recorded with a few bytes altered.
fn make_up(dice: &mut Dice, recorded: &[Vec<u8>]) -> Vec<u8> {
    let noise = |dice: &mut Dice, length: usize| (0..length).map(|_| dice.roll() as u8).collect::<Vec<u8>>();
    match dice.below(3) {
        0 => {
            let length = 1 + dice.below(1_500);
            noise(dice, length)
        }
        1 => {
            let mut datagram = noise(dice, 1_200);
            let first = 0xc0 | (datagram[0] & 0x0f);
            datagram[..6].copy_from_slice(&[first, 0, 0, 0, 1, 8]);
            datagram[14] = 8;
            datagram
        }
        _ => {
            let mut datagram = recorded[dice.below(recorded.len())].clone();
            for _ in 0..1 + dice.below(4) {
                let place = dice.below(datagram.len());
                datagram[place] = dice.roll() as u8;
            }
            datagram
        }
    }
}

#[test]
fn what_somebody_repeats_or_makes_up_has_no_effect() {
    let lab = Lab::start(50);
    let bounded = async { tokio::time::timeout(Duration::from_secs(300), attack(&lab, 3_000, 50)).await };
    let attack = run(bounded).expect("bounded");
    println!("{attack:?}");
    assert!(attack.replayed > 200, "{attack:?}");
    assert!(attack.memory.1 < attack.memory.0 + GROWTH_MAX, "{attack:?}");
    assert_eq!(attack.connections, 0, "{attack:?}");
}
