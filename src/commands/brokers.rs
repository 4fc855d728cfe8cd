//! `tidings brokers`: where the own queue is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use tidings_client::{BrokerState, BrokerStatus, MoveError};
use tidings_proto::BrokerAddress;

use super::status::Broker;
use crate::args::Globals;
use crate::failure::{Effect, Exit, Failure};
use crate::node::{Node, Reach, Running, conflict_failure, state_failure};

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
    /// Publish to one more broker: it is brought to the newest head, and readers are told of it. Of one that is named already, do what
    /// is left to do
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
    let (new, patience) = (address.clone(), node.patience + REFILL);
    let known = node.running().change_brokers(node.patience, |running| added(running, new, patience)).await?;
    filled(node, &address).await?;
    let changed = Changed { result: if known { "kept" } else { "added" }, address: address.to_string(), informed: false };
    globals.form().line(&changed, || match known {
        true => format!("{} was one of the brokers already; it has everything, and readers are told of it", changed.address),
        false => format!("added {}", changed.address),
    })
}

/// True if it was one of the brokers already: what was left to do for it is done.
async fn added(running: Arc<Running>, address: BrokerAddress, patience: Duration) -> Result<bool, Failure> {
    let mut brokers = running.home.brokers()?;
    let known = brokers.contains(&address);
    if !known {
        brokers.push(address);
    }
    let locator = running.home.locator(&brokers)?;
    // Kept first: what is published there must not be forgotten by a crash.
    if !known {
        running.home.keep_brokers(&brokers)?;
    }
    match running.publisher.set_brokers(brokers, locator, patience).await {
        // How it is, its state says; readers are told of it as soon as something can be published.
        Ok(_) | Err(MoveError::NotHeld) => Ok(known),
        Err(error) => Err(move_failure(error).effect(Effect::Unknown)),
    }
}

/// Waits until a new broker has everything.
async fn filled(node: &Node, address: &BrokerAddress) -> Result<(), Failure> {
    use BrokerState::{Comparing, Connected, Connecting, Idle, Recovering, Refused, Transferring};
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
                let action = match state {
                    Refused => format!("if it does not admit this node, run `tidings broker allow {}` there", node.home.key.did()),
                    _ => "nothing is to be done if that passes: it is filled then; else `tidings brokers remove --force`".to_owned(),
                };
                return Err(Failure::new(error, action).effect(Effect::Done).exit(Exit::Unreachable));
            }
        }
    }
}

async fn remove(globals: &Globals, node: &Node, address: &str, force: bool) -> Result<(), Failure> {
    let gone = meant(&node.home.brokers()?, address)?;
    node.tried().await?;
    if let Some(found) = &node.publisher.status().map_err(state_failure)?.conflict {
        return Err(conflict_failure(format!("{} stands at head {} of another writer with this key", found.broker, found.rank)));
    }
    let answers = answers(node, &gone).await?;
    if !answers && !force {
        return Err(silent(&gone));
    }
    let patience = if answers { node.patience + REFILL } else { SILENT };
    let left = gone.clone();
    let informed = node.running().change_brokers(node.patience, |running| removed(running, left, force, patience)).await?;
    let changed = Changed { result: "removed", address: gone.to_string(), informed };
    globals.form().line(&changed, || format!("removed {}", changed.address))?;
    if informed || force { Ok(()) } else { Err(uninformed(&gone)) }
}

/// Whether it sends readers on, once it was tried.
async fn answers(node: &Node, gone: &BrokerAddress) -> Result<bool, Failure> {
    use BrokerState::{Comparing, Connecting, Idle, Recovering};
    let deadline = Instant::now() + node.patience;
    loop {
        let brokers = node.publisher.status().map_err(state_failure)?.brokers;
        match brokers.iter().find(|broker| broker.address == *gone) {
            Some(broker) if is_up(broker) => return Ok(true),
            Some(broker) if matches!(broker.state, Idle | Connecting | Comparing | Recovering) && Instant::now() < deadline => {
                tokio::time::sleep(LOOK).await;
            }
            Some(_) => return Ok(false),
            // The node left it before; the settings say otherwise.
            None => return Ok(true),
        }
    }
}

/// Leaves a broker, and forgets it in the settings; true if it has the closed head.
async fn removed(running: Arc<Running>, gone: BrokerAddress, force: bool, patience: Duration) -> Result<bool, Failure> {
    let mut stay = running.home.brokers()?;
    stay.retain(|broker| *broker != gone);
    let locator = running.home.locator(&stay)?;
    let moved = match stay.is_empty() && force {
        true => running.publisher.leave_all_brokers(locator, patience).await,
        false => running.publisher.set_brokers(stay.clone(), locator, patience).await,
    };
    let moved = moved.map_err(move_failure)?;
    running.home.keep_brokers(&stay).map_err(|failure| failure.effect(Effect::Unknown))?;
    // Of a broker that never had the queue nobody has to be sent on.
    Ok(!moved.uninformed.contains(&gone))
}

fn is_up(broker: &BrokerStatus) -> bool {
    matches!(broker.state, BrokerState::Connected | BrokerState::Transferring)
}

/// It would go on showing an old queue to readers that ask only there.
fn silent(gone: &BrokerAddress) -> Failure {
    let action = "repeat when it answers, so that it can send readers on; or add --force if it is gone for good";
    Failure::new(format!("{}:{} cannot be told that the queue leaves it", gone.host, gone.port), action).exit(Exit::Unreachable)
}

/// The one of these that a text names.
fn meant(brokers: &[BrokerAddress], text: &str) -> Result<BrokerAddress, Failure> {
    let is_named = |broker: &&BrokerAddress| broker.to_string() == text || format!("{}:{}", broker.host, broker.port) == text;
    let named: Vec<_> = brokers.iter().filter(is_named).collect();
    match named.as_slice() {
        [broker] => Ok((*broker).clone()),
        [] => Err(Failure::new(format!("{text}: no broker is called so"), "see `tidings brokers ls`")),
        _ => {
            let all: Vec<_> = named.iter().map(ToString::to_string).collect();
            Err(Failure::new(format!("{text}: more than one broker is meant"), format!("name one of {}", all.join(" and "))))
        }
    }
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
