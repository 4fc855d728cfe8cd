//! The reader's side: follows, one task for each that verifies what brokers say, and changes kept until they are handled.

mod compare; // other brokers beside the one that serves
mod config;
mod ending; // what comes after a subscription
mod event;
mod evidence; // accusations as files
mod follow;
mod following; // durable steps
mod glimpse; // one look at a broker
mod handout; // changes to the application and back
mod inbox; // events on their way
mod line; // the way to a broker
mod probe; // when other brokers are looked at
mod reach; // attempts beside each other
mod round; // one pass over all routes
mod route; // the ways to a queue
mod standing; // what the view is worth
mod task; // the loop
mod unwritten; // deltas that have not come whole
mod witness; // a second opinion

pub use config::{Clock, SubscriberConfig};
pub use event::{CaughtUp, ChangeId, Event, VerdictReport, View};
pub use follow::{Follow, FollowError, FollowedValue};
pub use witness::{Answer, Witness};

use std::sync::Arc;

use tidings_core::reader::{Change, Invited, Reader, Verdict};
use tidings_core::{Cursor, Did, Invitation, Mutation, NodeKey, Object, RecordPath};
use tidings_proto::caps::ADDRESSES_MAX;
use tidings_proto::{QueueId, Timestamp};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub use crate::state::Rewound;

use crate::state::{About, FollowStep, FollowTables, FollowView, Keep, Row, State, StateError};
use following::{Following, report};
use handout::HandOut;
use inbox::{Inbox, Next};
use task::Task;

/// One follow while it is kept up by its task. Ends with this handle.
pub struct Subscriber {
    state: State,
    queue: QueueId,
    inbox: Arc<Inbox>,
    handout: HandOut,
    changes_max: usize,
    /// Changes that are being handed out; kept here so that a cancelled `next` loses none.
    handing: Option<JoinHandle<Result<Vec<Change>, StateError>>>,
    /// How many verdicts `caught_up` has reported.
    reported: u64,
    acknowledged: watch::Sender<Option<Cursor>>,
    closing: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Begins to follow the queue of an invitation, durably. `name` is what this node calls the owner; may be empty.
    ///
    /// # Errors
    /// Nothing changed.
    pub fn follow(state: &State, key: &NodeKey, invitation: &Invitation, name: &str) -> Result<QueueId, FollowError> {
        if invitation.card.verifying_key == key.verifying_key() {
            return Err(FollowError::Own);
        }
        if name.len() > tidings_proto::caps::NAME_BYTES_MAX {
            return Err(FollowError::NameTooLong);
        }
        let queue = invitation.descriptor.id();
        if state.read(|transaction| FollowView(transaction).about(&queue))?.is_some() {
            return Err(FollowError::AlreadyFollowing);
        }
        let reader = Reader::join(invitation.descriptor.clone(), &invitation.grant, key)?;
        let about = About {
            owner: invitation.card.verifying_key,
            name: name.to_owned(),
            addresses: invitation.addresses.clone(),
            verdict: Verdict::Offline,
            detail: "not connected yet".into(),
            evidence: String::new(),
            acknowledged: None,
        };
        state.write(|transaction| {
            let step = FollowStep(transaction);
            if step.about(&queue)?.is_some() {
                return Err(FollowError::AlreadyFollowing);
            }
            step.put_about(&queue, &about)?;
            step.put_reader(&reader)?;
            Ok(queue)
        })
    }

    /// Takes another invitation to a queue that is followed, durably: its addresses come first, and its grant replaces the one held if it
    /// is not older. What is held stays. A `name` that is not empty replaces the one there is. Close its subscriber first.
    ///
    /// # Errors
    /// `NotFollowing`, `AlreadyStarted` while a subscriber runs, `OldInvitation`, the grant is not for this node, or the state fails;
    /// nothing changed.
    pub fn follow_again(state: &State, key: &NodeKey, invitation: &Invitation, name: &str) -> Result<(), FollowError> {
        if name.len() > tidings_proto::caps::NAME_BYTES_MAX {
            return Err(FollowError::NameTooLong);
        }
        let queue = invitation.descriptor.id();
        let _claimed = state.claim(crate::state::Claim::Follow(queue)).ok_or(FollowError::AlreadyStarted)?;
        state.write(|transaction| {
            let step = FollowStep(transaction);
            let (mut reader, mut about) = step.reader(&queue)?.zip(step.about(&queue)?).ok_or(FollowError::NotFollowing)?;
            if reader.join_again(&invitation.grant, key)? == Invited::Elsewise {
                return Err(FollowError::OldInvitation);
            }
            let known = about.addresses.iter().filter(|address| !invitation.addresses.contains(address));
            about.addresses = invitation.addresses.iter().chain(known).take(ADDRESSES_MAX).cloned().collect();
            if !name.is_empty() {
                name.clone_into(&mut about.name);
            }
            step.put_about(&queue, &about)?;
            step.put_reader(&reader)?;
            Ok(())
        })
    }

    /// Forgets a follow and everything it holds. Close its subscriber first.
    ///
    /// # Errors
    /// `NotFollowing`, `AlreadyStarted` while a subscriber runs, or the state fails; nothing changed.
    pub fn unfollow(state: &State, queue: &QueueId) -> Result<(), FollowError> {
        let _claimed = state.claim(crate::state::Claim::Follow(*queue)).ok_or(FollowError::AlreadyStarted)?;
        state.write(|transaction| match FollowStep(transaction).remove(queue)? {
            true => Ok(()),
            false => Err(FollowError::NotFollowing),
        })
    }

    /// All follows, ascending by queue.
    pub fn follows(state: &State) -> Result<Vec<Follow>, StateError> {
        state.read(|transaction| {
            let view = FollowView(transaction);
            view.queues()?.iter().filter_map(|queue| follow_of(&view, queue).transpose()).collect()
        })
    }

    /// The record at `path` in the last verified state of a follow. Needs no running subscriber.
    pub fn value(state: &State, queue: &QueueId, path: &RecordPath) -> Result<Option<FollowedValue>, StateError> {
        state.read(|transaction| {
            let view = FollowView(transaction);
            value_of(&view, queue, path, as_of(&view, queue)?)
        })
    }

    /// Records at `prefix` and below it in the last verified state, ascending by path; an empty prefix or `/` is all. Reserved paths
    /// are left out: they belong to the owner's programs. [P-5]
    pub fn values(state: &State, queue: &QueueId, prefix: &str) -> Result<Vec<FollowedValue>, StateError> {
        state.read(|transaction| {
            let view = FollowView(transaction);
            let paths = view.paths(queue, prefix.trim_end_matches('/'))?;
            let (as_of, paths) = (as_of(&view, queue)?, paths.iter().filter(|path| !path.is_reserved()));
            paths.filter_map(|path| value_of(&view, queue, path, as_of).transpose()).collect()
        })
    }

    /// Whether the records of a follow are the set that its verified head signs; `None` if there is no such follow. Needs no running
    /// subscriber and changes nothing. Blocks for a pass over all of them.
    ///
    /// # Errors
    /// The state fails; `Damaged` if a record cannot be read at all.
    pub fn verify(state: &State, queue: &QueueId) -> Result<Option<bool>, StateError> {
        state.write_with(|transaction| {
            let Some(reader) = FollowStep(transaction).reader(queue)? else { return Ok((None, Keep::UntilCrash)) };
            let matches = reader.own_state_matches(&FollowTables::open(transaction, queue)?)?;
            Ok((Some(matches), Keep::UntilCrash))
        })
    }

    /// Starts the task on the current runtime. It reconnects until the handle is closed or dropped, and tries all addresses.
    ///
    /// # Errors
    /// `NotFollowing`, `AlreadyStarted`, or the state fails.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(state: State, key: impl Into<Arc<NodeKey>>, queue: QueueId, config: SubscriberConfig) -> Result<Self, FollowError> {
        let handout = HandOut::new(state.clone(), queue);
        let mut following = Following::open(handout.clone(), key.into(), config.evidence_dir.clone())?;
        let addresses = following.addresses().to_vec();
        let routes = route::routes(following.reader().locator(), &addresses, &config);
        let inbox = Arc::new(Inbox::new(following.first_report()?));
        state.read(|transaction| FollowView(transaction).rewound(&queue))?.into_iter().for_each(|rewound| inbox.rewound(rewound));
        let (acknowledged, acknowledged_here) = watch::channel(None);
        let (closing, closed) = oneshot::channel();
        let changes_max = config.changes_max.max(1);
        let task = tokio::spawn(Task::new(following, config, (addresses, routes), inbox.clone(), acknowledged_here).run(closed));
        Ok(Self { state, queue, inbox, handout, changes_max, handing: None, reported: 0, acknowledged, closing, task })
    }

    /// Waits until a head is verified that is not older than the one a broker announced when this subscriber connected.
    ///
    /// # Errors
    /// The first verdict that stands in the way: all addresses were tried, or somebody was accused. The task goes on; this
    /// may be called again and then waits for what comes next. Safe to cancel.
    pub async fn caught_up(&mut self) -> Result<CaughtUp, VerdictReport> {
        loop {
            let changed = self.inbox.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(outcome) = self.inbox.caught_up(&mut self.reported) {
                return outcome;
            }
            changed.await;
        }
    }

    /// The next event; `None` after the task has ended. Safe to cancel: what was not returned comes again.
    ///
    /// Changes are held back until this session has caught up or has met a verdict, so that what waits is merged first. They
    /// come before the event of the delta that brought them, except [`Event::Rewound`]. What is not acknowledged comes again in the
    /// next session.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(changes) = self.handed_out().await {
                return Some(Event::Changes(changes));
            }
            let changed = self.inbox.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.inbox.next() {
                Next::Ready(changes) => return Some(Event::Changes(changes)),
                Next::Changes => {
                    let (handout, limit) = (self.handout.clone(), self.changes_max);
                    self.handing = Some(tokio::task::spawn_blocking(move || handout.take(limit)));
                }
                Next::Event(event) => return Some(event),
                Next::Wait => changed.await,
                Next::Ended => return None,
            }
        }
    }

    /// The changes that are being handed out, once they are marked.
    async fn handed_out(&mut self) -> Option<Vec<Change>> {
        let outcome = self.handing.as_mut()?.await;
        self.handing = None;
        match outcome {
            Ok(Ok(changes)) if changes.is_empty() => None,
            Ok(Ok(changes)) => {
                if changes.len() >= self.changes_max {
                    self.inbox.more_changes();
                }
                Some(changes)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "changes cannot be handed out");
                None
            }
            Err(_) => None,
        }
    }

    /// The application has made these changes durable. They are not handed out again; once nothing older waits, the broker
    /// is told. Returns when that is durable here; blocks for one sync. [P-15]
    ///
    /// # Errors
    /// The state fails; the changes come again.
    pub fn acknowledge(&self, changes: &[ChangeId]) -> Result<(), StateError> {
        self.acknowledge_with(changes, &[])
    }

    /// Like [`Subscriber::acknowledge`], and changes `rows` in the same transaction: all of it happens or nothing.
    ///
    /// # Errors
    /// The state fails; the changes come again, and the rows are as they were.
    pub fn acknowledge_with(&self, changes: &[ChangeId], rows: &[Row]) -> Result<(), StateError> {
        if let Some(cursor) = self.handout.acknowledge(changes, rows)? {
            self.acknowledged.send_replace(Some(cursor));
        }
        Ok(())
    }

    /// The application knows of a rewind: it is not told again. Returns when that is durable; blocks for one sync. [P-14]
    ///
    /// # Errors
    /// The state fails; the rewind is told again in the next session.
    pub fn acknowledge_rewound(&self, rewound: &Rewound) -> Result<(), StateError> {
        Self::confirm_rewound(&self.state, &self.queue, rewound)
    }

    /// [`Subscriber::acknowledge_rewound`] without the subscriber. Nothing happens if it is confirmed already, or another came to it.
    ///
    /// # Errors
    /// The state fails; the rewind is told again in the next session.
    pub fn confirm_rewound(state: &State, queue: &QueueId, rewound: &Rewound) -> Result<(), StateError> {
        state.write(|transaction| FollowStep(transaction).confirm_rewound(queue, &rewound.to))
    }

    /// What is known about the view, for others than the one who takes events: changes with every verdict and catch-up, and
    /// when a connection comes or goes. Closed some time after this handle is gone.
    pub fn view(&self) -> watch::Receiver<View> {
        self.inbox.view()
    }

    /// The record at `path` in the last verified state.
    pub fn get(&self, path: &RecordPath) -> Result<Option<FollowedValue>, StateError> {
        Self::value(&self.state, &self.queue, path)
    }

    /// Records at `prefix` and below it in the last verified state, ascending by path.
    pub fn list(&self, prefix: &str) -> Result<Vec<FollowedValue>, StateError> {
        Self::values(&self.state, &self.queue, prefix)
    }

    /// This follow as it stands.
    ///
    /// # Errors
    /// The state fails.
    pub fn status(&self) -> Result<Follow, FollowError> {
        let follow = self.state.read(|transaction| follow_of(&FollowView(transaction), &self.queue))?;
        follow.ok_or(FollowError::NotFollowing)
    }

    /// Ends the task after the step it is at. An acknowledgement that waits is sent first if a broker is connected.
    pub async fn close(self) {
        let _ = self.closing.send(());
        let _ = self.task.await;
    }
}

fn follow_of(view: &FollowView<'_>, queue: &QueueId) -> Result<Option<Follow>, StateError> {
    let (Some(about), Some(reader)) = (view.about(queue)?, view.reader(queue)?) else { return Ok(None) };
    Ok(Some(Follow {
        queue: *queue,
        did: Did(about.owner),
        name: about.name.clone(),
        addresses: about.addresses.clone(),
        locator: reader.locator().to_owned(),
        cursor: reader.cursor(),
        live_count: reader.head().map_or(0, |head| head.head().live_count),
        verdict: report(&about, reader.as_of()),
        pending: view.pending_count(queue)?,
    }))
}

fn as_of(view: &FollowView<'_>, queue: &QueueId) -> Result<Timestamp, StateError> {
    Ok(view.reader(queue)?.map_or_else(Default::default, |reader| reader.as_of()))
}

fn value_of(view: &FollowView<'_>, queue: &QueueId, path: &RecordPath, as_of: Timestamp) -> Result<Option<FollowedValue>, StateError> {
    let Some(row) = view.value(queue, path)? else { return Ok(None) };
    Ok(Some(FollowedValue { mutation: Mutation::decode(&row.bytes)?, term: row.term, offset: row.offset, as_of }))
}

#[cfg(test)]
mod following_tests;
#[cfg(test)]
mod handout_tests;
