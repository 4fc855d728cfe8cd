//! Where an owner's storage is, as this node was told.

use std::sync::Arc;

use tidings_client::{Follow, Row, State};
use tidings_datastore::storage::Driver;
use tidings_proto::QueueId;

use crate::failure::Failure;
use crate::home;
use crate::node::state_failure;

/// Table of addresses that `follow --storage` gave, one text for each queue. They stand for what the owner says.
const STORAGE: &str = "command/storage";

/// The storage of one owner.
pub(crate) struct OwnerStorage {
    /// What can be opened of it, the one to ask first at the front.
    pub(crate) addresses: Vec<String>,
    /// What cannot be opened, and why.
    pub(crate) skipped: Vec<String>,
    /// What can be opened, as one; `None` if nothing can.
    pub(crate) driver: Option<Arc<dyn Driver>>,
}

impl OwnerStorage {
    /// The storage of a follow: as `follow --storage` said, else as the owner says. Asks nothing of it.
    pub(crate) fn of(state: &State, follow: &Follow) -> Result<Self, Failure> {
        let told = state.row(STORAGE, follow.queue.bytes()).map_err(state_failure)?;
        let told = told.map_or_else(|| follow.locator.clone(), |told| String::from_utf8_lossy(&told).into_owned());
        let (mut addresses, mut skipped, mut drivers) = (Vec::new(), Vec::new(), Vec::new());
        for address in told.split_whitespace().filter(|address| !is_broker(address)) {
            match home::open_storage(address) {
                Ok((address, driver)) => {
                    addresses.push(address);
                    drivers.push(driver);
                }
                Err(error) => skipped.push(error),
            }
        }
        let driver = (!drivers.is_empty()).then(|| home::as_one(drivers));
        Ok(Self { addresses, skipped, driver })
    }
}

/// The owner names its brokers there too.
fn is_broker(address: &str) -> bool {
    address.starts_with("tidings://")
}

/// What keeps these addresses for a follow, from now on.
pub(crate) fn told(queue: &QueueId, addresses: &[String]) -> Row {
    Row::put(STORAGE, *queue.bytes(), addresses.join(" "))
}

/// What forgets them.
pub(crate) fn untold(queue: &QueueId) -> Row {
    Row::remove(STORAGE, *queue.bytes())
}
