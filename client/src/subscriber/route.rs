//! The ways to a queue: its brokers, best first, then the owner's storage.

use std::sync::Arc;

use tidings_proto::BrokerAddress;

use super::config::SubscriberConfig;
use crate::dial::Dial;

/// What storage is called in verdicts and evidence.
const STORAGE: &str = "the storage";

/// One way to the queue.
#[derive(Clone)]
pub(super) struct Route {
    /// What it is called in verdicts and evidence.
    pub(super) name: String,
    pub(super) address: BrokerAddress,
    pub(super) dial: Arc<dyn Dial>,
    /// It is the owner's storage: what it lacks accuses nobody.
    pub(super) is_storage: bool,
}

/// All ways, in the order in which they are tried.
pub(super) fn routes(addresses: &[String], config: &SubscriberConfig) -> Vec<Route> {
    // An address that this build cannot read is no reason to leave the others.
    let addresses = addresses.iter().filter_map(|address| address.parse::<BrokerAddress>().ok());
    let brokers = addresses.map(|address| Route { name: address.to_string(), address, dial: config.dial.clone(), is_storage: false });
    let storage = config.storage.iter().map(|dial| Route {
        name: STORAGE.into(),
        address: BrokerAddress { host: "storage".into(), port: 1, pin: None, receipt: None },
        dial: dial.clone(),
        is_storage: true,
    });
    brokers.chain(storage).collect()
}
