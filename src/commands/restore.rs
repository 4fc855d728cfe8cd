//! `tidings init --restore` and `--take-over`: a node from its key alone, and the end of a conflict. [P-4] [P-5]

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidings_client::{Compared, OwnStatus, TakeOverError};
use tidings_datastore::{DatastoreError, FetchError};

use super::id::Identity;
use super::status::{Head, Merged, rescued_hint};
use crate::args::Globals;
use crate::failure::{Effect, Exit, Failure};
use crate::home::{Config, Home};
use crate::node::{self, Node, Reach, state_failure};

/// How often it is looked whether a decision was taken in.
const MOMENT: Duration = Duration::from_millis(20);

/// What was found.
#[derive(Serialize)]
struct Restored {
    #[serde(flatten)]
    identity: Identity,
    head: Head,
    records: u64,
    readers: u64,
    rescued: u64,
    /// Where it was found, in the order in which it was read.
    sources: Vec<String>,
    /// Values that are in a storage which is not among those of this home.
    elsewhere: u64,
    /// What could not be asked. It is compared with as soon as it answers.
    missing: Vec<String>,
}

/// What was decided.
#[derive(Serialize)]
struct TakenOver {
    result: &'static str,
    /// Random names of the writers that are known from now on, in hex.
    writers: Vec<String>,
    head: Head,
    rescued: u64,
    merged: Vec<Merged>,
}

/// Makes a node from its key: everything that it published is taken from its brokers and storages.
pub(super) async fn restore(globals: Globals, config: Config, key: &Path) -> Result<(), Failure> {
    let home = Home::restore(&globals.folder()?, config, key, globals.timeout)?;
    node::create_state(&home)?;
    let node = Node::of(home, &globals, Reach::Online).await?;
    let done = match node.compared().await {
        Ok(compared) => found(&globals, &node, &compared).await,
        Err(failure) => Err(failure),
    };
    match &done {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    done
}

async fn found(globals: &Globals, node: &Node, compared: &Compared) -> Result<(), Failure> {
    let status = node.publisher.status().map_err(state_failure)?;
    if status.head.number.value() == 0 {
        return Err(nothing(compared));
    }
    node.home.restored()?;
    let readers = node.publisher.readers().await.map_err(|error| Failure::new(error, "see `tidings readers`").effect(Effect::Done))?;
    let restored = Restored {
        identity: Identity::short(&node.home.key),
        head: status.head.into(),
        records: node.publisher.list("").map_err(state_failure)?.len() as u64,
        readers: readers.iter().filter(|reader| !reader.owner).count() as u64,
        rescued: status.rescued,
        sources: status.merged.iter().map(|merge| merge.source.clone()).collect(),
        elsewhere: elsewhere(node).await?,
        missing: missing(compared),
    };
    globals.form().line(&restored, || restored.words())?;
    globals.console.tell("whom this node followed is not kept anywhere else: ask for new invitations with the card of `tidings id --card`");
    Ok(())
}

impl Restored {
    fn words(&self) -> String {
        let Self { head, records, readers, elsewhere, .. } = self;
        let restored = format!(
            "restored at head {}.{} from {}: {records} records, {readers} readers",
            head.term,
            head.number,
            self.sources.join(" and ")
        );
        let mut lines = vec![self.identity.words(), restored];
        if *elsewhere > 0 {
            lines.push(format!(
                "{elsewhere} values are not in the storages of this home: name the storage that this node had under `storage` in config.toml"
            ));
        }
        lines.extend(self.missing.iter().map(|place| format!("not asked yet: {place}; it is compared with when it answers")));
        if self.rescued > 0 {
            lines.push(rescued_hint(self.rescued));
        }
        lines.join("\n")
    }
}

/// Looks for one value that is in storage; if it is not there, none of them is taken to be.
async fn elsewhere(node: &Node) -> Result<u64, Failure> {
    let records = node.publisher.list("").map_err(state_failure)?;
    let stored: Vec<_> = records.iter().filter(|record| record.mutation.inline.is_none() && record.mutation.object.is_some()).collect();
    let Some(first) = stored.first() else { return Ok(0) };
    match tokio::time::timeout(node.patience, node.datastore.get(&first.mutation.path)).await {
        Ok(Err(DatastoreError::Fetch(FetchError::Missing))) => Ok(stored.len() as u64),
        _ => Ok(0),
    }
}

fn missing(compared: &Compared) -> Vec<String> {
    let brokers = compared.missing.iter().map(|address| format!("{}:{}", address.host, address.port));
    brokers.chain(compared.archive_missing.then(|| "the storage".to_owned())).collect()
}

/// Nothing that answered has anything of this key. A home was made that waits for it; the node is not back.
fn nothing(compared: &Compared) -> Failure {
    let unasked = missing(compared);
    if unasked.is_empty() {
        let action = "check the key and the addresses, then repeat: the new home waits for that; for a node that never published anything, run `tidings init` in another folder";
        return Failure::new("nothing of this key is at its brokers or storages", action);
    }
    let error = format!("nothing was found in time; not reached: {}", unasked.join(", "));
    let action = "repeat the same command, or run `tidings up` here: the new home waits, and goes on as soon as one of them answers";
    Failure::new(error, action).exit(Exit::Unreachable)
}

/// Says that this writer goes on, and merges what others signed.
pub(super) async fn take_over(globals: Globals) -> Result<(), Failure> {
    let node = Node::open(&globals, Reach::Online).await?;
    let done = decide(&globals, &node).await;
    match &done {
        Ok(()) => node.close().await,
        Err(_) => node.abandon().await,
    }
    done
}

async fn decide(globals: &Globals, node: &Node) -> Result<(), Failure> {
    let before = node.compared().await?;
    if before.conflict.is_none() && !before.is_whole() {
        let error = format!("no conflict was found, and not everything answered: {}", missing(&before).join(", "));
        return Err(Failure::new(error, "repeat when it is reachable").exit(Exit::Unreachable));
    }
    let taken = node.publisher.take_over().await.map_err(|error| take_over_failure(&error))?;
    let merged = decided(node, &before).await?;
    if let Some(conflict) = &merged.conflict {
        let error = format!("another writer was found at {} meanwhile", conflict.broker);
        return Err(Failure::new(error, "end the other machine's `tidings`, then repeat").effect(Effect::Unknown));
    }
    let status: OwnStatus = node.publisher.status().map_err(state_failure)?;
    let told = TakenOver {
        result: "taken over",
        writers: taken.confirmed.iter().map(|conflict| data_encoding::HEXLOWER.encode(&conflict.writer.0)).collect(),
        head: status.head.into(),
        rescued: status.rescued,
        merged: status.merged.iter().map(Merged::from).collect(),
    };
    globals.form().line(&told, || told.words())
}

/// What a decision came to: the conflict that it was about is told for a moment longer.
async fn decided(node: &Node, before: &Compared) -> Result<Compared, Failure> {
    let deadline = Instant::now() + node.patience;
    loop {
        let now = node.compared().await?;
        if now.conflict.is_none() || now.conflict != before.conflict || Instant::now() >= deadline {
            return Ok(now);
        }
        tokio::time::sleep(MOMENT).await;
    }
}

impl TakenOver {
    fn words(&self) -> String {
        let mut lines = vec![format!("this node goes on, at head {}.{}", self.head.term, self.head.number)];
        lines.extend(self.merged.iter().map(Merged::words));
        if self.rescued > 0 {
            lines.push(rescued_hint(self.rescued));
        }
        lines.push("do not start the other copy of this home again".to_owned());
        lines.join("\n")
    }
}

fn take_over_failure(error: &TakeOverError) -> Failure {
    match error {
        TakeOverError::NoConflict => Failure::new(error, "nothing is to be done"),
        _ => Failure::new(error, "see `tidings status`").effect(Effect::Unknown),
    }
}
