//! `tidings brokers`: where the own queue is kept.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use tidings_client::{BrokerState, BrokerStatus, MoveError};
use tidings_proto::BrokerAddress;

use super::status::Broker;
use crate::args::Globals;
use crate::failure::{Effect, Exit, Failure};
use crate::node::{Node, Reach, conflict_failure, state_failure};

/// Time for the readers' grants and the refill of a new broker, beyond `--timeout`.
const REFILL: Duration = Duration::from_secs(30);

/// How often it is looked whether a new broker has everything.
const LOOK: Duration = Duration::from_millis(20);
/// Time for the readers' grants where the broker that is left does not answer anyway.
const SILENT: Duration = Duration::from_secs(10);

/// Show or change the brokers of the own queue; readers follow along
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct BrokersArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand, Serialize, Deserialize)]
enum What {
    /// List them, best first
    Ls,
    /// Publish to one more broker: it is brought to the newest head, and readers are told of it
    Add {
        /// The second line that `tidings broker` prints
        address: String,
    },
    /// Leave a broker: it gets a last, closed head, and sends readers on to the others
    Remove {
        /// Its address, or its host and port
        address: String,
        /// Also if it does not answer, or if it is the last one
        #[arg(long)]
        force: bool,
    },
}

impl BrokersArgs {
    /// Whether it may change something.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self.what, What::Ls)
    }
}

/// What a change came to.
#[derive(Serialize)]
struct Changed {
    result: &'static str,
    address: String,
    /// Whether a broker that was left sends readers on.
    informed: bool,
}

/// Carries it out.
pub(crate) async fn run(globals: Globals, args: BrokersArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online).await?;
    let done = match &args.what {
        What::Ls => list(&globals, &node).await,
        What::Add { address } => add(&globals, &node, address).await,
        What::Remove { address, force } => remove(&globals, &node, address, *force).await,
    };
    match &done {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    done
}

async fn list(globals: &Globals, node: &Node) -> Result<(), Failure> {
    node.tried().await?;
    let brokers = node.publisher.status().map_err(state_failure)?.brokers;
    brokers.iter().map(Broker::from).try_for_each(|broker| globals.form().line(&broker, || broker.words()))
}

async fn add(globals: &Globals, node: &Node, address: &str) -> Result<(), Failure> {
    let address: BrokerAddress = parse(address)?;
    let mut brokers = node.home.brokers()?;
    if brokers.contains(&address) {
        return Err(Failure::new(format!("{address} is one of the brokers already"), "see `tidings brokers ls`"));
    }
    brokers.push(address.clone());
    // Kept first: what is published there must not be forgotten by a crash.
    node.home.keep_brokers(&brokers)?;
    let locator = node.home.locator(&brokers)?;
    node.publisher.set_brokers(brokers, locator, node.patience + REFILL).await.map_err(move_failure)?;
    filled(node, &address).await?;
    let changed = Changed { result: "added", address: address.to_string(), informed: false };
    globals.form().line(&changed, || format!("added {}", changed.address))
}

/// Waits until a new broker has everything.
async fn filled(node: &Node, address: &BrokerAddress) -> Result<(), Failure> {
    use BrokerState::{Comparing, Connected, Connecting, Idle, Recovering, Transferring};
    let deadline = Instant::now() + node.patience + REFILL;
    loop {
        let brokers = node.publisher.status().map_err(state_failure)?.brokers;
        let Some(broker) = brokers.into_iter().find(|broker| broker.address == *address) else { return Ok(()) };
        match broker.state {
            Connected => return Ok(()),
            Idle | Connecting | Comparing | Recovering | Transferring if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
            state => {
                let error =
                    format!("{}:{} is one of the brokers from now on, but {}: {}", address.host, address.port, state.words(), broker.error);
                let action = "nothing is to be done if that passes: it is filled then; else `tidings brokers remove --force`";
                return Err(Failure::new(error, action).effect(Effect::Done).exit(Exit::Unreachable));
            }
        }
    }
}

async fn remove(globals: &Globals, node: &Node, address: &str, force: bool) -> Result<(), Failure> {
    let all = node.home.brokers()?;
    let (gone, stay): (Vec<_>, Vec<_>) = all.into_iter().partition(|broker| is_meant(broker, address));
    let [gone] = gone.as_slice() else {
        return Err(Failure::new(format!("{address}: no broker is called so"), "see `tidings brokers ls`"));
    };
    node.tried().await?;
    let status = node.publisher.status().map_err(state_failure)?;
    if let Some(found) = &status.conflict {
        return Err(conflict_failure(format!("{} stands at head {} of another writer with this key", found.broker, found.rank)));
    }
    let answers = status.brokers.iter().any(|broker| broker.address == *gone && is_up(broker));
    if !answers && !force {
        return Err(silent(gone));
    }
    let locator = node.home.locator(&stay)?;
    let patience = if answers { node.patience + REFILL } else { SILENT };
    let moved = match stay.is_empty() && force {
        true => node.publisher.leave_all_brokers(locator, patience).await,
        false => node.publisher.set_brokers(stay.clone(), locator, patience).await,
    };
    let moved = moved.map_err(move_failure)?;
    node.home.keep_brokers(&stay)?;
    // Of a broker that never had the queue nobody has to be sent on.
    let informed = !moved.uninformed.contains(gone);
    let changed = Changed { result: "removed", address: gone.to_string(), informed };
    globals.form().line(&changed, || format!("removed {}", changed.address))?;
    if informed || force { Ok(()) } else { Err(uninformed(gone)) }
}

fn is_up(broker: &BrokerStatus) -> bool {
    matches!(broker.state, BrokerState::Connected | BrokerState::Transferring)
}

/// It would go on showing an old queue to readers that ask only there.
fn silent(gone: &BrokerAddress) -> Failure {
    let action = "repeat when it answers, so that it can send readers on; or add --force if it is gone for good";
    Failure::new(format!("{}:{} cannot be told that the queue leaves it", gone.host, gone.port), action).exit(Exit::Unreachable)
}

fn is_meant(broker: &BrokerAddress, text: &str) -> bool {
    broker.to_string() == text || format!("{}:{}", broker.host, broker.port) == text
}

fn parse(text: &str) -> Result<BrokerAddress, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(error, "give the whole second line that `tidings broker` prints");
    let address: BrokerAddress = text.parse().map_err(|error| wrong(&format!("{text} is no broker address: {error}")))?;
    match address.pin {
        Some(_) => Ok(address),
        None => Err(wrong(&format!("{address} names no pin, and this version knows a broker only by its pin"))),
    }
}

fn uninformed(gone: &BrokerAddress) -> Failure {
    let error = format!("{gone} was left but did not take the closed head: readers that ask only there see an old queue");
    let action = "nothing is to be done if it is gone for good; else add it again, and remove it when it answers";
    Failure::new(error, action).effect(Effect::Done).exit(Exit::Unreachable)
}

fn move_failure(error: MoveError) -> Failure {
    match &error {
        MoveError::NotHeld => {
            Failure::new(&error, "see `tidings brokers ls`; repeat when a broker that stays is connected").exit(Exit::Unreachable)
        }
        MoveError::LastBroker => Failure::new(&error, "add --force if the queue is to end there, or add another broker first"),
        MoveError::Busy => Failure::new(&error, "repeat later"),
        _ => Failure::new(&error, "see `tidings brokers ls` for what changed").effect(Effect::Unknown),
    }
}
