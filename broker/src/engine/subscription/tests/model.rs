//! A reader that checks every frame and trusts none.

use std::collections::BTreeMap;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::grant::attachment_hash;
use tidings_core::{Cursor, Entry, Object, SetHash, SetKind, SignedHead, verify_inclusion};
use tidings_proto::frames::{Announce, Bitmap, Chunk, Reply};
use tidings_proto::{Birth, HeadNumber, Offset, QueueId};

use super::{Subscription, World};

/// What a careful reader checks of every frame; holds entries by birth.
pub(super) struct Model {
    queue: QueueId,
    grant: Bytes,
    base: HeadNumber,
    base_leaf: [u8; 32],
    announced: Option<SignedHead>,
    held: BTreeMap<Birth, (Offset, Bytes)>,
    position: Offset,
    /// Up to this floor what was purged is known to be gone.
    witness: Offset,
    bitmap: Option<RoaringTreemap>,
    pub(super) asks: bool,
    pub(super) settled: Option<SignedHead>,
}

impl Model {
    pub(super) fn new(queue: QueueId) -> Self {
        Self {
            queue,
            grant: Bytes::new(),
            base: HeadNumber::ZERO,
            base_leaf: *queue.bytes(),
            announced: None,
            held: BTreeMap::new(),
            position: Offset::ZERO,
            witness: Offset::ZERO,
            bitmap: None,
            asks: false,
            settled: None,
        }
    }

    /// Another connection: the cursor is what was settled, staging goes on at the position.
    pub(super) fn resubscribe(&mut self, world: &World) -> Subscription {
        let cursor = self.settled.as_ref().map_or(Cursor::start(&self.queue), SignedHead::cursor);
        (self.base, self.base_leaf, self.announced) = (cursor.rank.number, *cursor.head.bytes(), None);
        (self.bitmap, self.asks) = (None, false);
        world.subscribe(cursor.rank.number.value(), self.position.value(), self.grant.clone())
    }

    pub(super) fn on_reply(&mut self, reply: Reply) {
        match reply {
            Reply::Grant(grant) => self.grant = Bytes::copy_from_slice(attachment_hash(&grant).bytes()),
            Reply::Announce(announce) => self.on_announce(announce),
            Reply::Chunk(chunk) => self.on_chunk(chunk),
            Reply::Bitmap(part) => self.on_bitmap(part),
            other => panic!("an honest broker sent {other:?}"),
        }
    }

    fn on_announce(&mut self, announce: Announce) {
        let head = SignedHead::parse(announce.head).expect("a head");
        let number = head.head().number;
        assert_eq!(announce.base, self.base);
        if self.base >= number {
            assert!(self.announced.is_none() && announce.leaf.is_empty());
        } else {
            assert_eq!(announce.leaf, &self.base_leaf[..]);
            let direct = self.base.next() == Some(number) && head.head().previous.bytes() == &self.base_leaf && announce.proof.is_empty();
            let root = &head.head().history_root;
            assert!(direct || verify_inclusion(root, number.value(), self.base.value(), &self.base_leaf, &announce.proof));
        }
        (self.base, self.base_leaf) = (number, *head.hash().bytes());
        if self.held.is_empty() {
            self.witness = self.witness.max(head.head().floor);
        }
        self.announced = Some(head);
    }

    fn on_bitmap(&mut self, part: Bitmap) {
        assert_eq!(Some(part.stamp), self.announced.as_ref().map(SignedHead::rank));
        let live = RoaringTreemap::deserialize_from(&part.live[..]).expect("portable");
        *self.bitmap.get_or_insert_default() |= live;
        if part.last {
            let live = self.bitmap.take().expect("a part came");
            assert!(part.through >= self.position);
            self.held.retain(|_, (offset, _)| *offset > part.through || live.contains(offset.value()));
            self.witness = self.announced.as_ref().expect("announced").head().floor;
            self.asks = false;
        }
    }

    fn on_chunk(&mut self, chunk: Chunk) {
        let head = self.announced.clone().expect("a chunk is stamped with an announced head");
        assert_eq!(chunk.stamp, head.rank());
        for bytes in chunk.entries {
            let entry = Entry::decode(&bytes).expect("an entry");
            assert!(entry.offset > self.position && entry.offset <= head.head().offset);
            self.position = entry.offset;
            self.held.insert(entry.birth, (entry.offset, bytes));
        }
        if !chunk.complete || self.asks {
            return;
        }
        if head.head().floor > self.witness {
            self.asks = true;
        } else {
            assert_eq!(self.root(), head.head().live_root, "the view is not what the head signs");
            self.settled = Some(head);
        }
    }

    pub(super) fn root(&self) -> [u8; 32] {
        let mut live = SetHash::new(SetKind::Live);
        self.held.values().for_each(|(_, bytes)| live.add(Entry::digest_of(bytes, &self.queue).bytes()));
        live.root()
    }
}
