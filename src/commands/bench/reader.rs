//! Readers of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_client::{CaughtUp, Dial, GrantFailure, State, Subscriber, SubscriberConfig};
use tidings_core::reader::Verdict;
use tidings_core::{Invitation, NodeKey};
use tidings_proto::QueueId;
use tidings_proto::caps::READERS_MAX;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connections::Connections;
use super::ground::{Ground, Whose, joined};
use super::owner::{Owner, untaken};
use crate::failure::{Exit, Failure};
use crate::node::{failed_state, follow_failure, verdict_failure};

/// Readers that one queue has beside its owner.
pub(super) const READERS_OF_QUEUE_MAX: u64 = READERS_MAX as u64 - 1;
/// Nodes that are granted, connect and catch up beside each other while a run is prepared.
const CONNECTING_MAX: usize = 64;
/// What to do about a reader that is late.
const LATE: &str = "see what the broker's log says; give a longer --timeout, or fewer readers";

/// A node that reads.
pub(super) struct Reader {
    key: Arc<NodeKey>,
    state: State,
}

impl Reader {
    /// A new one that follows nobody.
    ///
    /// # Errors
    /// Its state cannot be made.
    pub(super) fn make(ground: &Ground, key: NodeKey) -> Result<Self, Failure> {
        Ok(Self { key: Arc::new(key), state: ground.state(Whose::Reader, ground.reader_number())? })
    }

    /// Is granted the queue of an owner, and follows it. Nothing is sent yet.
    ///
    /// # Errors
    /// The grant is not receipted, or the state fails.
    pub(super) async fn follow(&self, owner: &Owner) -> Result<QueueId, Failure> {
        let invitation = owner.publisher.grant(self.key.card(), String::new()).await.map_err(grant_failure)?;
        let invitation = Invitation::parse(&invitation).map_err(|error| Failure::new(error, "report this as a bug"))?;
        tokio::task::block_in_place(|| Subscriber::follow(&self.state, &self.key, &invitation, "")).map_err(follow_failure)
    }

    /// Follows `count` of these owners, other ones first than other nodes do, and catches up with each. Gives which owner it is.
    async fn follow_some(
        self,
        ground: &Ground,
        owners: &[Owner],
        number: u64,
        count: u64,
        dial: &Arc<Connections>,
    ) -> Result<Vec<(usize, Subscriber)>, Failure> {
        let mut subscribers = Vec::new();
        for place in 0..count {
            let at = usize::try_from((number + place) % owners.len() as u64).unwrap_or_default();
            let queue = self.follow(&owners[at]).await?;
            let mut subscriber = self.start(queue, Arc::clone(dial) as Arc<dyn Dial>)?;
            caught_up(&mut subscriber, ground.patience).await?;
            subscribers.push((at, subscriber));
        }
        Ok(subscribers)
    }

    /// Begins to keep up a follow, on a connection of its own.
    ///
    /// # Errors
    /// The state fails.
    pub(super) fn start(&self, queue: QueueId, dial: Arc<dyn Dial>) -> Result<Subscriber, Failure> {
        let start = || Subscriber::start(self.state.clone(), Arc::clone(&self.key), queue, SubscriberConfig::new(dial));
        tokio::task::block_in_place(start).map_err(follow_failure)
    }
}

/// Waits until a reader has verified the newest head that was there when it connected.
///
/// # Errors
/// The broker denies it, lies, or could not be reached for `patience`.
pub(super) async fn caught_up(subscriber: &mut Subscriber, patience: Duration) -> Result<CaughtUp, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match tokio::time::timeout_at(deadline.into(), subscriber.caught_up()).await {
            Ok(Ok(caught_up)) => return Ok(caught_up),
            // Many nodes on one machine connect at once: one that does not get through tries again by itself.
            Ok(Err(report)) if matches!(report.verdict, Verdict::Offline | Verdict::Stale) && Instant::now() < deadline => {}
            Ok(Err(report)) => return Err(verdict_failure(&report, LATE)),
            Err(_) => return Err(late(patience)),
        }
    }
}

/// Makes `count` readers of these owners, spread evenly, each with a connection of its own, and waits until all have everything and
/// nothing is on its way. A node follows each owner at most once, so that there are no more nodes than needed.
///
/// # Errors
/// One of them is refused, or does not catch up in time.
pub(super) async fn followers(
    ground: &Arc<Ground>,
    owners: &Arc<[Owner]>,
    count: u64,
    dial: &Arc<Connections>,
) -> Result<Vec<Subscriber>, Failure> {
    let ((_, mut keys), each) = (ground.keys(), owners.len() as u64);
    let places = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut nodes = JoinSet::new();
    for number in 0..count.div_ceil(each) {
        let (reader, places) = (Reader::make(ground, keys.next())?, Arc::clone(&places));
        let (ground, owners, dial) = (Arc::clone(ground), Arc::clone(owners), Arc::clone(dial));
        let follows = each.min(count - number * each);
        nodes.spawn(async move {
            let _place = places.acquire_owned().await;
            reader.follow_some(&ground, &owners, number, follows, &dial).await
        });
    }
    let nodes = ground.unless_stopped(joined(nodes)).await?;
    let mut subscribers = Vec::new();
    for (owner, subscriber) in nodes.into_iter().flatten() {
        ground.unless_stopped(settled(&owners[owner], &subscriber, ground.patience)).await?;
        subscribers.push(subscriber);
    }
    Ok(subscribers)
}

/// Waits until a reader has the newest head of its owner: the readers that were granted after it changed the queue too.
async fn settled(owner: &Owner, subscriber: &Subscriber, patience: Duration) -> Result<(), Failure> {
    let newest = owner.publisher.mark().borrow().signed;
    let mut view = subscriber.view();
    let has_it = view.wait_for(|view| view.caught_up.is_some_and(|caught_up| caught_up.cursor.rank >= newest));
    match tokio::time::timeout(patience, has_it).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(late(patience)),
    }
}

fn late(patience: Duration) -> Failure {
    Failure::new(format!("a reader did not catch up within {} s", patience.as_secs()), LATE).exit(Exit::Unreachable)
}

fn grant_failure(error: GrantFailure) -> Failure {
    match &error {
        GrantFailure::State(state) => failed_state(state),
        GrantFailure::Saved { .. } => untaken(Failure::new("the broker did not take a new reader in time", "").exit(Exit::Unreachable)),
        _ => Failure::new(error, "see the limits of readers for one queue; use more owners, or another seed"),
    }
}
