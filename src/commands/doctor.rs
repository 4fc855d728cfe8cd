//! `tidings doctor`: what stands in the way on this machine.

mod storage;

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_client::BrokerState;
use tidings_proto::Timestamp;

use crate::args::Globals;
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach};

/// Less free space than this is worth a word: a state file is written anew where it grows.
const FREE_KIB_MIN: u64 = 256 * 1024;
/// A head from further in the future than this says that one of two clocks is wrong.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Check what this node needs: brokers, storages, clock, disk, rights
#[derive(Debug, Args, Serialize, Deserialize)]
pub(crate) struct DoctorArgs {}

/// One check.
#[derive(Serialize)]
struct Check {
    check: &'static str,
    about: String,
    ok: bool,
    detail: String,
    #[serde(skip)]
    exit: Exit,
}

/// Prints every check; fails as the worst of them does.
pub(crate) async fn run(globals: Globals, _: DoctorArgs) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online).await?;
    node.tried().await?;
    let checks = examine(&node).await;
    node.close().await;
    let checks = checks?;
    checks.iter().try_for_each(|check| globals.form().line(check, || check.words()))?;
    let mut failed = checks.iter().filter(|check| !check.ok);
    match failed.next() {
        None => Ok(()),
        Some(first) => {
            let error = format!("{} of {} checks failed", 1 + failed.count(), checks.len());
            Err(Failure::new(error, "see the lines above for what each found").exit(first.exit))
        }
    }
}

async fn examine(node: &Node) -> Result<Vec<Check>, Failure> {
    // Opening the home has refused a key that others may read.
    let key = Check::new("key", "node.key", true, "only its owner may read it");
    let mut checks = vec![key, disk(node)];
    checks.extend(brokers(node)?);
    checks.extend(storage::check(node).await?);
    checks.extend(clocks(node)?);
    Ok(checks)
}

fn brokers(node: &Node) -> Result<Vec<Check>, Failure> {
    let brokers = node.publisher.status().map_err(crate::node::state_failure)?.brokers;
    if brokers.is_empty() {
        return Ok(vec![Check::new("broker", "config.toml", false, "no broker is configured")]);
    }
    let check = |broker: &tidings_client::BrokerStatus| {
        let ok = matches!(broker.state, BrokerState::Connected | BrokerState::Transferring | BrokerState::Idle);
        let detail =
            if broker.error.is_empty() { broker.state.words().to_owned() } else { format!("{}: {}", broker.state.words(), broker.error) };
        let exit = match broker.state {
            BrokerState::Refused => Exit::Refused,
            BrokerState::Conflict => Exit::Failed,
            _ => Exit::Unreachable,
        };
        Check { exit, ..Check::new("broker", &format!("{}:{}", broker.address.host, broker.address.port), ok, &detail) }
    };
    Ok(brokers.iter().map(check).collect())
}

/// An owner's clock that is ahead of this one: one of the two is wrong.
fn clocks(node: &Node) -> Result<Vec<Check>, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let latest = Timestamp::new(u64::try_from((now + SKEW).as_millis()).unwrap_or(u64::MAX));
    let here = clock::text(Timestamp::new(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)));
    let check = |follow: &tidings_client::Follow| {
        let detail = format!("signed at {}, and it is {here} here", clock::text(follow.verdict.as_of));
        Check::new("clock", &follow.did.to_string(), follow.verdict.as_of <= latest, &detail)
    };
    Ok(node.follows()?.iter().filter(|follow| follow.verdict.as_of != Timestamp::ZERO).map(check).collect())
}

fn disk(node: &Node) -> Check {
    match free_kib(node) {
        Some(free) => Check::new("disk", "the home", free >= FREE_KIB_MIN, &format!("{} MiB free", free / 1024)),
        None => Check::new("disk", "the home", true, "the system does not say how much is free"),
    }
}

/// As `df` tells it: the standard library does not know.
fn free_kib(node: &Node) -> Option<u64> {
    let output = Command::new("df").args(["-P", "-k"]).arg(node.home.folder()).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

impl Check {
    fn new(check: &'static str, about: &str, ok: bool, detail: &str) -> Self {
        Self { check, about: about.to_owned(), ok, detail: detail.to_owned(), exit: Exit::Failed }
    }

    fn words(&self) -> String {
        format!("{} {} {}: {}", if self.ok { "ok  " } else { "FAIL" }, self.check, self.about, self.detail)
    }
}
