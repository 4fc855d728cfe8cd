//! `tidings status`: how the own queue, its brokers and the follows are.

use clap::Args;
use serde::Serialize;
use tidings_client::{BrokerStatus, Follow, OwnStatus};

use super::id::Identity;
use crate::args::Globals;
use crate::clock;
use crate::failure::Failure;
use crate::node::{Node, Reach, state_failure};

/// Show the own queue, its brokers, what waits, and each follow with its verdict
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Do not ask the brokers
    #[arg(long)]
    offline: bool,
}

/// All of it.
#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    identity: Identity,
    own: Own,
    brokers: Vec<Broker>,
    follows: Vec<Followed>,
}

#[derive(Serialize)]
struct Own {
    term: u64,
    number: u64,
    offset: u64,
    live: u64,
    floor: u64,
    unsigned: u64,
    unreceipted: u64,
    receipt: Option<Receipted>,
}

#[derive(Serialize)]
struct Receipted {
    term: u64,
    number: u64,
    since: String,
}

#[derive(Serialize)]
struct Broker {
    address: String,
    state: &'static str,
    error: String,
    as_of: Option<String>,
}

#[derive(Serialize)]
struct Followed {
    owner: String,
    name: String,
    term: u64,
    number: u64,
    offset: u64,
    live: u64,
    pending: u64,
    verdict: &'static str,
    as_of: Option<String>,
    detail: String,
    evidence: Option<String>,
}

/// Prints it; asks the brokers first.
pub(crate) async fn run(globals: Globals, args: StatusArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, if args.offline { Reach::Offline } else { Reach::Online })?;
    if !args.offline {
        node.connected().await?;
    }
    let status = look(&node);
    node.close().await;
    let status = status?;
    globals.form().line(&status, || status.words())
}

fn look(node: &Node) -> Result<Status, Failure> {
    let own = node.publisher.status().map_err(state_failure)?;
    let follows = node.follows()?.into_iter().map(Followed::from).collect();
    let brokers = own.brokers.iter().map(Broker::from).collect();
    Ok(Status { identity: Identity::short(&node.home.key), own: Own::from(&own), brokers, follows })
}

impl From<&OwnStatus> for Own {
    fn from(status: &OwnStatus) -> Self {
        let receipt = status.receipt.as_ref().map(|receipt| Receipted {
            term: receipt.rank.term.value(),
            number: receipt.rank.number.value(),
            since: clock::text(receipt.since),
        });
        Self {
            term: status.head.term.value(),
            number: status.head.number.value(),
            offset: status.offset.value(),
            live: status.live_count,
            floor: status.floor.value(),
            unsigned: status.unsigned,
            unreceipted: status.unreceipted,
            receipt,
        }
    }
}

impl From<&BrokerStatus> for Broker {
    fn from(broker: &BrokerStatus) -> Self {
        let (error, as_of) = (broker.error.clone(), clock::text_or_none(broker.as_of));
        Self { address: broker.address.to_string(), state: broker.state.words(), error, as_of }
    }
}

impl From<Follow> for Followed {
    fn from(follow: Follow) -> Self {
        Self {
            owner: follow.did.to_string(),
            name: follow.name,
            term: follow.cursor.rank.term.value(),
            number: follow.cursor.rank.number.value(),
            offset: follow.cursor.offset.value(),
            live: follow.live_count,
            pending: follow.pending,
            verdict: follow.verdict.verdict.word(),
            as_of: clock::text_or_none(follow.verdict.as_of),
            detail: follow.verdict.detail,
            evidence: follow.verdict.evidence.map(|path| path.display().to_string()),
        }
    }
}

impl Status {
    fn words(&self) -> String {
        let mut lines = vec![self.identity.words(), self.own.words()];
        lines.extend(self.brokers.iter().map(Broker::words));
        lines.extend(self.follows.iter().map(Followed::words));
        lines.join("\n")
    }
}

impl Own {
    fn words(&self) -> String {
        let waits = match (self.unsigned, self.unreceipted) {
            (0, 0) => "everything is published".to_owned(),
            (unsigned, unreceipted) => format!("{unsigned} changes and {unreceipted} signed publishes wait for a broker"),
        };
        format!("own queue: head {}.{}, offset {}, {} live entries; {waits}", self.term, self.number, self.offset, self.live)
    }
}

impl Broker {
    fn words(&self) -> String {
        let error = if self.error.is_empty() { String::new() } else { format!(" ({})", self.error) };
        format!("broker {}: {}{error}", self.address, self.state)
    }
}

impl Followed {
    fn words(&self) -> String {
        let name = if self.name.is_empty() { &self.owner } else { &self.name };
        let as_of = self.as_of.as_deref().unwrap_or("never");
        let detail = if self.detail.is_empty() { String::new() } else { format!(" ({})", self.detail) };
        format!("follows {name}: {}{detail}, as of {as_of}, offset {}, {} changes not watched yet", self.verdict, self.offset, self.pending)
    }
}
