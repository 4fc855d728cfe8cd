//! Brokers that lie in what they stream.

use bytes::Bytes;
use tidings_core::Object;
use tidings_core::entry::Entry;
use tidings_proto::frames::Reply;

use crate::paper::Dice;
use crate::world::{End, Lie, World};

fn flip(bytes: &Bytes, dice: &mut Dice) -> Bytes {
    let mut bent = bytes.to_vec();
    let at = dice.roll(bent.len() as u64) as usize;
    bent[at] ^= 1 << dice.roll(8);
    bent.into()
}

fn bend_entries(reply: Reply, bend: impl FnOnce(&mut Vec<Bytes>)) -> Reply {
    match reply {
        Reply::Chunk(mut chunk) => {
            bend(&mut chunk.entries);
            Reply::Chunk(chunk)
        }
        other => other,
    }
}

const LIES: [(&str, Lie); 12] = [
    ("drop an entry", |dice, _, reply| {
        bend_entries(reply, |entries| {
            if !entries.is_empty() {
                entries.remove(dice.roll(entries.len() as u64) as usize);
            }
        })
    }),
    ("drop the tail", |_, _, reply| match reply {
        Reply::Chunk(mut chunk) => {
            chunk.complete = true;
            Reply::Chunk(chunk)
        }
        other => other,
    }),
    ("duplicate an entry", |_, _, reply| bend_entries(reply, |entries| entries.extend(entries.first().cloned()))),
    ("reorder entries", |_, _, reply| bend_entries(reply, |entries| entries.reverse())),
    ("resurrect an entry", |dice, broker, reply| {
        bend_entries(reply, |entries| {
            if let Some(old) = broker.graveyard.get(dice.roll(broker.graveyard.len() as u64) as usize) {
                entries.push(old.clone());
                entries.sort_by_key(|bytes| Entry::decode(bytes).expect("an entry").offset);
            }
        })
    }),
    ("flip a bit of an entry", |dice, _, reply| {
        bend_entries(reply, |entries| {
            if let Some(first) = entries.first_mut() {
                *first = flip(first, dice);
            }
        })
    }),
    ("swap ciphertexts", |_, _, reply| {
        bend_entries(reply, |entries| {
            if entries.len() > 1 {
                let mut pair: Vec<Entry> = [0, entries.len() - 1].map(|at| Entry::decode(&entries[at]).expect("an entry")).into();
                let first = std::mem::take(&mut pair[0].ciphertext);
                pair[0].ciphertext = std::mem::replace(&mut pair[1].ciphertext, first);
                let last = entries.len() - 1;
                (entries[0], entries[last]) = (pair[0].encode().into(), pair[1].encode().into());
            }
        })
    }),
    ("announce an old head", |dice, broker, reply| match reply {
        Reply::Announce(mut announce) => {
            announce.head = broker.heads[dice.roll(broker.heads.len() as u64) as usize].bytes().clone();
            Reply::Announce(announce)
        }
        other => other,
    }),
    ("flip a bit of a head", |dice, _, reply| match reply {
        Reply::Announce(mut announce) => {
            announce.head = flip(&announce.head, dice);
            Reply::Announce(announce)
        }
        other => other,
    }),
    ("flip a bit of a proof", |_, _, reply| match reply {
        Reply::Announce(mut announce) if !announce.proof.is_empty() => {
            announce.proof[0][0] ^= 1;
            Reply::Announce(announce)
        }
        other => other,
    }),
    ("a bitmap that lacks what lives", |dice, _, reply| {
        bend_bitmap(reply, |live| {
            let pick = dice.roll(live.len());
            if let Some(offset) = live.select(pick) {
                live.remove(offset);
            }
        })
    }),
    ("a bitmap that keeps what is gone", |_, broker, reply| {
        bend_bitmap(reply, |live| {
            live.extend(broker.graveyard.iter().map(|bytes| Entry::decode(bytes).expect("an entry").offset.value()));
        })
    }),
];

fn bend_bitmap(reply: Reply, bend: impl FnOnce(&mut roaring::RoaringTreemap)) -> Reply {
    match reply {
        Reply::Bitmap(mut bitmap) => {
            let mut live = roaring::RoaringTreemap::deserialize_from(bitmap.live.as_ref()).expect("a bitmap");
            bend(&mut live);
            let mut bytes = Vec::new();
            live.serialize_into(&mut bytes).expect("a vector takes all");
            bitmap.live = bytes.into();
            Reply::Bitmap(bitmap)
        }
        other => other,
    }
}

/// [P-11] [P-14] [P-15] A lying broker never makes a reader accept a view that is not the owner's; an honest one that is asked
/// with nothing staged from the liar is never accused. `check_view` runs at every acceptance.
#[test]
fn no_lie_leads_to_a_wrong_view_and_no_honest_broker_is_accused_for_it() {
    for (name, lie) in LIES {
        let mut named = 0;
        for seed in 0..60 {
            let mut world = World::new(seed, if seed % 2 == 0 { 10 } else { 50 });
            for _ in 0..12 {
                for _ in 0..1 + world.dice.roll(7) {
                    world.tick();
                }
                let lying = world.dice.chance(70);
                let at = if lying { 0 } else { 1 + world.dice.roll(2) as usize };
                let end = world.connect(at, 5, lying.then_some(lie));
                if let End::Verdict(verdict) = end {
                    assert!(lying, "{name}, seed {seed}: an honest broker was accused: {verdict}");
                    named += 1;
                }
            }
        }
        assert!(named > 0 || name.starts_with("a bitmap"), "{name}: never named");
    }
}
