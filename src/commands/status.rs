//! `tidings status`: how the own queue, its brokers and the follows are.

use std::time::Duration;

use clap::Args;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tidings_client::{BrokerStatus, Follow, Loss, OwnStatus};
use tidings_datastore::FetchStatus;
use tidings_datastore::follower::{fetches_at, unprinted_at};
use tidings_proto::HeadRank;

use super::branches::Conflicting;
pub(super) use super::branches::Merged;
use super::failures::datastore_failure;
use super::id::Identity;
use crate::args::Globals;
use crate::clock;
use crate::failure::Failure;
use crate::node::{Node, Reach, state_failure};

/// Longest wait for the own storages.
const SHOWN: Duration = Duration::from_secs(5);

/// Show the own queue, its brokers, what waits, and each follow with its verdict
#[derive(Debug, Args, Serialize, Deserialize)]
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
    /// Values that are not in the outbox yet.
    staged: u64,
    receipt: Option<Receipted>,
    storage: Storage,
    losses: Vec<Lost>,
    /// Random name of this incarnation of the writer, in hex.
    writer: String,
    /// It is still to be read back from its brokers and storages.
    restoring: bool,
    conflict: Option<Conflicting>,
    /// Values that wait for a person.
    rescued: u64,
    merged: Vec<Merged>,
}

/// The own storages.
#[derive(Serialize)]
struct Storage {
    addresses: Vec<String>,
    /// The head that they show; `None` if they show none, or were not asked.
    shows: Option<Head>,
    /// Receipted heads that are not there.
    behind: Option<u64>,
    error: String,
}

/// A broker that had less than it had receipted.
#[derive(Serialize)]
struct Lost {
    /// Key of its receipts, in hex.
    broker: String,
    /// Where it is, if it is one of the brokers still and its address names that key.
    address: Option<String>,
    time: String,
    receipted: Head,
    standing: Head,
}

/// A head's place.
#[derive(Serialize)]
pub(super) struct Head {
    pub(super) term: u64,
    pub(super) number: u64,
}

#[derive(Serialize)]
struct Receipted {
    term: u64,
    number: u64,
    since: String,
}

/// A broker of the own queue.
#[derive(Serialize)]
pub(super) struct Broker {
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
    /// Where its values are fetched, the first choice at the front.
    storage: Vec<String>,
    /// Addresses that are not used, and why.
    storage_skipped: Vec<String>,
    unfetched: Unfetched,
}

/// Values that are not here.
#[derive(Serialize)]
struct Unfetched {
    waiting: u64,
    missing: u64,
    altered: u64,
    no_storage: u64,
    too_new: u64,
    bytes: u64,
}

/// Prints it; asks the brokers first.
pub(crate) async fn run(globals: Globals, args: StatusArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, if args.offline { Reach::Offline } else { Reach::Online }).await?;
    if !args.offline {
        node.tried().await?;
    }
    let shows = match args.offline {
        false => node.shelf.shown(&node.home, &node.publisher, SHOWN.min(node.patience)).await,
        true => None,
    };
    let status = look(&node, shows, args.offline);
    node.close().await;
    let status = status?;
    globals.form().line(&status, || status.words())
}

fn look(node: &Node, shows: Option<HeadRank>, offline: bool) -> Result<Status, Failure> {
    let status = node.publisher.status().map_err(state_failure)?;
    let follows = node.follows()?.into_iter().map(|follow| Followed::of(node, follow)).collect::<Result<_, _>>()?;
    let brokers = status.brokers.iter().map(Broker::from).collect();
    let storage = Storage {
        addresses: node.storages.clone(),
        behind: (!offline).then(|| behind(&status, shows)),
        shows: shows.map(Head::from),
        error: node.shelf.status().map(|status| status.error).unwrap_or_default(),
    };
    // Also where the mark outlived what it stands for.
    let restoring = node.home.is_restoring() && status.head.number.value() == 0;
    let own = Own { staged: node.datastore.staged_count().map_err(datastore_failure)?, storage, restoring, ..Own::from(&status) };
    Ok(Status { identity: Identity::short(&node.home.key), own, brokers, follows })
}

fn behind(status: &OwnStatus, shows: Option<HeadRank>) -> u64 {
    let receipted = status.receipt.as_ref().map(|receipt| receipt.rank).unwrap_or_default();
    let there = shows.filter(|shows| shows.term == receipted.term).map_or(0, |shows| shows.number.value());
    receipted.number.value().saturating_sub(there)
}

impl From<HeadRank> for Head {
    fn from(rank: HeadRank) -> Self {
        Self { term: rank.term.value(), number: rank.number.value() }
    }
}

impl Lost {
    fn of(loss: &Loss, brokers: &[BrokerStatus]) -> Self {
        let broker = HEXLOWER.encode(loss.broker.bytes());
        let found = brokers.iter().map(|broker| &broker.address).find(|address| address.receipt == Some(loss.broker));
        let address = found.map(|address| format!("{}:{}", address.host, address.port));
        Self { broker, address, time: clock::text(loss.time), receipted: loss.receipted.into(), standing: loss.standing.into() }
    }
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
            staged: 0,
            receipt,
            storage: Storage { addresses: Vec::new(), shows: None, behind: None, error: String::new() },
            losses: status.losses.iter().map(|loss| Lost::of(loss, &status.brokers)).collect(),
            writer: HEXLOWER.encode(&status.writer.0),
            restoring: false,
            conflict: status.conflict.as_ref().map(Conflicting::from),
            rescued: status.rescued,
            merged: status.merged.iter().map(Merged::from).collect(),
        }
    }
}

impl From<&BrokerStatus> for Broker {
    fn from(broker: &BrokerStatus) -> Self {
        let (error, as_of) = (broker.error.clone(), clock::text_or_none(broker.as_of));
        Self { address: broker.address.to_string(), state: broker.state.words(), error, as_of }
    }
}

impl Followed {
    fn of(node: &Node, follow: Follow) -> Result<Self, Failure> {
        let unprinted = unprinted_at(&node.state, &follow.queue).map_err(state_failure)?;
        let unfetched = fetches_at(&node.state, &follow.queue).map_err(state_failure)?;
        let storage = node.storage_of(&follow)?;
        Ok(Self {
            owner: follow.did.to_string(),
            name: follow.name,
            term: follow.cursor.rank.term.value(),
            number: follow.cursor.rank.number.value(),
            offset: follow.cursor.offset.value(),
            live: follow.live_count,
            pending: follow.pending + unprinted,
            verdict: follow.verdict.verdict.word(),
            as_of: clock::text_or_none(follow.verdict.as_of),
            detail: follow.verdict.detail,
            evidence: follow.verdict.evidence.map(|path| path.display().to_string()),
            storage: storage.addresses,
            storage_skipped: storage.skipped,
            unfetched: Unfetched::from(unfetched),
        })
    }
}

impl From<FetchStatus> for Unfetched {
    fn from(status: FetchStatus) -> Self {
        let FetchStatus { waiting, missing, altered, no_storage, too_new, bytes, .. } = status;
        Self { waiting, missing, altered, no_storage, too_new, bytes }
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
            (0, 0) if self.restoring => "NOT RESTORED yet: repeat `tidings init --restore`, or run `tidings up` until it is".to_owned(),
            (0, 0) => "everything is published".to_owned(),
            (unsigned, unreceipted) => format!("{unsigned} changes and {unreceipted} signed publishes wait for a broker"),
        };
        let own = format!("own queue: head {}.{}, offset {}, {} live entries; {waits}", self.term, self.number, self.offset, self.live);
        let mut lines = vec![own, self.storage.words(self.staged)];
        lines.extend(self.conflict.iter().map(Conflicting::words));
        lines.extend(self.losses.iter().map(Lost::words));
        lines.extend(self.merged.iter().map(Merged::words));
        if self.rescued > 0 {
            lines.push(rescued_hint(self.rescued));
        }
        lines.join("\n")
    }
}

/// Values that wait for a person.
pub(super) fn rescued_hint(count: u64) -> String {
    let values = if count == 1 { "1 rescued value waits".to_owned() } else { format!("{count} rescued values wait") };
    format!("{values} for a decision: see `tidings rescued ls`")
}

impl Storage {
    fn words(&self, staged: u64) -> String {
        let standing = match (self.behind, &self.shows) {
            (None, _) => "not asked".to_owned(),
            (Some(0), _) => "shows everything that is published".to_owned(),
            (Some(behind), Some(head)) => format!("shows head {}.{}, {behind} behind", head.term, head.number),
            (Some(behind), None) => format!("shows nothing, {behind} heads behind"),
        };
        let staged = if staged == 0 { String::new() } else { format!("; {staged} values are on their way there") };
        let error = if self.error.is_empty() { String::new() } else { format!(" ({})", self.error) };
        format!("storage {}: {standing}{staged}{error}", self.addresses.join(", "))
    }
}

impl Lost {
    fn words(&self) -> String {
        let Self { broker, address, time, receipted, standing } = self;
        let broker = address.as_ref().map_or_else(|| format!("with key {broker}"), |address| format!("{address} (key {broker})"));
        format!(
            "LOSS at {time}: the broker {broker} had receipted head {}.{} and stood at {}.{}",
            receipted.term, receipted.number, standing.term, standing.number
        )
    }
}

impl Broker {
    /// In words.
    pub(super) fn words(&self) -> String {
        let error = if self.error.is_empty() { String::new() } else { format!(" ({})", self.error) };
        format!("broker {}: {}{error}", self.address, self.state)
    }
}

impl Followed {
    fn words(&self) -> String {
        let name = if self.name.is_empty() { &self.owner } else { &self.name };
        let as_of = self.as_of.as_deref().unwrap_or("never");
        let detail = if self.detail.is_empty() { String::new() } else { format!(" ({})", self.detail) };
        let follows = format!(
            "follows {name}: {}{detail}, as of {as_of}, offset {}, {} changes not watched yet",
            self.verdict, self.offset, self.pending
        );
        let skipped = self.storage_skipped.iter().map(|error| format!("  a storage is skipped: {error}"));
        [follows, format!("  {}", self.values())].into_iter().chain(skipped).collect::<Vec<_>>().join("\n")
    }

    fn values(&self) -> String {
        let storage = if self.storage.is_empty() { "no storage known".to_owned() } else { format!("storage {}", self.storage.join(", ")) };
        let Unfetched { waiting, missing, altered, no_storage, too_new, .. } = self.unfetched;
        let counts = [
            (waiting, "on their way"),
            (missing, "missing"),
            (altered, "altered"),
            (no_storage, "without a storage"),
            (too_new, "of a newer version"),
        ];
        let counts: Vec<_> = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if counts.is_empty() { format!("{storage}: every value is here") } else { format!("{storage}; values: {}", counts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_client::BrokerState;
    use tidings_proto::{Timestamp, VerifyingKey};

    /// Only the key was told, which nobody knows by heart.
    #[test]
    fn a_loss_names_the_broker_as_long_as_it_is_one() {
        let loss = |key| Loss {
            broker: VerifyingKey::new([key; 32]),
            time: Timestamp::ZERO,
            receipted: HeadRank::default(),
            standing: HeadRank::default(),
        };
        let mut address: tidings_proto::BrokerAddress = "tidings://broker.example:4433".parse().expect("an address");
        address.receipt = Some(VerifyingKey::new([7; 32]));
        let brokers = [BrokerStatus { address, state: BrokerState::Connected, error: String::new(), as_of: Timestamp::ZERO }];
        let found = Lost::of(&loss(7), &brokers);
        assert_eq!((found.address.as_deref(), found.broker), (Some("broker.example:4433"), "07".repeat(32)));
        assert_eq!(Lost::of(&loss(8), &brokers).address, None);
    }
}
