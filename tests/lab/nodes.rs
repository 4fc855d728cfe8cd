//! Owners and readers in this process, against a broker in another one.

use std::sync::Arc;
use std::time::Duration;

use tidings_client::connection::ConnectOptions;
use tidings_client::{Dial, Endpoint, Network, Publisher, PublisherConfig, State, Subscriber, SubscriberConfig, View, Write};
use tidings_core::{Invitation, NodeKey, RecordPath};
use tidings_proto::QueueId;

/// Longer than anything here takes; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// One who was invited: its key, what it was given, and its state.
pub(crate) struct Reader {
    pub(crate) state: State,
    pub(crate) key: Arc<NodeKey>,
    pub(crate) queue: QueueId,
}

/// A key for each number.
pub(crate) fn key(number: u64) -> NodeKey {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_seed(seed)
}

/// The network, from a socket of its own.
pub(crate) fn network() -> Arc<dyn Dial> {
    Arc::new(Network::new(Endpoint::bind().expect("a socket"), ConnectOptions::default()))
}

/// An owner whose broker is at `address`.
pub(crate) fn owner(state: &State, key: NodeKey, address: &str) -> Publisher {
    let mut config = PublisherConfig::new(network(), vec![address.parse().expect("an address")]);
    config.grant_wait = LONG;
    Publisher::open(state.clone(), key, config).expect("a publisher")
}

/// How often something random is repeated: `default`, or as many times that as `TIDINGS_LAB_ROUNDS` says.
pub(crate) fn rounds(default: u64) -> u64 {
    let factor = std::env::var("TIDINGS_LAB_ROUNDS").ok().map(|text| text.parse::<u64>().expect("a number"));
    default * factor.unwrap_or(1)
}

/// A number below `bound` that nobody foresees.
pub(crate) fn below(bound: u64) -> u64 {
    getrandom::u64().expect("randomness") % bound
}

pub(crate) fn path(text: &str) -> RecordPath {
    text.parse().expect("a path")
}

/// A value that fits into the queue.
pub(crate) fn put(at: &str, value: &str) -> Write {
    Write::Put { path: path(at), value: value.to_owned().into(), content_type: String::new() }
}

/// Writes, and waits for the receipt.
pub(crate) async fn published(publisher: &Publisher, writes: Vec<Write>) {
    publisher.write(writes).await.expect("written");
    publisher.flush(LONG).await.expect("published");
}

impl Reader {
    /// One whose state ends with it.
    pub(crate) fn join(key: NodeKey, invitation: &str) -> Self {
        Self::join_with(State::in_memory().expect("a state"), key, invitation)
    }

    /// One with this state, which knows nothing of the owner yet.
    pub(crate) fn join_with(state: State, key: NodeKey, invitation: &str) -> Self {
        let invitation = Invitation::parse(invitation).expect("an invitation");
        let queue = Subscriber::follow(&state, &key, &invitation, "owner").expect("followed");
        Self { state, key: Arc::new(key), queue }
    }

    /// Begins to follow.
    pub(crate) fn start(&self, dial: &Arc<dyn Dial>) -> Subscriber {
        let config = SubscriberConfig::new(dial.clone());
        Subscriber::start(self.state.clone(), self.key.clone(), self.queue, config).expect("started")
    }

    /// What it holds of a record.
    pub(crate) fn value(&self, at: &str) -> Option<String> {
        let value = Subscriber::value(&self.state, &self.queue, &path(at)).expect("readable")?;
        Some(String::from_utf8_lossy(&value.mutation.inline.expect("a value in the queue")).into_owned())
    }

    /// Waits until it holds this value.
    pub(crate) async fn holds(&self, subscriber: &Subscriber, at: &str, value: &str) {
        until(subscriber, |_| self.value(at).as_deref() == Some(value)).await;
    }
}

/// Waits until what is known of a follow is as asked.
pub(crate) async fn until(subscriber: &Subscriber, wanted: impl FnMut(&View) -> bool) -> View {
    let mut view = subscriber.view();
    let found = tokio::time::timeout(LONG, view.wait_for(wanted)).await;
    found.expect("in time").expect("it runs").clone()
}
