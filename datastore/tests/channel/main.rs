//! The storage channel between a real publisher and real readers, over storages that behave and that do not. [P-21]

mod altered; // what a storage may say instead
mod archive; // what an owner goes on from
mod branches; // heads that are not in the own history
mod brokers; // beside a broker
mod cost; // reads of an unchanged owner, bytes written
mod crashes; // a stop at every call
mod histories; // whatever an owner does
mod reading; // subscribers without a broker
mod storages; // drivers of these tests
mod values; // what entries name in the storage

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_client::subscriber::ChangeId;
use tidings_client::{Archive, ArchiveError};
use tidings_client::{Event, GrantFailure, Nowhere, Publisher, PublisherConfig, State, Subscriber, SubscriberConfig, VerdictReport, Write};
use tidings_core::reader::Verdict;
use tidings_core::recovery::{Recovered, Recovery};
use tidings_core::{AccessRow, Invitation, Mutation, NodeKey, Operation, OwnerCopy, RecordPath, SignedHead};
use tidings_datastore::channel::{Channel, ChannelConfig, StorageArchive, StorageDial, StorageDialConfig};
use tidings_datastore::storage::Driver;
use tidings_proto::QueueId;

/// Longer than anything here takes; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(60);

fn owner_key() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

fn reader_key() -> NodeKey {
    NodeKey::from_seed([2; 32])
}

fn memory() -> State {
    State::in_memory().expect("a state")
}

fn put(path: &str, value: impl Into<Bytes>) -> Write {
    Write::Put { path: path.parse().expect("a path"), value: value.into(), content_type: String::new() }
}

fn delete(path: &str) -> Write {
    Write::Delete { path: path.parse().expect("a path") }
}

/// An owner without any broker; what it deletes is purged with the next publish.
fn publisher(state: &State) -> Publisher {
    let config = PublisherConfig {
        grant_wait: Duration::ZERO,
        tombstone_age: Duration::ZERO,
        ..PublisherConfig::new(Arc::new(Nowhere), Vec::new())
    };
    Publisher::open(state.clone(), owner_key(), config).expect("opened")
}

/// A channel that writes when it is told to.
fn channel(state: &State, publisher: &Publisher, storage: &Arc<dyn Driver>) -> Channel {
    let config = ChannelConfig { gap: LONG, behind_max: LONG, ..ChannelConfig::default() };
    Channel::start(state.clone(), publisher.clone(), storage.clone(), config)
}

/// An owner, its state and its channel.
struct Owner {
    state: State,
    publisher: Publisher,
    channel: Channel,
}

impl Owner {
    fn new(storage: &Arc<dyn Driver>) -> Self {
        let state = memory();
        let publisher = publisher(&state);
        let channel = channel(&state, &publisher, storage);
        Self { state, publisher, channel }
    }

    async fn write(&self, writes: &[Write]) {
        self.publisher.write(writes.to_vec()).await.expect("written");
    }

    async fn publish(&self, writes: &[Write]) {
        self.write(writes).await;
        self.channel.flush(LONG).await.expect("in the storage");
    }

    /// Makes the node of `key` a reader; gives the invitation.
    async fn grant(&self, key: &NodeKey) -> Invitation {
        let text = match self.publisher.grant(key.card(), "reader".into()).await {
            // Nobody gives a receipt here.
            Ok(text) | Err(GrantFailure::Saved { invitation: text }) => text,
            Err(error) => panic!("granted: {error}"),
        };
        self.channel.flush(LONG).await.expect("in the storage");
        Invitation::parse(&text).expect("an invitation")
    }

    /// Path, value and offset of each record, ascending by path.
    fn view(&self) -> Vec<Seen> {
        let values = self.publisher.list("").expect("listed");
        let seen =
            values.into_iter().map(|value| (value.mutation.path, value.mutation.inline, value.offset.map_or(0, |offset| offset.value())));
        seen.collect()
    }
}

type Seen = (RecordPath, Option<Bytes>, u64);

/// What the owner's key makes of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Restored {
    head: SignedHead,
    /// Values with their offsets, tombstones among them.
    records: Vec<(u64, Mutation)>,
    readers: Vec<RestoredReader>,
    locator: String,
}

/// One reader of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RestoredReader {
    row: AccessRow,
    copy: OwnerCopy,
}

/// Everything in the storage, part by part, as a publisher takes it.
async fn recovered(key: &NodeKey, storage: &Arc<dyn Driver>) -> Result<Recovered, ArchiveError> {
    let descriptor = key.default_queue();
    let archive = StorageArchive::new(storage.clone(), &descriptor);
    let mut recovery = Recovery::new(descriptor.clone());
    let mut outcome = Ok(None);
    let mut take = |part| {
        outcome = recovery.take(part);
        matches!(outcome, Ok(None))
    };
    archive.recover(descriptor, &mut take).await?;
    outcome?.ok_or_else(|| ArchiveError::Damaged("it ends early".into()))
}

async fn restore(key: &NodeKey, storage: Arc<dyn Driver>) -> Result<Restored, ArchiveError> {
    let recovered = recovered(key, &storage).await?;
    let opened = recovered.open(key)?;
    Ok(Restored {
        head: recovered.head().clone(),
        records: opened.records.into_iter().map(|row| (row.record.offset.value(), row.mutation)).collect(),
        readers: opened.writer.readers().iter().map(|reader| RestoredReader { row: reader.row, copy: reader.copy.clone() }).collect(),
        locator: opened.locator,
    })
}

/// What a restored queue shows, as [`Owner::view`] gives it.
fn seen(restored: &Restored) -> Vec<Seen> {
    let records = restored.records.iter().filter(|(_, mutation)| mutation.operation != Operation::Delete && !mutation.path.is_reserved());
    let mut seen: Vec<_> = records.map(|(offset, mutation)| (mutation.path.clone(), mutation.inline.clone(), *offset)).collect();
    seen.sort();
    seen
}

async fn restored(storage: &Arc<dyn Driver>) -> Restored {
    restore(&owner_key(), storage.clone()).await.expect("restored")
}

/// A reader of the invitation whose only route is the storage.
fn subscriber(state: &State, queue: QueueId, storage: &Arc<dyn Driver>, poll_every: Duration) -> Subscriber {
    let owner = owner_key().verifying_key();
    let dial = StorageDial::new(storage.clone(), queue, owner, StorageDialConfig { poll_every });
    let config = SubscriberConfig { storage: Some(Arc::new(dial)), ..SubscriberConfig::new(Arc::new(Nowhere)) };
    Subscriber::start(state.clone(), reader_key(), queue, config).expect("started")
}

fn follow(state: &State, invitation: &Invitation) -> QueueId {
    Subscriber::follow(state, &reader_key(), invitation, "owner").expect("followed")
}

/// Takes changes until the record at `path` has this value.
async fn until_value(subscriber: &mut Subscriber, path: &str, value: &str) {
    let path: RecordPath = path.parse().expect("a path");
    let found = async {
        loop {
            let now = subscriber.get(&path).expect("read").and_then(|found| found.mutation.inline);
            if now.as_deref() == Some(value.as_bytes()) {
                return;
            }
            if let Event::Changes(changes) = subscriber.next().await.expect("running") {
                let ids: Vec<_> = changes.iter().map(ChangeId::from).collect();
                subscriber.acknowledge(&ids).expect("acknowledged");
            }
        }
    };
    tokio::time::timeout(LONG, found).await.expect("in time");
}

async fn verdict(subscriber: &mut Subscriber, wanted: Verdict) -> VerdictReport {
    let found = async {
        loop {
            match subscriber.next().await.expect("running") {
                Event::Verdict(report) if report.verdict == wanted => return report,
                _ => continue,
            }
        }
    };
    tokio::time::timeout(LONG, found).await.expect("in time")
}
