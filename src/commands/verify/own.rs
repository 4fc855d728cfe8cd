//! The own queue against its newest signed head.

use serde::Serialize;
use tidings_client::publisher::OwnSnapshot;
use tidings_client::{SnapshotError, StateError};
use tidings_core::{Entry, SetHash, SetKind};
use tidings_proto::Offset;

use crate::args::Globals;
use crate::failure::{Exit, Failure};
use crate::node::{Node, Reach, state_failure};

/// Sealed bytes that are read at a time.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// What was checked.
#[derive(Serialize)]
struct Verified {
    verified: &'static str,
    term: u64,
    number: u64,
    offset: u64,
    live: u64,
    matches: bool,
}

/// Reads every live entry.
pub(super) async fn run(globals: &Globals) -> Result<(), Failure> {
    let node = Node::open(globals, Reach::Online).await?;
    let verified = verify(&node).await;
    node.close().await;
    let Some(verified) = verified? else {
        return Err(Failure::new("nothing was signed yet", "write a record first"));
    };
    globals.form().line(&verified, || verified.words())?;
    if verified.matches {
        return Ok(());
    }
    let error = "the entries in state.redb are not the set that the newest head signs";
    Err(Failure::new(error, "do not write; put good copies of state.redb and its folder back"))
}

async fn verify(node: &Node) -> Result<Option<Verified>, Failure> {
    let snapshot = node.publisher.snapshot(node.patience).await.map_err(snapshot_failure)?;
    let Some(snapshot) = snapshot else { return Ok(None) };
    let signed = snapshot.head().verify(&node.home.key.verifying_key()).is_ok();
    let (set, live) = held(&snapshot).map_err(state_failure)?;
    let head = snapshot.head().head();
    Ok(Some(Verified {
        verified: "own",
        term: head.rank().term.value(),
        number: head.rank().number.value(),
        offset: head.offset.value(),
        live,
        matches: signed && set.root() == head.live_root && live == head.live_count,
    }))
}

/// The set of the entries that are kept, and how many they are.
fn held(snapshot: &OwnSnapshot) -> Result<(SetHash, u64), StateError> {
    let queue = snapshot.descriptor().id();
    let (mut set, mut count, mut after) = (SetHash::new(SetKind::Live), 0, Offset::ZERO);
    loop {
        let page = snapshot.entries(after, snapshot.head().head().offset, PAGE_BYTES)?;
        let Some((last, _)) = page.last() else { return Ok((set, count)) };
        after = *last;
        for (_, bytes) in &page {
            set.add(Entry::digest_of(bytes, &queue).bytes());
            count += 1;
        }
    }
}

fn snapshot_failure(error: SnapshotError) -> Failure {
    match &error {
        SnapshotError::Late => Failure::new(&error, "repeat when a broker can be reached").exit(Exit::Unreachable),
        _ => Failure::new(&error, "repeat"),
    }
}

impl Verified {
    fn words(&self) -> String {
        let outcome = if self.matches { "match" } else { "DO NOT match" };
        format!("own queue: {} live entries {outcome} head {}.{}, offset {}", self.live, self.term, self.number, self.offset)
    }
}
