//! A queue on its way back to its owner: parts of one snapshot, made no faster than they are taken. [P-5]

use std::sync::Arc;
use std::time::Duration;

use tidings_proto::{QueueId, Refusal, RefusalCode, Reply};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::shared::Shared;
use crate::engine::Recovery;
use crate::store::Store;

/// Recoveries at the same time: each holds a thread, a snapshot and two parts.
const PLACES: usize = 4;
/// How long an owner may take to take one part: until then others may be waiting for its place.
pub(super) const PART_WAIT: Duration = Duration::from_secs(30);

/// What recoveries share in one broker.
#[derive(Clone, Debug)]
pub(super) struct Recoveries {
    places: Arc<Semaphore>,
}

impl Recoveries {
    /// All places free.
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)) }
    }
}

/// The answer to one `Recover`. Nothing is read before the first part is asked for, so that it shows what was answered before it.
pub(super) struct Parts {
    shared: Arc<Shared>,
    queue: QueueId,
    coming: Option<mpsc::Receiver<Reply>>,
}

impl Parts {
    pub(super) fn new(shared: Arc<Shared>, queue: QueueId) -> Self {
        Self { shared, queue, coming: None }
    }

    /// The next part or refusal, and whether it is the last of the answer. Safe to cancel.
    pub(super) async fn next(&mut self) -> (Reply, bool) {
        let reply = match self.coming.get_or_insert_with(|| start(&self.shared, self.queue)).recv().await {
            Some(reply) => reply,
            None => Reply::Refused(Refusal::new(RefusalCode::Unavailable, "the recovery did not end; repeat later")),
        };
        let last = !matches!(&reply, Reply::Part(part) if part.head.is_empty());
        (reply, last)
    }
}

fn start(shared: &Shared, queue: QueueId) -> mpsc::Receiver<Reply> {
    let (sender, coming) = mpsc::channel(1);
    match shared.recoveries.places.clone().try_acquire_owned() {
        Ok(place) => {
            let (store, runtime) = (shared.store.clone(), Handle::current());
            // It ends with the receiver, at the latest when the next part is made.
            drop(tokio::task::spawn_blocking(move || give(&*store, &queue, &sender, &runtime, place)));
        }
        Err(_) => {
            let refusal = Refusal::new(RefusalCode::Busy, "other recoveries are on their way; repeat later");
            sender.try_send(Reply::Refused(refusal)).expect("the channel is new, and its receiver is here");
        }
    }
    coming
}

/// Makes a part when there is room for it. On a thread of its own, since a snapshot is of the store and cannot leave it.
fn give(store: &dyn Store, queue: &QueueId, sender: &mpsc::Sender<Reply>, runtime: &Handle, _place: OwnedSemaphorePermit) {
    let mut recovery = Recovery::open(store, queue);
    // Without a permit the owner is gone.
    while let Ok(room) = runtime.block_on(sender.reserve()) {
        match recovery.as_mut().map_err(|refusal| refusal.clone()).and_then(Recovery::next_part) {
            Ok(Some(part)) => room.send(Reply::Part(part)),
            Ok(None) => return,
            Err(refusal) => {
                if refusal.code == RefusalCode::Damaged {
                    store.contradicted(queue, &refusal.detail);
                }
                return room.send(Reply::Refused(refusal));
            }
        }
    }
}
