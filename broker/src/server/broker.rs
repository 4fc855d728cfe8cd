//! Start and drain.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tidings_proto::{BrokerAddress, RefusalCode};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::config::BrokerConfig;
use super::identity::{Identity, IdentityError};
use super::shared::{Shared, now};
use super::wakes::Wakes;
use super::{accept, quic};
use crate::commit::{self, CommitJob, CommitQueue};
use crate::store::Store;

/// Publishes that were checked and wait for the commit thread.
const JOBS_MAX: usize = 1_024;
/// How often a broker that ends looks whether its store is still used.
const LET_GO: Duration = Duration::from_millis(2);

/// Why a broker does not start. Nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The broker's keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The address to serve on.
    #[error("cannot serve on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The commit thread.
    #[error("cannot start the commit thread")]
    Thread(#[source] io::Error),
}

/// A running broker. Dropping it ends it as [`Broker::drain`] does, but waits for nothing.
#[derive(Debug)]
pub struct Broker {
    local_addr: SocketAddr,
    address: BrokerAddress,
    config: BrokerConfig,
    endpoint: quinn::Endpoint,
    draining: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    commits_ended: oneshot::Receiver<()>,
    store: Weak<dyn Store>,
    /// Handles to it that others had at the start.
    others: usize,
}

impl Broker {
    /// Serves `store`, which nothing else may write heads to. Needs a tokio runtime. The keys in the data folder are made at the
    /// first start.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: BrokerConfig, store: Arc<dyn Store>) -> Result<Self, StartError> {
        let (weak, others) = (Arc::downgrade(&store), Arc::strong_count(&store) - 1);
        let identity = Identity::open(&config.data)?;
        let endpoint = quic::endpoint(config.listen, &identity)?;
        let local_addr = endpoint.local_addr().map_err(|source| StartError::Listen { listen: config.listen, source })?;
        let (draining, drains) = watch::channel(false);
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let wakes = Arc::new(Wakes::default());
        let commits_ended = start_commits(&config, store.clone(), waiting, wakes.clone()).map_err(StartError::Thread)?;
        let shared = Arc::new(Shared::new(&config, store, identity.receipt_key(), jobs, wakes, drains));
        Ok(Self {
            local_addr,
            address: address(&config, local_addr, &identity),
            accepting: tokio::spawn(accept::run(endpoint.clone(), shared, config.clone())),
            config,
            endpoint,
            draining,
            commits_ended,
            store: weak,
            others,
        })
    }

    /// The UDP address it serves on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What clients connect to.
    pub fn address(&self) -> &BrokerAddress {
        &self.address
    }

    /// Stops: takes nothing new, answers what was taken, closes every connection with [`RefusalCode::ShuttingDown`], and returns
    /// when the store is no longer used, at the latest after twice the drain deadline.
    pub async fn drain(mut self) {
        self.draining.send_replace(true);
        let deadline = Instant::now() + self.config.deadlines.drain;
        if timeout_at(deadline, &mut self.accepting).await.is_err() {
            tracing::warn!("connections did not end in time and are cut");
            self.accepting.abort();
        }
        self.endpoint.close(RefusalCode::ShuttingDown.number().into(), b"the broker stops; reconnect later");
        let deadline = Instant::now() + self.config.deadlines.drain;
        // What was committed is on disk, whether or not the last packets arrive.
        let _ = timeout_at(deadline, self.endpoint.wait_idle()).await;
        let _ = timeout_at(deadline, &mut self.commits_ended).await;
        // Reads that were under way end on threads of their own.
        while self.store.strong_count() > self.others && Instant::now() < deadline {
            tokio::time::sleep(LET_GO).await;
        }
    }
}

/// The one thread that writes heads; it ends when nobody can hand in a publish any more.
fn start_commits(
    config: &BrokerConfig,
    store: Arc<dyn Store>,
    jobs: mpsc::Receiver<CommitJob>,
    wakes: Arc<Wakes>,
) -> io::Result<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel();
    let queue = CommitQueue::new(config.commit);
    std::thread::Builder::new().name("commit".into()).spawn(move || {
        commit::run(&*store, queue, jobs, now, |group| wakes.publish(group));
        drop(store);
        // Nobody may be waiting.
        let _ = end.send(());
    })?;
    Ok(ended)
}

fn address(config: &BrokerConfig, local: SocketAddr, identity: &Identity) -> BrokerAddress {
    let (host, port) = config.public.clone().unwrap_or_else(|| {
        let host = if local.ip().is_unspecified() { "localhost".to_owned() } else { local.ip().to_string() };
        (host, local.port())
    });
    BrokerAddress { host, port, pin: Some(identity.pin()), receipt: Some(identity.receipt_key().verifying_key()) }
}
