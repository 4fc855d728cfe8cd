//! Serving.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_broker::server::{Admission, AdmissionList, Broker, BrokerConfig, IdentityError, StartError};
use tidings_broker::store::{AFTER_DAMAGE, Condition, OpenError, RocksStore, Settings as StoreSettings, Store};

use super::settings::{Admit, Settings};
use crate::console::Console;
use crate::failure::Failure;
use crate::output;
use crate::signal::Stop;

/// Longest wait for reads that are under way at the end.
const RELEASE: Duration = Duration::from_secs(2);
/// How often it is looked whether they are over.
const GLANCE: Duration = Duration::from_millis(2);

/// How often it is looked whether writes are taken.
const LOOK: Duration = Duration::from_secs(1);

/// What to do where a write failed.
const AFTER_A_STOP: &str = "check the disk, then start the broker again: what it receipted is there, and owners repeat the rest";

/// Serves until SIGINT or SIGTERM, then drains. Prints two lines once it serves: where, and the address for clients.
pub(super) async fn run(console: &Console, settings: Settings) -> Result<(), Failure> {
    let stop = Stop::listen()?;
    let config = config(settings)?;
    let store = Arc::new(open(&config.data)?);
    let broker = Broker::start(config, Arc::clone(&store) as Arc<dyn Store>).await.map_err(start_failure)?;
    output::print(console, &format!("listening on {}", broker.local_addr()))?;
    output::print(console, &broker.address().to_string())?;
    tokio::select! {
        () = stop.wait() => {}
        () = watch(&store) => {}
    }
    tracing::info!("draining");
    broker.drain().await;
    let condition = condition(&store).await;
    let damaged = store.damaged_queues();
    released(&store).await;
    tracing::info!("stopped");
    match condition {
        // A compaction that meets damage ends all writing, and would meet it again.
        Condition::Stopped(cause) => {
            Err(Failure::new(format!("the store took no more writes: {cause}"), if damaged > 0 { AFTER_DAMAGE } else { AFTER_A_STOP }))
        }
        _ if damaged > 0 => Err(Failure::new("stored data was found damaged: the log says of which queues", AFTER_DAMAGE)),
        _ => Ok(()),
    }
}

/// Tells the operator, at once and without anybody publishing, that no write is taken, and that writes are taken again.
async fn watch(store: &Arc<RocksStore>) {
    let mut known = Condition::Writing;
    let mut due = tokio::time::interval(LOOK);
    loop {
        due.tick().await;
        let now = condition(store).await;
        match &now {
            _ if std::mem::discriminant(&now) == std::mem::discriminant(&known) => {}
            Condition::Writing => tracing::info!("there is space again: publishes and acknowledgements are taken"),
            Condition::Full(cause) => {
                tracing::error!(%cause, "the disk is full: publishes and acknowledgements are refused until there is space");
            }
            Condition::Stopped(cause) => {
                tracing::error!(%cause, "no write is taken until the broker is started again; reads are served");
            }
        }
        known = now;
    }
}

async fn condition(store: &Arc<RocksStore>) -> Condition {
    let store = Arc::clone(store);
    let looked = tokio::task::spawn_blocking(move || store.condition()).await;
    looked.unwrap_or(Condition::Writing)
}

/// Waits until the last read of a cut connection has let go of the store. A process that ends under such a read would be ended by
/// the store's library with an abort.
async fn released(store: &Arc<RocksStore>) {
    let deadline = Instant::now() + RELEASE;
    while Arc::strong_count(store) > 1 && Instant::now() < deadline {
        tokio::time::sleep(GLANCE).await;
    }
}

fn config(settings: Settings) -> Result<BrokerConfig, Failure> {
    let data = settings.data.ok_or_else(|| Failure::usage("a broker needs a folder", "name one with --data"))?;
    let listen = settings.listen.unwrap_or_else(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, 4433)));
    let admit = settings.admit.unwrap_or(if listen.ip().is_loopback() { Admit::Open } else { Admit::List });
    let mut config = BrokerConfig::new(data);
    config.listen = listen;
    config.public = settings.public.map(|public| (public.host, public.port));
    config.admission = match admit {
        Admit::Open => Admission::Open,
        Admit::List => Admission::List(AdmissionList::in_folder(&config.data)),
    };
    Ok(config)
}

/// Where the queues are.
pub(super) fn store(data: &Path) -> PathBuf {
    data.join("store")
}

/// The queues are in `store/`, beside the keys and the admission list.
fn open(data: &Path) -> Result<RocksStore, Failure> {
    let folder = store(data);
    tidings_broker::folder::make(&folder)
        .map_err(|error| Failure::new(format!("{} cannot be made: {error}", folder.display()), "check --data and its rights"))?;
    RocksStore::open(&folder, &StoreSettings::default()).map_err(|error| open_failure(&folder, &error))
}

fn open_failure(folder: &Path, error: &OpenError) -> Failure {
    let action = match error {
        OpenError::Locked => "end the other one, or choose another folder",
        OpenError::TooNew { .. } => "use the version of Tidings that wrote it, or a newer one",
        OpenError::Damaged(_) => AFTER_DAMAGE,
        _ => "check the rights of the folder and the free space",
    };
    Failure::new(format!("{}: {}", folder.display(), with_sources(error)), action)
}

fn start_failure(error: StartError) -> Failure {
    let action = match &error {
        StartError::Identity(IdentityError::Damaged { .. } | IdentityError::TooNew { .. }) => "see above; it was left as it is",
        StartError::Identity(_) => "check the rights of the folder and the free space",
        StartError::Listen { .. } => "choose another address with --listen, or end what uses it",
        _ => "raise the limits of this user",
    };
    Failure::new(with_sources(&error), action)
}

/// An error with its causes.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
