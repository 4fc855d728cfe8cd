//! A connection whose other end is not a broker but the owner's storage. [P-21]

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tidings_client::connection::{MemoryBroker, MemoryStream, memory_pair};
use tidings_client::dial::{Dial, Dialing};
use tidings_client::{Connection, ConnectionError};
use tidings_proto::frames::{Limits, Welcome};
use tidings_proto::{BrokerAddress, QueueId, Refusal, RefusalCode, Reply, Request, VerifyingKey, caps};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::error::IndexError;
use super::index::Index;
use super::session::{End, Session};
use crate::storage::Driver;

/// How storage is read as a route.
#[derive(Clone, Copy, Debug)]
pub struct StorageDialConfig {
    /// How often the head object is read again: once and nothing else as long as it does not change. A tenth more or less, so that
    /// many readers do not come together.
    pub poll_every: Duration,
}

impl Default for StorageDialConfig {
    /// Once a minute.
    fn default() -> Self {
        Self { poll_every: Duration::from_secs(60) }
    }
}

/// Gives connections that serve subscriptions of one queue out of its owner's storage.
///
/// Dialling reads the head object once. The reader at this end verifies what comes as it would a broker's words. Acknowledgements end
/// here: storage hears nobody. The work for connections ends with them, or with this value.
pub struct StorageDial {
    index: Index,
    config: StorageDialConfig,
    connections: Mutex<JoinSet<()>>,
}

impl StorageDial {
    /// The storage of one queue; `owner` is its owner's key.
    pub fn new(storage: Arc<dyn Driver>, queue: QueueId, owner: VerifyingKey, config: StorageDialConfig) -> Self {
        Self { index: Index::new(storage, queue, owner), config, connections: Mutex::default() }
    }

    /// Connects to what the storage shows now.
    async fn connect(&self) -> Result<Connection, ConnectionError> {
        let undialed = |error: IndexError| error.undialed(self.index.address());
        let bytes = self.index.head_bytes().await.map_err(undialed)?;
        self.index.view(&bytes).map_err(undialed)?;
        self.connect_at(bytes).await
    }

    /// Connects to what the storage showed before.
    async fn connect_at(&self, bytes: Bytes) -> Result<Connection, ConnectionError> {
        // Nobody else sees what is proven here; another value for each connection is all that the pair asks for.
        let mut exporter = [0; 32];
        getrandom::fill(&mut exporter)
            .map_err(|error| ConnectionError::Unreachable { address: self.index.address(), detail: error.to_string() })?;
        let (broker, client) = memory_pair(exporter);
        let server = Server { index: self.index.clone(), poll_every: self.config.poll_every, first: Arc::new(Mutex::new(Some(bytes))) };
        {
            let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            while connections.try_join_next().is_some() {}
            connections.spawn(server.serve(broker));
        }
        client.await
    }
}

impl Dial for StorageDial {
    fn dial<'a>(&'a self, _address: &'a BrokerAddress) -> Dialing<'a> {
        Box::pin(self.connect())
    }
}

/// The other end of one connection.
#[derive(Clone)]
struct Server {
    index: Index,
    poll_every: Duration,
    /// The head object as it was dialled; for the first subscription.
    first: Arc<Mutex<Option<Bytes>>>,
}

impl Server {
    async fn serve(self, mut broker: MemoryBroker) {
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                stream = broker.streams.recv() => match stream {
                    Some(stream) => drop(streams.spawn(self.clone().stream(stream))),
                    None => return,
                },
                _ = broker.closed.wait_for(|closed| *closed) => return,
                Some(_) = streams.join_next() => {}
            }
        }
    }

    async fn stream(self, mut stream: MemoryStream) {
        match stream.requests.recv().await {
            Some(Request::Hello(_)) => control(stream).await,
            Some(Request::Subscribe(subscribe)) => {
                let mut session = Session::new(self.index.clone(), subscribe, stream.replies);
                if let Err(End::Refused(refusal)) = self.subscription(&mut session, stream.requests).await {
                    session.refuse(refusal).await;
                }
            }
            Some(_) => {
                let refusal = Refusal::new(RefusalCode::Malformed, "storage serves subscriptions only");
                let _ = stream.replies.send(Reply::Refused(refusal)).await;
            }
            None => {}
        }
    }

    /// Serves until the reader is gone or the storage cannot serve any more.
    async fn subscription(self, session: &mut Session, mut requests: mpsc::Receiver<Request>) -> Result<Infallible, End> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut last = match first {
            Some(bytes) => bytes,
            None => self.index.head_bytes().await?,
        };
        session.show(self.index.view(&last)?).await?;
        let mut due = Instant::now() + jittered(self.poll_every);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::AskBitmap) => session.bitmap().await?,
                    // Nobody would keep an acknowledgement: it is not answered, so the owner counts on none. [P-21]
                    Some(_) => {}
                    None => return Err(End::Gone),
                },
                () = sleep_until(due) => {
                    let newest = self.index.head_bytes().await?;
                    if newest != last {
                        session.show(self.index.view(&newest)?).await?;
                        last = newest;
                    }
                    due = Instant::now() + jittered(self.poll_every);
                }
            }
        }
    }
}

/// Greets, and takes proofs for what they are here: keys of this process's own.
async fn control(mut stream: MemoryStream) {
    let limits = Limits {
        publish_entries_max: 0,
        publish_bytes_max: 0,
        entry_bytes_max: caps::ENTRY_BYTES_MAX as u32,
        publishes_in_flight_max: 0,
        readers_max: caps::READERS_MAX as u32,
        live_bytes_max: 0,
    };
    let welcome = Welcome { software: "storage".into(), receipt_key: VerifyingKey::ZERO, limits };
    let mut answer = Some(Reply::Welcome(welcome));
    while let Some(reply) = answer {
        if stream.replies.send(reply).await.is_err() {
            return;
        }
        answer = match stream.requests.recv().await {
            Some(Request::Prove(prove)) => Some(Reply::Proven(prove.key)),
            _ => None,
        };
    }
}

/// Between nine and eleven tenths of `every`.
fn jittered(every: Duration) -> Duration {
    let chance = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
    every.mul_f64(0.9 + 0.2 * chance)
}
