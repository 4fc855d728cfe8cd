//! Hostile bytes on every stream of a broker: real QUIC over loopback, beside an owner and a reader who mind their business.

#[path = "../server/client.rs"]
#[allow(dead_code, reason = "some of it is for the tests of the server")]
mod client;
mod order;
#[path = "../server/owner.rs"]
#[allow(dead_code, reason = "some of it is for the tests of the server")]
mod owner;
mod storm;

use std::sync::Arc;

use tempfile::TempDir;
use tidings_broker::server::{Admission, Broker, BrokerConfig};
use tidings_broker::store::MemoryStore;

/// A broker on a free loopback port that takes everybody's publishes, and its folder.
async fn broker() -> (Broker, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let mut config = BrokerConfig::new(folder.path());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.admission = Admission::Open;
    (Broker::start(config, Arc::new(MemoryStore::default())).await.expect("the broker starts"), folder)
}

/// Numbers that depend on their seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll() as u8).collect()
    }
}
