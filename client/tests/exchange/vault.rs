//! A broker for owners alone: it takes publishes and transfers only if they are what their head signs, gives back what it holds, and
//! remembers every head and nonce that it ever saw.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidings_client::connection::{MemoryBroker, MemoryStream, memory_pair};
use tidings_client::dial::Dialing;
use tidings_client::{ConnectionError, Dial};
use tidings_core::{
    AccessRow, Entry, Object, QueueDescriptor, QueueState, Receipt, ReceiptKey, SetHash, SetKind, SignedHead, attachment_hash,
};
use tidings_proto::frames::{Limits, Publish, Readers, Transfer, Welcome};
use tidings_proto::{BrokerAddress, HeadRank, Offset, Pseudonym, QueueId, Refusal, RefusalCode, Reply, Request, Timestamp};
use tokio::sync::watch;

/// The brokers by port; clones are the same ones.
#[derive(Clone)]
pub(crate) struct Vaults {
    vaults: Arc<Mutex<BTreeMap<u16, Vault>>>,
    seen: Arc<Mutex<Seen>>,
    changed: Arc<watch::Sender<u64>>,
}

/// What all brokers ever saw.
#[derive(Default)]
struct Seen {
    ranks: HashMap<HeadRank, Bytes>,
    nonces: HashMap<[u8; 24], Bytes>,
}

/// One broker.
#[derive(Clone, Default)]
pub(crate) struct Vault {
    pub(crate) held: Held,
    pub(crate) away: bool,
    /// Publishes and transfers are not answered.
    pub(crate) mute: bool,
    /// What is given back to the owner in place of what is held.
    pub(crate) gives: Option<Held>,
    pub(crate) transfers: usize,
    pub(crate) from_zero: usize,
}

/// What a broker holds.
#[derive(Clone, Default)]
pub(crate) struct Held {
    pub(crate) head: Option<SignedHead>,
    hashes: Vec<[u8; 32]>,
    live: BTreeMap<u64, (Offset, Bytes)>,
    rows: BTreeMap<Pseudonym, AccessRow>,
    attachments: HashMap<[u8; 32], Bytes>,
}

fn receipt_key(port: u16) -> ReceiptKey {
    ReceiptKey::from_seed([port as u8; 32])
}

impl Vaults {
    pub(crate) fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        let vaults = ports.into_iter().map(|port| (port, Vault::default())).collect();
        Self { vaults: Arc::new(Mutex::new(vaults)), seen: Arc::default(), changed: Arc::new(watch::channel(0).0) }
    }

    pub(crate) fn address(port: u16) -> BrokerAddress {
        BrokerAddress { host: "vault".into(), port, pin: Some([1; 32]), receipt: Some(receipt_key(port).verifying_key()) }
    }

    pub(crate) fn set(&self, port: u16, change: impl FnOnce(&mut Vault)) {
        change(self.vaults.lock().expect("not poisoned").get_mut(&port).expect("a port"));
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn look<T>(&self, port: u16, look: impl FnOnce(&Vault) -> T) -> T {
        look(&self.vaults.lock().expect("not poisoned")[&port])
    }

    pub(crate) fn rank(&self, port: u16) -> HeadRank {
        self.look(port, |vault| vault.held.head.as_ref().map_or(HeadRank::default(), SignedHead::rank))
    }

    pub(crate) async fn until(&self, port: u16, wanted: impl Fn(&Vault) -> bool) {
        let mut changed = self.changed.subscribe();
        while !self.look(port, &wanted) {
            changed.changed().await.expect("the vaults are there");
        }
    }

    async fn serve(self, port: u16, mut broker: MemoryBroker) {
        let mut tasks = tokio::task::JoinSet::new();
        let mut changed = self.changed.subscribe();
        loop {
            tokio::select! {
                stream = broker.streams.recv() => match stream {
                    Some(stream) => drop(tasks.spawn(self.clone().stream(port, stream))),
                    None => return,
                },
                _ = changed.changed() => if self.look(port, |vault| vault.away) { return },
            }
        }
    }

    async fn stream(self, port: u16, mut stream: MemoryStream) {
        match stream.requests.recv().await {
            Some(Request::Hello(_)) => control(port, stream).await,
            Some(Request::Open(open)) => {
                self.publishes(port, stream, QueueDescriptor::decode(&open.descriptor).expect("a descriptor").id()).await
            }
            _ => {}
        }
    }

    async fn publishes(self, port: u16, mut stream: MemoryStream, id: QueueId) {
        let standing = self.look(port, |vault| vault.held.head.as_ref().map(|head| head.bytes().clone()).unwrap_or_default());
        let _ = stream.replies.send(Reply::Standing(standing)).await;
        let mut parts = Vec::new();
        while let Some(request) = stream.requests.recv().await {
            let reply = match request {
                Request::Publish(publish) => self.taken(port, id, |held| held.publish(&publish)),
                Request::Transfer(part) => {
                    let last = !part.head.is_empty();
                    parts.push(part);
                    if !last {
                        continue;
                    }
                    let parts = std::mem::take(&mut parts);
                    let zero = parts.iter().all(|part| part.live.is_empty());
                    self.set(port, |vault| (vault.transfers, vault.from_zero) = (vault.transfers + 1, vault.from_zero + usize::from(zero)));
                    self.taken(port, id, |held| held.transfer(&parts, zero))
                }
                Request::Recover => {
                    let whole = self.look(port, |vault| vault.gives.as_ref().unwrap_or(&vault.held).whole());
                    for part in whole {
                        let _ = stream.replies.send(Reply::Part(part)).await;
                    }
                    continue;
                }
                Request::AskReaders => Reply::Readers(Readers { rows: Vec::new(), acknowledgements: Vec::new() }),
                _ => continue,
            };
            if self.look(port, |vault| vault.mute) {
                continue;
            }
            let _ = stream.replies.send(reply).await;
        }
    }

    fn taken(&self, port: u16, id: QueueId, take: impl FnOnce(&Held) -> Result<Held, &'static str>) -> Reply {
        let held = self.look(port, |vault| take(&vault.held));
        let held = match held {
            Ok(held) => held,
            Err(why) => return Reply::Refused(Refusal::new(RefusalCode::Conflict, why)),
        };
        let head = held.head.clone().expect("a head");
        self.remember(&held, &head);
        self.set(port, |vault| vault.held = held);
        let receipt = Receipt { queue: id, rank: head.rank(), head: head.hash(), since: Timestamp::new(1) };
        Reply::Receipt(receipt.sign(&receipt_key(port)))
    }

    /// [P-3] One rank has one head, one nonce one entry, whoever signed it, wherever it went.
    fn remember(&self, held: &Held, head: &SignedHead) {
        let mut seen = self.seen.lock().expect("not poisoned");
        let known = seen.ranks.entry(head.rank()).or_insert_with(|| head.bytes().clone());
        assert_eq!(known, head.bytes(), "one rank was signed twice");
        for (_, bytes) in held.live.values() {
            let entry = Entry::decode(bytes).expect("an entry");
            assert_eq!(seen.nonces.entry(entry.nonce).or_insert_with(|| bytes.clone()), bytes, "one nonce was used twice");
        }
    }
}

async fn control(port: u16, mut stream: MemoryStream) {
    let limits = Limits {
        publish_entries_max: 8,
        publish_bytes_max: 1 << 20,
        entry_bytes_max: 16_384,
        publishes_in_flight_max: 4,
        readers_max: 16,
        live_bytes_max: 0,
    };
    let welcome = Welcome { software: "vault".into(), receipt_key: receipt_key(port).verifying_key(), limits };
    let _ = stream.replies.send(Reply::Welcome(welcome)).await;
    while let Some(Request::Prove(prove)) = stream.requests.recv().await {
        let _ = stream.replies.send(Reply::Proven(prove.key)).await;
    }
}

impl Held {
    fn publish(&self, publish: &Publish) -> Result<Self, &'static str> {
        let head = SignedHead::parse(publish.head.clone()).expect("a head");
        if self.head.as_ref().is_some_and(|standing| standing.hash() == head.hash()) {
            return Ok(self.clone());
        }
        let standing = self.head.as_ref();
        let continues = head.rank().number.value() == self.hashes.len() as u64 + 1
            && standing.is_none_or(|standing| head.head().previous == standing.hash() && head.rank().term >= standing.rank().term);
        let closed =
            standing.is_some_and(|standing| standing.head().state == QueueState::Closed && head.rank().term == standing.rank().term);
        if !continues || closed {
            return Err("it does not continue what stands");
        }
        let mut next = self.clone();
        next.put(&publish.entries, &publish.access_put, &publish.attachments);
        next.live.retain(|_, (offset, _)| !publish.purged.contains(offset));
        next.rows.retain(|reader, _| !publish.access_removed.contains(reader));
        next.standing_at(head)
    }

    fn transfer(&self, parts: &[Transfer], zero: bool) -> Result<Self, &'static str> {
        let last = parts.last().expect("a part");
        let head = SignedHead::parse(last.head.clone()).expect("a head");
        let higher = self.head.as_ref().is_none_or(|standing| head.rank().term > standing.rank().term);
        if zero && self.head.is_some() && !higher {
            return Err("another branch of no higher term");
        }
        let mut next = if zero { Self::default() } else { self.clone() };
        let live: roaring_set::Offsets = roaring_set::of(parts.iter().map(|part| &part.live));
        next.live.retain(|_, (offset, _)| live.contains(&offset.value()));
        if !zero {
            next.rows.clear();
        }
        for part in parts {
            next.hashes.extend(&part.history);
            next.put(&part.entries, &part.rows, &part.attachments);
        }
        next.standing_at(head)
    }

    fn put(&mut self, entries: &[Bytes], rows: &[Bytes], attachments: &[Bytes]) {
        for bytes in entries {
            let entry = Entry::decode(bytes).expect("an entry");
            self.live.insert(entry.birth.value(), (entry.offset, bytes.clone()));
        }
        for row in rows {
            let row = AccessRow::decode(row).expect("a row");
            self.rows.insert(row.pseudonym, row);
        }
        self.attachments.extend(attachments.iter().map(|bytes| (*attachment_hash(bytes).bytes(), bytes.clone())));
    }

    /// Takes the head if everything that is held is what it signs. [P-7, P-10]
    fn standing_at(mut self, head: SignedHead) -> Result<Self, &'static str> {
        let signed = head.head();
        let (mut live, mut access) = (SetHash::new(SetKind::Live), SetHash::new(SetKind::Access));
        self.live.values().for_each(|(_, bytes)| live.add(Entry::decode(bytes).expect("an entry").digest(&signed.queue).bytes()));
        self.rows.values().for_each(|row| access.add(&row.encode()));
        let named: HashSet<[u8; 32]> = self.rows.values().flat_map(|row| [*row.grant.bytes(), *row.owner_copy.bytes()]).collect();
        if live.root() != signed.live_root || access.root() != signed.access_root {
            return Err("it is not what the head signs");
        }
        if named.iter().any(|hash| !self.attachments.contains_key(hash)) {
            return Err("an attachment is missing");
        }
        self.attachments.retain(|hash, _| named.contains(hash));
        if self.hashes.len() as u64 + 1 != head.rank().number.value() {
            return Err("hashes of heads are missing");
        }
        self.hashes.push(*head.hash().bytes());
        self.head = Some(head);
        Ok(self)
    }

    /// Everything, from zero, entry by entry.
    pub(crate) fn whole(&self) -> Vec<Transfer> {
        let head = self.head.as_ref().expect("a head");
        let mut entries: Vec<_> = self.live.values().cloned().collect();
        entries.sort();
        let history = self.hashes[..self.hashes.len() - 1].to_vec();
        let mut parts: Vec<_> = (!history.is_empty()).then(|| Transfer { history, ..Transfer::default() }).into_iter().collect();
        parts.extend(entries.into_iter().map(|(_, bytes)| Transfer { entries: vec![bytes], ..Transfer::default() }));
        let mut attachments: Vec<_> = self.attachments.values().cloned().collect();
        attachments.sort_by_key(|bytes| *attachment_hash(bytes).bytes());
        let rows = self.rows.values().map(|row| row.encode().into()).collect();
        parts.push(Transfer { attachments, rows, head: head.bytes().clone(), ..Transfer::default() });
        parts
    }
}

/// Bitmaps of transfers, in the portable format.
mod roaring_set {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    pub(super) type Offsets = BTreeSet<u64>;

    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a Bytes>) -> Offsets {
        let parts = parts.filter(|part| !part.is_empty());
        parts.flat_map(|part| roaring::RoaringTreemap::deserialize_from(part.as_ref()).expect("a bitmap")).collect()
    }
}

impl Dial for Vaults {
    fn dial<'a>(&'a self, address: &'a BrokerAddress) -> Dialing<'a> {
        Box::pin(async move {
            if self.look(address.port, |vault| vault.away) {
                return Err(ConnectionError::Unreachable { address: address.host.clone(), detail: "away".into() });
            }
            let (broker, client) = memory_pair([address.port as u8; 32]);
            tokio::spawn(self.clone().serve(address.port, broker));
            client.await
        })
    }
}
