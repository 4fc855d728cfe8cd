//! A small scripted broker in the same process: it keeps what it is told and believes everything.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidings_client::connection::{MemoryBroker, MemoryStream, memory_pair};
use tidings_client::dial::Dialing;
use tidings_client::{ConnectionError, Dial};
use tidings_core::{
    AccessRow, Entry, Frontier, NodeIndex, Object, ProofPlan, QueueDescriptor, Receipt, ReceiptKey, SignedHead, attachment_hash,
};
use tidings_proto::frames::{Announce, Chunk, Limits, Publish, Readers, Subscribe, Welcome};
use tidings_proto::{BrokerAddress, HeadNumber, Offset, Pseudonym, QueueId, Refusal, RefusalCode, Reply, Request, Timestamp};
use tokio::sync::watch;

/// The broker; clones are the same one.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) queue: Arc<Mutex<Queue>>,
    changed: Arc<watch::Sender<u64>>,
}

/// What it holds, and how it behaves.
#[derive(Clone, Default)]
pub(crate) struct Queue {
    pub(crate) heads: Vec<SignedHead>,
    /// By birth: offset and entry.
    pub(crate) live: BTreeMap<u64, (Offset, Bytes)>,
    pub(crate) publishes: Vec<Publish>,
    pub(crate) acknowledgements: HashMap<Pseudonym, Bytes>,
    pub(crate) acknowledged: Vec<Bytes>,
    pub(crate) dials: usize,
    /// Nobody answers.
    pub(crate) away: bool,
    /// Who connects is answered so much later.
    pub(crate) slow: Duration,
    /// Publishes are kept, and the connection ends before the receipt.
    pub(crate) swallow_receipts: bool,
    /// Publishes are kept and not answered; the connection stays.
    pub(crate) hold_receipts: bool,
    /// Receipts are signed by another key.
    pub(crate) forge_receipts: bool,
    /// Entries are left out of every delta.
    pub(crate) withhold: bool,
    /// Heads are announced and their entries never come.
    pub(crate) silent: bool,
    /// Subscriptions get nothing beyond their first delta.
    pub(crate) frozen: bool,
    /// Heads are announced with a leaf that is not in their history.
    pub(crate) false_proofs: bool,
    /// Heads are announced, and then its storage turns out to be damaged; or it does before.
    pub(crate) damaged: Option<Damage>,
    /// The next subscription ends with this after its first delta.
    pub(crate) end_subscription: Option<RefusalCode>,
    /// The newest pulse; subscriptions get each once.
    pub(crate) pulse: Option<Bytes>,
    /// Publishes are answered with this.
    pub(crate) refuse: Option<RefusalCode>,
    /// Where a publish stream is told that the queue stands, instead of where it does.
    pub(crate) claim: Option<Bytes>,
    rows: BTreeMap<Pseudonym, AccessRow>,
    attachments: HashMap<[u8; 32], Bytes>,
    frontier: Option<Frontier>,
    nodes: HashMap<NodeIndex, [u8; 32]>,
}

/// When a peer says that its storage is damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Instead of the entries of the head that it announced.
    AfterHead,
    /// After the whole delta.
    AfterDelta,
}

fn receipt_key() -> ReceiptKey {
    ReceiptKey::from_seed([77; 32])
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self { queue: Arc::default(), changed: Arc::new(watch::channel(0).0) }
    }

    /// Another peer that holds the same now.
    pub(crate) fn twin(&self) -> Self {
        Self { queue: Arc::new(Mutex::new(self.look(Queue::clone))), changed: Arc::new(watch::channel(0).0) }
    }

    pub(crate) fn address(port: u16) -> BrokerAddress {
        BrokerAddress { host: "peer".into(), port, pin: Some([1; 32]), receipt: Some(receipt_key().verifying_key()) }
    }

    /// Changes how it behaves.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.queue.lock().expect("not poisoned"));
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Queue) -> T) -> T {
        look(&self.queue.lock().expect("not poisoned"))
    }

    /// Waits until what it holds is as asked.
    pub(crate) async fn until(&self, wanted: impl Fn(&Queue) -> bool) {
        let mut changed = self.changed.subscribe();
        while !self.look(&wanted) {
            changed.changed().await.expect("the peer is there");
        }
    }

    async fn serve(self, mut broker: MemoryBroker) {
        let mut tasks = tokio::task::JoinSet::new();
        let mut changed = self.changed.subscribe();
        loop {
            tokio::select! {
                stream = broker.streams.recv() => match stream {
                    Some(stream) => drop(tasks.spawn(self.clone().stream(stream))),
                    None => return,
                },
                _ = changed.changed() => if self.look(|queue| queue.away) { return },
            }
        }
    }

    async fn stream(self, mut stream: MemoryStream) {
        match stream.requests.recv().await {
            Some(Request::Hello(_)) => self.control(stream).await,
            Some(Request::Open(open)) => {
                self.publishes(stream, QueueDescriptor::decode(&open.descriptor).expect("a descriptor").id()).await
            }
            Some(Request::Subscribe(subscribe)) => self.subscription(stream, subscribe).await,
            _ => {}
        }
    }

    async fn control(self, mut stream: MemoryStream) {
        let limits = Limits {
            publish_entries_max: 100,
            publish_bytes_max: 1 << 20,
            entry_bytes_max: 16_384,
            publishes_in_flight_max: 8,
            readers_max: 16,
            live_bytes_max: 0,
        };
        let welcome = Welcome { software: "peer".into(), receipt_key: receipt_key().verifying_key(), limits };
        let _ = stream.replies.send(Reply::Welcome(welcome)).await;
        while let Some(Request::Prove(prove)) = stream.requests.recv().await {
            let _ = stream.replies.send(Reply::Proven(prove.key)).await;
        }
    }

    async fn publishes(self, mut stream: MemoryStream, id: QueueId) {
        let standing = self
            .look(|queue| queue.claim.clone().unwrap_or_else(|| queue.heads.last().map(|head| head.bytes().clone()).unwrap_or_default()));
        let _ = stream.replies.send(Reply::Standing(standing)).await;
        while let Some(request) = stream.requests.recv().await {
            let reply = match request {
                Request::Publish(publish) => {
                    let mut reply = None;
                    self.set(|queue| reply = queue.take(id, publish));
                    reply
                }
                Request::Pulse(pulse) => {
                    self.set(|queue| queue.pulse = Some(pulse));
                    continue;
                }
                _ => Some(self.look(Queue::readers)),
            };
            let Some(reply) = reply else {
                if self.look(|queue| queue.hold_receipts) {
                    continue;
                }
                return;
            };
            let _ = stream.replies.send(reply).await;
        }
    }

    async fn subscription(self, mut stream: MemoryStream, subscribe: Subscribe) {
        if self.look(|queue| queue.heads.is_empty()) {
            let refusal = Refusal::new(RefusalCode::UnknownQueue, "scripted");
            let _ = stream.replies.send(Reply::Refused(refusal)).await;
            return;
        }
        let mut changed = self.changed.subscribe();
        let (mut base, mut position, mut announced, mut pulsed) = (subscribe.cursor, subscribe.position, None, None);
        if let Some(grant) = self.look(|queue| queue.grant(&subscribe)) {
            let _ = stream.replies.send(Reply::Grant(grant)).await;
        }
        loop {
            let delta = self.look(|queue| queue.delta(base, position, announced));
            let mut frames = Vec::new();
            if let Some((announce, chunk, newest)) = delta {
                (base, position, announced) = (chunk.stamp.number, newest, Some(chunk.stamp.number));
                frames = self.look(|queue| queue.frames(announce, chunk));
            }
            let pulse = self.look(|queue| queue.pulse.clone()).filter(|pulse| pulsed.as_ref() != Some(pulse));
            pulsed = pulse.clone().or(pulsed);
            frames.extend(pulse.map(Reply::Pulse));
            for frame in frames {
                let last = matches!(frame, Reply::Refused(_));
                if stream.replies.send(frame).await.is_err() || last {
                    return;
                }
            }
            let end = self.queue.lock().expect("not poisoned").end_subscription.take();
            if let Some(code) = end {
                let _ = stream.replies.send(Reply::Refused(Refusal::new(code, "scripted"))).await;
                return;
            }
            tokio::select! {
                request = stream.requests.recv() => match request {
                    Some(Request::Acknowledge(bytes)) => self.set(|queue| {
                        queue.acknowledgements.insert(subscribe.reader, bytes.clone());
                        queue.acknowledged.push(bytes);
                    }),
                    Some(_) => {}
                    None => return,
                },
                _ = changed.changed() => {}
            }
        }
    }
}

impl Queue {
    fn take(&mut self, id: QueueId, publish: Publish) -> Option<Reply> {
        if let Some(code) = self.refuse {
            return Some(Reply::Refused(Refusal::new(code, "scripted")));
        }
        let head = SignedHead::parse(publish.head.clone()).expect("a head");
        let newest = self.heads.last();
        self.publishes.push(publish.clone());
        if newest.is_none_or(|newest| newest.hash() != head.hash()) {
            assert_eq!(head.rank().number.value(), self.heads.len() as u64 + 1, "numbers ascend by one");
            self.keep(id, head.clone(), publish);
        }
        if self.swallow_receipts || self.hold_receipts {
            return None;
        }
        let key = if self.forge_receipts { ReceiptKey::from_seed([78; 32]) } else { receipt_key() };
        let receipt = Receipt { queue: id, rank: head.rank(), head: head.hash(), since: Timestamp::new(1) };
        Some(Reply::Receipt(receipt.sign(&key)))
    }

    fn keep(&mut self, id: QueueId, head: SignedHead, publish: Publish) {
        for bytes in publish.entries {
            let entry = Entry::decode(&bytes).expect("an entry");
            self.live.insert(entry.birth.value(), (entry.offset, bytes));
        }
        self.live.retain(|_, (offset, _)| !publish.purged.contains(offset));
        for row in publish.access_put {
            let row = AccessRow::decode(&row).expect("a row");
            self.rows.insert(row.pseudonym, row);
        }
        self.attachments.extend(publish.attachments.into_iter().map(|bytes| (*attachment_hash(&bytes).bytes(), bytes)));
        let frontier = self.frontier.get_or_insert_with(|| {
            let (frontier, nodes) = Frontier::start(&id);
            self.nodes.extend(nodes);
            frontier
        });
        self.nodes.extend(frontier.append(head.hash().bytes()));
        self.heads.push(head);
    }

    fn readers(&self) -> Reply {
        let rows = self.rows.values().map(|row| row.encode().into()).collect();
        Reply::Readers(Readers { rows, acknowledgements: self.acknowledgements.values().cloned().collect() })
    }

    fn grant(&self, subscribe: &Subscribe) -> Option<Bytes> {
        let row = self.rows.get(&subscribe.reader)?;
        let known = subscribe.grant.as_ref() == row.grant.bytes();
        (!known).then(|| self.attachments[row.grant.bytes()].clone())
    }

    /// The newest head and what lives after `position`, unless it was announced.
    fn delta(&self, base: HeadNumber, position: Offset, announced: Option<HeadNumber>) -> Option<(Announce, Chunk, Offset)> {
        let head = self.heads.last()?;
        let number = head.rank().number;
        if announced == Some(number) || (self.frozen && announced.is_some()) {
            return None;
        }
        let (mut leaf, proof) = if base >= number { (Bytes::new(), Vec::new()) } else { self.proof(base, number) };
        if self.false_proofs {
            leaf = Bytes::from_static(&[0xFA; 32]);
        }
        let announce = Announce { head: head.bytes().clone(), base, leaf, proof };
        let mut entries: Vec<_> = self.live.values().filter(|(offset, _)| *offset > position).cloned().collect();
        entries.sort();
        if self.withhold {
            entries.pop();
        }
        let entries = entries.into_iter().map(|(_, bytes)| bytes).collect();
        Some((announce, Chunk { stamp: head.rank(), entries, complete: true }, head.head().offset))
    }

    /// What of a delta is sent, by how it behaves.
    fn frames(&self, announce: Announce, chunk: Chunk) -> Vec<Reply> {
        let damaged = || Reply::Refused(Refusal::new(RefusalCode::Damaged, "scripted"));
        let (announce, chunk) = (Reply::Announce(announce), Reply::Chunk(chunk));
        match self.damaged {
            _ if self.silent => vec![announce],
            Some(Damage::AfterHead) => vec![announce, damaged()],
            Some(Damage::AfterDelta) => vec![announce, chunk, damaged()],
            None => vec![announce, chunk],
        }
    }

    fn proof(&self, base: HeadNumber, number: HeadNumber) -> (Bytes, Vec<[u8; 32]>) {
        let leaf = match base.value() {
            0 => Bytes::copy_from_slice(self.heads[0].head().queue.bytes()),
            number => Bytes::copy_from_slice(self.heads[number as usize - 1].hash().bytes()),
        };
        if base.next() == Some(number) {
            return (leaf, Vec::new());
        }
        let plan = ProofPlan::new(base.value(), number.value()).expect("a proof");
        let hashes: Vec<_> = plan.nodes().iter().map(|node| self.nodes[node]).collect();
        (leaf, plan.assemble(&hashes).expect("assembled"))
    }
}

/// Dials peers by their port.
#[derive(Clone, Default)]
pub(crate) struct Peers(pub(crate) Vec<(u16, Peer)>);

impl Peers {
    pub(crate) fn one(peer: &Peer) -> Arc<Self> {
        Arc::new(Self(vec![(1, peer.clone())]))
    }
}

impl Dial for Peers {
    fn dial<'a>(&'a self, address: &'a BrokerAddress) -> Dialing<'a> {
        Box::pin(async move {
            let unreachable = || ConnectionError::Unreachable { address: address.host.clone(), detail: "away".into() };
            let (_, peer) = self.0.iter().find(|(port, _)| *port == address.port).ok_or_else(unreachable)?;
            let (mut away, mut slow) = (false, Duration::ZERO);
            peer.set(|queue| {
                queue.dials += 1;
                (away, slow) = (queue.away, queue.slow);
            });
            tokio::time::sleep(slow).await;
            if away {
                return Err(unreachable());
            }
            let (broker, client) = memory_pair([address.port as u8; 32]);
            tokio::spawn(peer.clone().serve(broker));
            client.await
        })
    }
}
