//! A node while a command uses it: its home, its state, its connections.

mod failures;
mod outbox;

pub(crate) use failures::{follow_failure, state_failure, verdict_exit, verdict_failure};

use std::sync::Arc;
use std::time::Duration;

use tidings_client::connection::ConnectOptions;
use tidings_client::{Dial, Endpoint, Follow, Network, Nowhere, Publisher, PublisherConfig, State, Subscriber, SubscriberConfig};
use tidings_proto::QueueId;

use crate::args::Globals;
use crate::failure::{Effect, Failure};
use crate::home::Home;

/// Longest wait for one IP address of a broker; less than [`DELIVER`], so that its silence is told.
const CONNECT: Duration = Duration::from_secs(4);
/// Longest wait for what earlier commands left in the outbox, in a command that writes nothing itself.
const DELIVER: Duration = Duration::from_secs(5);
/// Time for the goodbye to leave. One that is lost costs the broker 30 s of an idle connection, this node nothing.
const GOODBYE: Duration = Duration::from_millis(20);

/// Whether a command may use the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It may.
    Online,
    /// It must not.
    Offline,
}

/// A node that this process owns until it is closed.
pub(crate) struct Node {
    /// Its home.
    pub(crate) home: Home,
    /// Its durable state.
    pub(crate) state: State,
    /// Its own queue.
    pub(crate) publisher: Publisher,
    dial: Arc<dyn Dial>,
    endpoint: Option<Endpoint>,
    /// How long to wait for a broker.
    pub(crate) patience: Duration,
}

impl Node {
    /// Opens the node in the home that is meant. What earlier commands left in the outbox is published while it is open.
    ///
    /// # Errors
    /// The home or its state cannot be used. Nothing was changed.
    pub(crate) fn open(globals: &Globals, reach: Reach) -> Result<Self, Failure> {
        let home = globals.home()?;
        let state = open_state(&home)?;
        let (dial, endpoint) = dial(reach, globals.timeout)?;
        let config = PublisherConfig::new(Arc::clone(&dial), home.config.addresses()?);
        let publisher = Publisher::open(state.clone(), Arc::clone(&home.key), config).map_err(failures::publisher_failure)?;
        Ok(Self { home, state, publisher, dial, endpoint, patience: globals.timeout })
    }

    /// Starts to keep up a follow.
    pub(crate) fn subscriber(&self, queue: QueueId) -> Result<Subscriber, Failure> {
        let mut config = SubscriberConfig::new(Arc::clone(&self.dial));
        config.evidence_dir = Some(self.home.evidence());
        Subscriber::start(self.state.clone(), Arc::clone(&self.home.key), queue, config).map_err(follow_failure)
    }

    /// All follows.
    pub(crate) fn follows(&self) -> Result<Vec<Follow>, Failure> {
        Subscriber::follows(&self.state).map_err(state_failure)
    }

    /// The follow of an owner: its name, its DID, or the beginning of one that no other DID has.
    pub(crate) fn follow(&self, owner: &str) -> Result<Follow, Failure> {
        find(self.follows()?, owner)
    }

    /// Ends the work: publishes what waits, if a broker is there, and says goodbye. What could not be published stays saved.
    pub(crate) async fn close(self) {
        let waits = self.publisher.status().is_ok_and(|status| status.unsigned + status.unreceipted > 0);
        if waits && self.endpoint.is_some() {
            let _ = outbox::wait(&self.publisher, DELIVER.min(self.patience), self.publisher.flush(DELIVER)).await;
        }
        self.abandon().await;
    }

    /// Ends the work of a command that failed: says goodbye, but publishes nothing more.
    pub(crate) async fn abandon(self) {
        self.publisher.close().await;
        if let Some(endpoint) = self.endpoint {
            let _ = tokio::time::timeout(GOODBYE, endpoint.flush()).await;
        }
    }

    /// Waits for `work`, which needs a broker, as long as the command may.
    ///
    /// # Errors
    /// No broker did it in time, or all of them refuse. What was written is saved.
    pub(crate) async fn published<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        outbox::wait(&self.publisher, self.patience, work).await
    }

    /// Waits until a broker takes publishes, or until each was tried and none does. Whether one does.
    pub(crate) async fn connected(&self) -> Result<bool, Failure> {
        outbox::connected(&self.publisher, DELIVER.min(self.patience)).await
    }
}

/// Opens the state of a home that was made before.
///
/// # Errors
/// Also if there is none: a state made anew would not know what this key has signed already. [P-3]
pub(crate) fn open_state(home: &Home) -> Result<State, Failure> {
    if !home.state().exists() {
        let error = format!("{} is missing", home.state().display());
        let action = "put it back from a backup; for a node that never wrote anything, remove its folder and run `tidings init` again";
        return Err(Failure::new(error, action));
    }
    create_state(home)
}

/// Opens the state of a home, or creates it with a new home.
pub(crate) fn create_state(home: &Home) -> Result<State, Failure> {
    State::open(&home.state()).map_err(state_failure)
}

fn dial(reach: Reach, patience: Duration) -> Result<(Arc<dyn Dial>, Option<Endpoint>), Failure> {
    if reach == Reach::Offline {
        return Ok((Arc::new(Nowhere), None));
    }
    let endpoint = Endpoint::bind()
        .map_err(|error| Failure::new(format!("no UDP socket can be had: {error}"), "check the limits and the firewall of this machine"))?;
    let options = ConnectOptions { timeout: CONNECT.min(patience / 2), ..ConnectOptions::default() };
    Ok((Arc::new(Network::new(endpoint.clone(), options)), Some(endpoint)))
}

fn find(follows: Vec<Follow>, owner: &str) -> Result<Follow, Failure> {
    let exact = |follow: &&Follow| follow.name == owner || follow.did.to_string() == owner;
    let begins = |follow: &&Follow| !owner.is_empty() && follow.did.to_string().starts_with(owner);
    let mut found: Vec<_> = follows.iter().filter(exact).collect();
    if found.is_empty() {
        found = follows.iter().filter(begins).collect();
    }
    match found.as_slice() {
        [follow] => Ok((*follow).clone()),
        [] => Err(Failure::new(format!("{owner}: nobody of that name is followed"), "see `tidings status` for who is")),
        _ => Err(Failure::usage(format!("{owner}: more than one followed owner is meant"), "write more of the did:key")),
    }
}

/// The action of a failure whose effect is saved.
pub(crate) const DO_NOT_REPEAT: &str = "do not repeat: it is published by the next command, or while `tidings watch` runs";

impl Failure {
    /// The same for a change that is saved and will be published.
    #[must_use]
    pub(crate) fn saved(mut self) -> Self {
        self.effect = Effect::Done;
        DO_NOT_REPEAT.clone_into(&mut self.action);
        self
    }
}
