//! A broker that says anything, over real QUIC, beside an honest one: what a publisher and a subscriber make of it.
//!
//! Whatever it says: nothing panics, nothing that the owner did not sign is handed out, nothing that was written is lost, and the honest
//! broker serves. Whoever adds a frame adds it to `lies.rs`.

mod dice;
mod liar;
mod lies;
#[path = "../exchange/peer.rs"]
#[allow(dead_code, reason = "some of it is for the tests of the exchange")]
mod peer;
mod publishers;
mod subscribers;
#[path = "../exchange/vault.rs"]
#[allow(dead_code, reason = "some of it is for the tests of the exchange")]
mod vault;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_client::connection::{ConnectOptions, Endpoint};
use tidings_client::dial::{Dialing, Network};
use tidings_client::{Dial, Publisher, PublisherConfig, State, Write};
use tidings_core::{NodeKey, RecordPath};
use tidings_proto::BrokerAddress;

/// Longer than anything here takes; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(60);
/// What the process may have held at its most, with both sides, all brokers and all tests: 9 MiB is the longest frame.
const MEMORY_MAX_KIB: u64 = 256 * 1024;

/// The liar over the network, everybody else in memory.
struct Both<D> {
    network: Network,
    honest: D,
}

impl<D: Dial> Both<D> {
    fn new(honest: D) -> Arc<Self> {
        let endpoint = Endpoint::bind().expect("a socket");
        Arc::new(Self { network: Network::new(endpoint, ConnectOptions::default()), honest })
    }
}

impl<D: Dial> Dial for Both<D> {
    fn dial<'a>(&'a self, address: &'a BrokerAddress) -> Dialing<'a> {
        if address.host == liar::HOST { self.network.dial(address) } else { self.honest.dial(address) }
    }
}

fn path(text: &str) -> RecordPath {
    text.parse().expect("a path")
}

fn put(text: &str, value: &str) -> Write {
    Write::Put { path: path(text), value: Bytes::copy_from_slice(value.as_bytes()), content_type: String::new() }
}

fn owner_key() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

fn reader_key() -> NodeKey {
    NodeKey::from_seed([2; 32])
}

fn memory() -> State {
    State::in_memory().expect("a state")
}

/// An owner that does not wait long for a broker that makes no sense.
fn publisher(state: &State, dial: Arc<dyn Dial>, brokers: Vec<BrokerAddress>) -> Publisher {
    let mut config = PublisherConfig::new(dial, brokers);
    config.compare_wait = Duration::from_millis(200);
    Publisher::open(state.clone(), owner_key(), config).expect("opened")
}

async fn published(publisher: &Publisher, writes: &[Write]) {
    publisher.write(writes.to_vec()).await.expect("written");
    publisher.flush(LONG).await.expect("the honest broker has it");
}

/// Panics if the process ever held more than it may.
fn memory_is_bounded() {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("most memory: {} MiB", kib / 1024);
    assert!(kib < MEMORY_MAX_KIB, "{kib} KiB");
}
