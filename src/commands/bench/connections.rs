//! Connections of a run, and what went over them.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidings_client::connection::{ConnectOptions, Traffic};
use tidings_client::dial::Dialing;
use tidings_client::{Connection, Dial, Endpoint, Network};
use tidings_proto::BrokerAddress;

use crate::failure::Failure;

/// Longest wait until the broker was told of the end of all connections.
const GOODBYE: Duration = Duration::from_secs(2);

/// Makes connections, each from one of a few sockets in turn: one for each processor, so that no node waits for the socket of another.
pub(super) struct Connections {
    endpoints: Vec<Endpoint>,
    options: ConnectOptions,
    next: AtomicUsize,
    made: Mutex<Vec<Connection>>,
}

impl Connections {
    /// Binds the sockets. `patience` is the longest wait for a connection.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn bind(patience: Duration) -> Result<Arc<Self>, Failure> {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get);
        let endpoints: Result<Vec<_>, _> = (0..count).map(|_| Endpoint::bind()).collect();
        let failed =
            |error| Failure::new(format!("no UDP socket can be had: {error}"), "check the limits and the firewall of this machine");
        let options = ConnectOptions { timeout: patience, ..ConnectOptions::default() };
        Ok(Arc::new(Self { endpoints: endpoints.map_err(failed)?, options, next: AtomicUsize::new(0), made: Mutex::default() }))
    }

    /// What went over all connections that were made, the ended ones among them.
    pub(super) fn traffic(&self) -> Traffic {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter()
            .map(Connection::traffic)
            .fold(Traffic::default(), |sum, traffic| Traffic { sent: sum.sent + traffic.sent, received: sum.received + traffic.received })
    }

    /// Closes all connections, and waits a moment for the broker to be told.
    pub(super) async fn end(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        made.iter().for_each(Connection::close);
        drop(made);
        for endpoint in &self.endpoints {
            let _ = tokio::time::timeout(GOODBYE, endpoint.flush()).await;
        }
    }
}

impl Dial for Connections {
    fn dial<'a>(&'a self, address: &'a BrokerAddress) -> Dialing<'a> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len();
        let network = Network::new(self.endpoints[at].clone(), self.options.clone());
        Box::pin(async move {
            let connection = network.dial(address).await?;
            self.made.lock().unwrap_or_else(PoisonError::into_inner).push(connection.clone());
            Ok(connection)
        })
    }
}
