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

/// All ways, in the order in which they are tried: the brokers that the owner's newest grant names, those of the invitation, the
/// storage. [P-13]
pub(super) fn routes(locator: &str, addresses: &[String], config: &SubscriberConfig) -> Vec<Route> {
    // An address that this build cannot read is no reason to leave the others.
    let invited = addresses.iter().filter_map(|address| address.parse::<BrokerAddress>().ok());
    let mut brokers: Vec<BrokerAddress> = Vec::new();
    for address in named(locator).chain(invited) {
        if !brokers.contains(&address) {
            brokers.push(address);
        }
    }
    let brokers = brokers.into_iter();
    let brokers = brokers.map(|address| Route { name: address.to_string(), address, dial: config.dial.clone(), is_storage: false });
    let storage = config.storage.iter().map(|dial| Route {
        name: STORAGE.into(),
        address: BrokerAddress { host: "storage".into(), port: 1, pin: None, receipt: None },
        dial: dial.clone(),
        is_storage: true,
    });
    brokers.chain(storage).collect()
}

/// Routes that are tried together from `at` on, with their places: brokers one beside the other, unless they are to be asked in turn; the
/// storage alone, when no broker is left.
pub(super) fn together(routes: &[Route], at: usize, in_turn: bool) -> Vec<(usize, Route)> {
    let beside = |route: &(usize, &Route)| route.0 == at || !(in_turn || route.1.is_storage);
    routes.iter().enumerate().skip(at).take_while(beside).map(|(at, route)| (at, route.clone())).collect()
}

/// Brokers in the locator of a grant, best first.
pub(super) fn named(locator: &str) -> impl Iterator<Item = BrokerAddress> {
    locator.split(' ').filter(|place| place.starts_with("tidings://")).filter_map(|place| place.parse().ok())
}
