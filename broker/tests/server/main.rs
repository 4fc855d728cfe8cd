//! The server over loopback, spoken to by bare QUIC streams: what an honest client never sends is sent here too.

mod access;
mod branches;
mod client;
mod connections;
mod drain;
mod fan_out;
mod owner;
mod pulses;
mod recoveries;
mod streams;
mod transfers;

use std::sync::Arc;

use tempfile::TempDir;
use tidings_broker::server::{Admission, Broker, BrokerConfig};
use tidings_broker::store::MemoryStore;

/// A broker on a free loopback port, with its store and folder.
struct Fixture {
    broker: Broker,
    store: Arc<MemoryStore>,
    folder: TempDir,
}

impl Fixture {
    /// Takes everybody's publishes.
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let store = Arc::new(MemoryStore::default());
        let broker = start(&folder, store.clone(), change).await;
        Self { broker, store, folder }
    }
}

async fn start(folder: &TempDir, store: Arc<MemoryStore>, change: impl FnOnce(&mut BrokerConfig)) -> Broker {
    let mut config = BrokerConfig::new(folder.path());
    config.listen = ([127, 0, 0, 1], 0).into();
    config.admission = Admission::Open;
    change(&mut config);
    Broker::start(config, store).await.expect("the broker starts")
}
