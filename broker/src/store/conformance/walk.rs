//! A random history on a store and on the reference, compared after every step.

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::{Entropy, NodeIndex};
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId};

use super::super::{Append, LiveRow, MemoryStore, QueueRow, Scan, ScanLimit, Store};
use super::adoptions::{ahead, anew};
use super::done;
use super::publisher::Publisher;

const STEPS: usize = 60;
const REOPENED_EVERY: usize = 6;

pub(super) fn walk<S: Store>(mut store: S, reopen: &impl Fn(S) -> S, seed: u8) {
    let (reference, mut chance) = (MemoryStore::new(), Chance(Entropy::new([seed; 32])));
    let mut owners = [[0; 32], [0x7f; 32], [0xff; 32]].map(|id| Publisher::new(QueueId::new(id)));
    for step in 0..STEPS {
        let mut group: Vec<Append> = (0..1 + chance.below(3)).map(|_| next(&mut owners[chance.below(3) as usize], &mut chance)).collect();
        // The first append of a group continues a head that stands: it can as well come in two steps.
        if chance.below(4) == 0 {
            let starts_over = group[0].expected.is_some() && group[0].history[0].0 == NodeIndex::leaf(0);
            let (staged, rest) = if starts_over { anew(group[0].clone()) } else { ahead(group[0].clone()) };
            let abandoned = [store.stage(&staged), reference.stage(&staged)];
            assert_eq!(abandoned[0], abandoned[1]);
            if abandoned[0].is_ok() && chance.below(3) > 0 {
                assert_eq!(store.unstage(&staged.queue), reference.unstage(&staged.queue));
                assert_eq!(store.stage(&staged), reference.stage(&staged));
                group[0] = rest;
            }
        }
        assert_eq!(store.append(&group), reference.append(&group));
        let owner = &owners[chance.below(3) as usize];
        let acked = [owner.acked(chance.below(4) as u8, 1 + chance.below(2), chance.below(9))];
        assert_eq!(store.acknowledge(&acked), reference.acknowledge(&acked));
        if step % REOPENED_EVERY == 0 {
            store = reopen(store);
        }
        for owner in &owners {
            assert_eq!(observe(&store, owner, seed), observe(&reference, owner, seed));
        }
    }
}

/// The next publish of an owner: anything that the protocol allows, in small numbers so that collisions are common.
fn next(owner: &mut Publisher, chance: &mut Chance) -> Append {
    let live: Vec<Birth> = owner.live().iter().map(|row| row.birth).collect();
    let some: Vec<Birth> = live.into_iter().filter(|_| chance.below(3) == 0).collect();
    let mut append = match chance.below(16) {
        0 => owner.start_over(chance.below(4) as usize),
        1..4 => owner.purge(&some),
        4..9 => owner.records(chance.below(5) as usize),
        _ => owner.publish(&some.into_iter().map(Some).chain([None]).collect::<Vec<_>>()),
    };
    let (put, removed) = (chance.below(4) as u8, chance.below(8) as u8);
    append.access_put = vec![(Pseudonym::new([put; 32]), Bytes::from(vec![removed; 9]))];
    append.attachments_put = vec![(ContentHash::new([put; 32]), Bytes::from(vec![removed; 9]))];
    if removed != put {
        append.access_removed = vec![Pseudonym::new([removed; 32])];
        append.attachments_removed = vec![ContentHash::new([removed; 32])];
    }
    append
}

/// Every read of a queue, over all that a short walk can touch.
#[derive(Debug, PartialEq)]
struct Observed {
    row: Option<QueueRow>,
    live_of: Vec<Option<LiveRow>>,
    live_at: Vec<Option<LiveRow>>,
    scans: Vec<Option<Scan>>,
    bitmaps: Vec<Option<(RoaringTreemap, Scan)>>,
    history: Vec<Option<[u8; 32]>>,
    access: Vec<(Pseudonym, Bytes)>,
    removed: Vec<bool>,
    attachments: Vec<Option<Bytes>>,
    acknowledgements: Vec<(Pseudonym, Bytes)>,
}

fn observe<S: Store>(store: &S, owner: &Publisher, seed: u8) -> Observed {
    let (queue, limit) = (&owner.queue, ScanLimit { entries: 1 + seed as usize * 4, bytes: 400 });
    let numbers = || 0..300;
    let levels = (0..8).flat_map(|level| (0..STEPS as u64 * 3).map(move |index| NodeIndex { level, index }));
    Observed {
        row: done(store.queue(queue)),
        live_of: done(store.live_of(queue, &numbers().map(Birth::new).collect::<Vec<_>>())),
        live_at: done(store.live_at(queue, &numbers().map(Offset::new).collect::<Vec<_>>())),
        scans: numbers().step_by(20).map(|after| done(store.scan(queue, Offset::new(after), limit))).collect(),
        bitmaps: numbers().step_by(35).map(|through| done(store.bitmap(queue, Offset::new(through), limit))).collect(),
        history: done(store.history(queue, &levels.collect::<Vec<_>>())),
        access: done(store.access_list(queue)),
        removed: (0..8).map(|number| done(store.was_removed(queue, &Pseudonym::new([number; 32])))).collect(),
        attachments: (0..8).map(|number| done(store.attachment(queue, &ContentHash::new([number; 32])))).collect(),
        acknowledgements: done(store.acknowledgements(queue)),
    }
}

struct Chance(Entropy);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        u64::from_be_bytes(self.0.bytes()) % end
    }
}
