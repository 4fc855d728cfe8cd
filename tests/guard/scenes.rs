//! What the paths work on: owners, brokers and readers with fixed keys and fixed randomness.

use bytes::Bytes;
use tidings_broker::commit::{CommitQueue, CommitSettings};
use tidings_broker::engine::{Checked, Committed, Next, Subscription, check};
use tidings_broker::store::{MemoryStore, Store};
use tidings_core::access::Rights;
use tidings_core::key::NodeKey;
use tidings_core::path::RecordPath;
use tidings_core::reader::MemoryReaderStore;
use tidings_core::writer::Signed;
use tidings_core::{Reader, Step};
use tidings_proto::frames::{Publish, Reply, Subscribe};
use tidings_proto::{HeadNumber, Offset, Timestamp};

use crate::paper::{Owner, PaperBroker, Session, path};

/// Bytes of each value.
pub(crate) const VALUE: usize = 256;
pub(crate) const NOW: Timestamp = Timestamp::new(1_000_000);

/// Writes of these records.
pub(crate) fn writes(numbers: std::ops::Range<u64>) -> Vec<(RecordPath, Option<Bytes>)> {
    numbers.map(|number| (path(number), Some(Bytes::from(vec![number as u8; VALUE])))).collect()
}

/// An owner with so many records, published sixteen at a time.
pub(crate) fn owner_of(records: u64) -> Owner {
    let mut owner = Owner::new(1);
    for first in (0..records).step_by(16) {
        owner.publish(&writes(first..records.min(first + 16)), None);
    }
    owner
}

/// What the engine makes of a publish without a store.
pub(crate) fn checked(owner: &Owner, publish: &Publish) -> Checked {
    check(owner.writer.descriptor(), publish.clone()).expect("a valid publish")
}

/// A broker over the memory store.
pub(crate) struct Broker {
    pub(crate) store: MemoryStore,
    pub(crate) commits: CommitQueue,
}

impl Broker {
    /// Takes all that these owners signed.
    pub(crate) fn with(owners: &[&Owner]) -> Self {
        let mut broker = Self { store: MemoryStore::new(), commits: CommitQueue::new(CommitSettings::default()) };
        for owner in owners {
            let group: Vec<_> = owner.log.iter().map(|publish| checked(owner, publish)).collect();
            let answers = broker.commits.commit_group(&broker.store, NOW, group);
            assert!(answers.iter().all(Result::is_ok));
        }
        broker
    }

    /// Takes one more publish.
    pub(crate) fn take(&mut self, owner: &Owner, signed: &Signed) -> std::sync::Arc<Committed> {
        let group = vec![checked(owner, &signed.publish())];
        self.commits.commit_group(&self.store, NOW, group).remove(0).expect("it continues").committed
    }
}

/// A subscription of the owner to its own queue, from nothing.
pub(crate) fn subscription(owner: &Owner) -> Subscription {
    let readers = owner.writer.readers().iter().map(|reader| reader.row);
    let reader = readers.filter(|row| row.rights == Rights::Owner).map(|row| row.pseudonym).next().expect("the owner reads");
    let subscribe =
        Subscribe { queue: owner.writer.queue(), reader, cursor: HeadNumber::ZERO, position: Offset::ZERO, grant: Bytes::new() };
    Subscription::open(&subscribe).expect("well formed")
}

/// Serves a subscription until everything is sent; gives the bytes of the frames.
pub(crate) fn serve(subscription: &mut Subscription, store: &dyn Store) -> usize {
    let mut sent = 0;
    loop {
        match subscription.next() {
            Next::Send(reply) => sent += reply.encode_prefixed().len(),
            Next::Read(read) => subscription.on_answer(read.perform(store).expect("memory does not fail")),
            Next::Wait(_) => return sent,
            Next::End => panic!("an honest subscription does not end"),
        }
    }
}

/// A reader with a grant, and the session in which it is sent what a broker has.
pub(crate) struct Follower {
    pub(crate) reader: Reader,
    pub(crate) store: MemoryReaderStore,
    session: Session,
}

impl Follower {
    /// Joins and subscribes; holds nothing yet.
    pub(crate) fn new(owner: &mut Owner) -> Self {
        let key = NodeKey::from_seed([9; 32]);
        let grant = owner.grant(&key);
        let mut reader = Reader::join(owner.writer.descriptor().clone(), &grant, &key).expect("the grant is this reader's");
        let mut store = MemoryReaderStore::default();
        let session = Session::new(&reader.begin("broker", &mut store).expect("memory does not fail"));
        Self { reader, store, session }
    }

    /// What it is sent next: an announcement and entries, up to the newest head, at most 500 in a chunk.
    pub(crate) fn owed(&mut self, broker: &PaperBroker) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            replies.extend(self.session.next(broker, 500));
            if matches!(replies.last(), Some(Reply::Chunk(chunk)) if chunk.complete) {
                return replies;
            }
        }
    }

    /// Takes frames; gives how many heads were accepted.
    pub(crate) fn take(&mut self, replies: &[Reply]) -> usize {
        let mut accepted = 0;
        for reply in replies {
            let step = match reply {
                Reply::Announce(announce) => self.reader.on_announce(announce, &mut self.store),
                Reply::Chunk(chunk) => self.reader.on_chunk(chunk, &mut self.store),
                other => panic!("no frame of a delta: {other:?}"),
            };
            accepted += usize::from(matches!(step, Ok(Step::Accepted(_))));
        }
        accepted
    }
}
