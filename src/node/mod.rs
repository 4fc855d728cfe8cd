//! A node while a command uses it: its home, its state, its connections. One process runs it; commands of others borrow it.

mod brokers;
mod failures;
mod follows;
mod outbox;
mod shelf;
mod site;
mod state_watch;

pub(crate) use failures::{conflict_failure, detail, failed_state, follow_failure, state_failure, verdict_exit, verdict_failure};
pub(crate) use follows::{Feed, Follows, News, OwnerStorage, told, untold};
pub(crate) use outbox::wait as published_in_time;
pub(crate) use site::Site;
pub(crate) use state_watch::{pause, wait};

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_client::connection::ConnectOptions;
use tidings_client::{Compared, Dial, Endpoint, Follow, Network, Nowhere, Publisher, PublisherConfig, State, StateError, Subscriber};
use tidings_datastore::channel::StorageArchive;
use tidings_datastore::{Datastore, DatastoreConfig};
use tokio::runtime::Handle;

use crate::args::Globals;
use crate::console::Console;
use crate::failure::{Effect, Failure};
use crate::home::{Home, RETRY};
use shelf::Shelf;

/// Longest wait for one IP address of a broker; less than [`DELIVER`], so that its silence is told.
const CONNECT: Duration = Duration::from_secs(4);
/// How often a node that stays lets its readers know that nothing was kept from them.
const PULSE: Duration = Duration::from_secs(60);
/// Longest wait for what earlier commands left in the outbox, in a command that writes nothing itself.
const DELIVER: Duration = Duration::from_secs(5);
/// Longest wait for the state after the lock of its home was taken.
const LET_GO: Duration = Duration::from_secs(5);
/// Time for the goodbye to leave. One that is lost costs the broker 30 s of an idle connection, this node nothing.
const GOODBYE: Duration = Duration::from_millis(20);

/// Whether a command may use the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It may.
    Online,
    /// It may, and stays there: the broker and the readers hear of it again and again.
    Standing,
    /// It must not.
    Offline,
}

/// A node as one command uses it.
pub(crate) struct Node {
    running: Arc<Running>,
    tenure: Tenure,
    /// Where it tells what is no failure.
    console: Console,
    /// How long to wait for a broker.
    pub(crate) patience: Duration,
}

/// Whose the running node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tenure {
    /// It was begun for this command and ends with it.
    Own,
    /// It runs for others too, and goes on.
    Borrowed,
}

/// What runs.
pub(crate) struct Running {
    /// Its home.
    pub(crate) home: Home,
    /// Its durable state.
    pub(crate) state: State,
    /// Its own queue.
    pub(crate) publisher: Publisher,
    /// Its own records, with their values.
    pub(crate) datastore: Datastore,
    /// Addresses of its storages, for messages.
    pub(crate) storages: Vec<String>,
    /// The queue in these storages.
    pub(crate) shelf: Shelf,
    /// The follows that are kept up.
    pub(crate) kept_up: Follows,
    endpoint: Option<Endpoint>,
    /// Where its tasks run: commands have runtimes of their own, which end with them.
    runtime: Handle,
    /// Held while its brokers are changed.
    moving: Arc<tokio::sync::Mutex<()>>,
}

impl Node {
    /// Borrows the node that this process runs, or else opens the one in the home that is meant. What earlier commands left in
    /// the outbox is published while it is open.
    ///
    /// # Errors
    /// The home or its state cannot be used. Nothing was changed.
    pub(crate) async fn open(globals: &Globals, reach: Reach) -> Result<Self, Failure> {
        let (patience, console) = (globals.timeout, globals.console.clone());
        if let Some(running) = &globals.site.running {
            return Ok(Self { running: Arc::clone(running), tenure: Tenure::Borrowed, console, patience });
        }
        let home = Home::open(&globals.folder()?, globals.site.take_lock(), globals.timeout)?;
        Self::of(home, globals, reach).await
    }

    /// Opens the node in a home.
    ///
    /// # Errors
    /// Its state cannot be used. Nothing was changed.
    pub(crate) async fn of(home: Home, globals: &Globals, reach: Reach) -> Result<Self, Failure> {
        let running = Running::begin(home, reach, globals.timeout).await?;
        Ok(Self { running: Arc::new(running), tenure: Tenure::Own, console: globals.console.clone(), patience: globals.timeout })
    }

    /// What runs, for others to borrow.
    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Whether it runs for others too.
    pub(crate) fn is_borrowed(&self) -> bool {
        self.tenure == Tenure::Borrowed
    }

    /// Ends the work: publishes what waits, if a broker is there, and says goodbye. What could not be published stays saved.
    /// A borrowed node goes on and publishes by itself.
    pub(crate) async fn close(self) {
        let waits = self.publisher.status().is_ok_and(|status| status.unsigned + status.unreceipted > 0);
        if waits && self.endpoint.is_some() && self.tenure == Tenure::Own {
            let _ = outbox::wait(&self.publisher, DELIVER.min(self.patience), self.publisher.flush(DELIVER)).await;
        }
        if self.tenure == Tenure::Own
            && let Err(error) = self.shelf.show(&self.publisher, DELIVER.min(self.patience)).await
        {
            let place = self.storages.join(", ");
            self.console
                .tell(format_args!("{place} does not show this yet ({error}): it is written with the next publish, or by `tidings up`"));
        }
        self.abandon().await;
    }

    /// Ends the work of a command that failed: says goodbye, but publishes nothing more. A borrowed node goes on.
    pub(crate) async fn abandon(self) {
        if self.tenure == Tenure::Borrowed {
            return;
        }
        self.kept_up.close().await;
        self.shelf.close().await;
        self.datastore.clone().close().await;
        self.publisher.clone().close().await;
        if let Some(endpoint) = &self.endpoint {
            let _ = tokio::time::timeout(GOODBYE, endpoint.flush()).await;
        }
    }

    /// Waits for `work`, which needs a broker, as long as the command may.
    ///
    /// # Errors
    /// No broker did it in time, or all of them refuse, or the state fails, so that nothing is signed. What was written is saved.
    pub(crate) async fn published<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = outbox::wait(&self.publisher, self.patience, work) => done,
            failure = self.state_failed() => Err(state_failure(failure.into()).saved()),
        }
    }

    /// Waits until a broker takes publishes, or until each was tried and none does. Whether one does.
    pub(crate) async fn connected(&self) -> Result<bool, Failure> {
        outbox::connected(&self.publisher, DELIVER.min(self.patience)).await
    }

    /// Waits until each broker takes publishes or was tried.
    pub(crate) async fn tried(&self) -> Result<(), Failure> {
        outbox::tried(&self.publisher, DELIVER.min(self.patience)).await
    }

    /// Waits until the own queue was compared with everything that answers, and what was found there is merged. What did not answer
    /// is named. [P-5]
    pub(crate) async fn compared(&self) -> Result<Compared, Failure> {
        outbox::compared(&self.publisher, self.patience).await
    }
}

impl Deref for Node {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Running {
    async fn begin(home: Home, reach: Reach, patience: Duration) -> Result<Self, Failure> {
        let storages = home.storages()?;
        let state = open_state(&home)?;
        let (dial, endpoint) = dial(reach, patience)?;
        let brokers = home.config.addresses()?;
        let locator = home.locator(&brokers)?;
        let mut config = PublisherConfig::new(Arc::clone(&dial), brokers);
        config.receipts = home.config.receipts.unwrap_or(1).max(1);
        config.restoring = home.is_restoring();
        if reach != Reach::Offline {
            config.archive = Some(Arc::new(StorageArchive::new(Arc::clone(&storages.driver), &home.key.default_queue())));
        }
        config.pulse_every = (reach == Reach::Standing).then_some(PULSE);
        config.locator = locator;
        let publisher = Publisher::open(state.clone(), Arc::clone(&home.key), config).map_err(failures::publisher_failure)?;
        let config = DatastoreConfig::new(Arc::clone(&storages.driver), home.spool());
        let datastore = Datastore::open(state.clone(), publisher.clone(), config).await.map_err(failures::opening_failure)?;
        let shelf = Shelf::new(state.clone(), &publisher, storages.driver, reach);
        let kept_up = Follows::new(state.clone(), &home, (reach != Reach::Offline).then_some(dial));
        let (storages, runtime, moving) = (storages.addresses, Handle::current(), Arc::default());
        Ok(Self { home, state, publisher, datastore, storages, shelf, kept_up, endpoint, runtime, moving })
    }

    /// All follows.
    pub(crate) fn follows(&self) -> Result<Vec<Follow>, Failure> {
        Subscriber::follows(&self.state).map_err(state_failure)
    }

    /// The follow of an owner: its name, its DID, or the beginning of one that no other DID has.
    pub(crate) fn follow(&self, owner: &str) -> Result<Follow, Failure> {
        find(self.follows()?, owner)
    }

    /// Keeps up every follow from now on.
    pub(crate) fn keep_up_all(&self) -> Result<(), Failure> {
        self.follows()?.iter().try_for_each(|follow| self.kept_up.begin(follow.queue))
    }

    /// Where the storage of an owner is.
    pub(crate) fn storage_of(&self, follow: &Follow) -> Result<OwnerStorage, Failure> {
        OwnerStorage::of(&self.state, follow)
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

/// Opens the state of a home, or creates it with a new home. The caller has the lock of the home.
pub(crate) fn create_state(home: &Home) -> Result<State, Failure> {
    let deadline = Instant::now() + LET_GO;
    loop {
        match State::open(&home.state()) {
            // Who had the lock before is ending: it lets go of the lock a moment before it lets go of the state.
            Err(StateError::Locked) if Instant::now() < deadline => std::thread::sleep(RETRY),
            opened => return opened.map_err(state_failure),
        }
    }
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
pub(crate) const DO_NOT_REPEAT: &str = "do not repeat: it is published by the next command, or while `tidings up` or `watch` runs";

impl Failure {
    /// The same for a change that is saved and will be published.
    #[must_use]
    pub(crate) fn saved(mut self) -> Self {
        self.effect = Effect::Done;
        DO_NOT_REPEAT.clone_into(&mut self.action);
        self
    }
}
