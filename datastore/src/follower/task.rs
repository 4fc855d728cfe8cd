//! The loop that takes verified changes from the subscriber and makes them obligations of this node.

use std::sync::Arc;

use tidings_client::{ChangeId, Event, StateError, Subscriber};
use tidings_core::reader::Change;
use tokio::sync::watch;

use super::shared::{Shared, chance, now};

/// The task of one follow. Owns its subscriber.
pub(super) struct Task {
    shared: Arc<Shared>,
    subscriber: Subscriber,
    closed: watch::Receiver<bool>,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, subscriber: Subscriber, closed: watch::Receiver<bool>) -> Self {
        Self { shared, subscriber, closed }
    }

    /// Takes events until it is closed or the subscriber has ended.
    pub(super) async fn run(mut self) {
        loop {
            let event = tokio::select! {
                _ = self.closed.wait_for(|closed| *closed) => None,
                event = self.subscriber.next() => event,
            };
            match event {
                None => break,
                Some(Event::Changes(changes)) => match self.take(changes).await {
                    Some(task) => self = task,
                    None => return,
                },
                Some(Event::CaughtUp(caught_up)) => {
                    self.shared.merged.send_replace(Some(caught_up));
                    self.shared.tell();
                }
                Some(Event::Verdict(_)) => self.shared.tell(),
                Some(Event::Rewound(rewound)) => {
                    self.shared.rewound.send_replace(Some(rewound));
                    self.shared.tell();
                }
                Some(Event::Progress { staged, of, .. }) => drop(self.shared.progress.send_replace(Some((staged, of)))),
                Some(_) => {}
            }
        }
        self.subscriber.close().await;
    }

    /// Makes changes durable obligations and acknowledges them, in one transaction; again and again while the state fails,
    /// because the subscriber gives them out once in a session. `None`: it is closed.
    async fn take(self, changes: Vec<Change>) -> Option<Self> {
        let Self { shared, mut subscriber, mut closed } = self;
        let changes = Arc::new(changes);
        for failures in 1.. {
            let (desk, batch) = (shared.clone(), changes.clone());
            let (back, merged) = tokio::task::spawn_blocking(move || {
                let merged = merge(&desk, &subscriber, &batch);
                (subscriber, merged)
            })
            .await
            .ok()?;
            subscriber = back;
            let Err(error) = merged else { break };
            tracing::error!(%error, "changes cannot be taken; they are tried again");
            let pause = tokio::time::sleep(shared.depot.limits.pace().delay(failures, chance()));
            tokio::select! {
                _ = closed.wait_for(|closed| *closed) => break,
                () = pause => {}
            }
        }
        shared.litter();
        shared.tell();
        Some(Self { shared, subscriber, closed })
    }
}

/// [P-15] The acknowledgement waits neither for printing nor for fetching: both are kept with it.
fn merge(shared: &Shared, subscriber: &Subscriber, changes: &[Change]) -> Result<(), StateError> {
    let ids: Vec<_> = changes.iter().map(ChangeId::from).collect();
    shared.desk.merge(changes, now(), |rows| subscriber.acknowledge_with(&ids, rows))
}
