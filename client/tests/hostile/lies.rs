//! What the liar says: true things in wrong places, changed ones, and noise.

use bytes::Bytes;
use tidings_core::{NodeKey, Receipt, SignedHead};
use tidings_proto::caps::FRAME_BYTES_MAX;
use tidings_proto::frames::{Announce, Bitmap, Chunk, Limits, Readers, Transfer, Welcome};
use tidings_proto::{HeadNumber, HeadRank, Offset, Refusal, RefusalCode, Reply, Request, Term, Timestamp};

use crate::dice::Dice;
use crate::liar::receipt_key;

/// Frames of one flood.
const FLOOD: usize = 300;
/// Of each kind it remembers so many.
const KNOWN_MAX: usize = 400;

/// What the liar has heard from owners, and reuses.
#[derive(Default)]
pub(crate) struct Known {
    heads: Vec<Bytes>,
    entries: Vec<Bytes>,
    rows: Vec<Bytes>,
    attachments: Vec<Bytes>,
    pulses: Vec<Bytes>,
}

impl Known {
    /// Remembers what a request carries.
    pub(crate) fn hear(&mut self, request: &Request) {
        match request {
            Request::Publish(publish) => {
                keep(&mut self.heads, std::slice::from_ref(&publish.head));
                keep(&mut self.entries, &publish.entries);
                keep(&mut self.rows, &publish.access_put);
                keep(&mut self.attachments, &publish.attachments);
            }
            Request::Transfer(part) => {
                keep(&mut self.heads, std::slice::from_ref(&part.head));
                keep(&mut self.entries, &part.entries);
                keep(&mut self.rows, &part.rows);
                keep(&mut self.attachments, &part.attachments);
            }
            Request::Pulse(pulse) => keep(&mut self.pulses, std::slice::from_ref(pulse)),
            _ => {}
        }
    }

    /// A head of the owner's, or one that only looks like one: changed, or of a far term and another key.
    fn head(&self, dice: &mut Dice) -> Bytes {
        let Some(head) = dice.of(&self.heads).cloned() else { return dice.bytes(300).into() };
        match dice.below(8) {
            0 => dice.bent(&head).into(),
            1 => {
                let mut far = SignedHead::parse(head).expect("a head").head().clone();
                (far.term, far.number) = (Term::new(u64::MAX - 1), HeadNumber::new(far.number.value() + 5));
                far.sign(&NodeKey::from_seed([99; 32])).bytes().clone()
            }
            2 => self.heads.last().expect("one at least").clone(),
            _ => head,
        }
    }

    fn rank(&self, dice: &mut Dice) -> HeadRank {
        SignedHead::parse(self.head(dice)).map_or(HeadRank { term: Term::new(u64::MAX), number: HeadNumber::new(9) }, |head| head.rank())
    }

    fn some(&self, all: &[Bytes], dice: &mut Dice) -> Vec<Bytes> {
        let one = |dice: &mut Dice| {
            let bytes = dice.of(all)?.clone();
            Some(if dice.once_in(4) { dice.bent(&bytes).into() } else { bytes })
        };
        (0..dice.below(9)).filter_map(|_| one(dice)).collect()
    }

    /// Of another head than the one that was sent, so that no publish is ever done by it.
    fn receipt(&self, dice: &mut Dice) -> Bytes {
        let Ok(head) = SignedHead::parse(self.head(dice)) else { return dice.bytes(140).into() };
        let rank = HeadRank { number: HeadNumber::new(head.rank().number.value() + 1), ..head.rank() };
        Receipt { queue: head.head().queue, rank, head: head.hash(), since: Timestamp::new(1) }.sign(&receipt_key())
    }

    fn part(&self, dice: &mut Dice) -> Transfer {
        Transfer {
            history: (0..dice.below(9)).map(|_| [dice.roll() as u8; 32]).collect(),
            live: if dice.once_in(6) { dice.bytes(20).into() } else { Bytes::new() },
            entries: self.some(&self.entries, dice),
            attachments: self.some(&self.attachments, dice),
            head: if dice.once_in(4) { self.head(dice) } else { Bytes::new() },
            rows: self.some(&self.rows, dice),
            ..Transfer::default()
        }
    }

    /// Any reply at all.
    fn any(&self, dice: &mut Dice) -> Reply {
        let offset = |dice: &mut Dice| Offset::new(if dice.once_in(4) { dice.roll() } else { dice.below(60) as u64 });
        match dice.below(13) {
            0 => Reply::Welcome(welcome(dice)),
            1 => Reply::Proven(receipt_key().verifying_key()),
            2 => Reply::Standing(self.head(dice)),
            3 => Reply::Receipt(self.receipt(dice)),
            4 => Reply::Readers(Readers { rows: self.some(&self.rows, dice), acknowledgements: vec![dice.bytes(200).into()] }),
            5 => Reply::Grant(dice.of(&self.attachments).cloned().unwrap_or_default()),
            6 => self.announce(dice),
            7 => Reply::Chunk(Chunk { stamp: self.rank(dice), entries: self.some(&self.entries, dice), complete: dice.once_in(2) }),
            8 => {
                let (stamp, after, through) = (self.rank(dice), offset(dice), offset(dice));
                Reply::Bitmap(Bitmap { stamp, after, through, live: dice.bytes(30).into(), last: dice.once_in(2) })
            }
            9 => Reply::Acknowledged(self.rank(dice)),
            10 => {
                let code = dice.of(&[RefusalCode::Denied, RefusalCode::Conflict, RefusalCode::Damaged, RefusalCode::Busy]).expect("one");
                let mut refusal = Refusal::new(*code, "as it likes").at_head(self.head(dice));
                refusal.rows = self.some(&self.rows, dice);
                Reply::Refused(refusal)
            }
            11 => Reply::Pulse(dice.of(&self.pulses).cloned().unwrap_or_else(|| vec![7; 200].into())),
            _ => Reply::Part(self.part(dice)),
        }
    }

    fn announce(&self, dice: &mut Dice) -> Reply {
        let (base, leaf) = (HeadNumber::new(dice.below(9) as u64), Bytes::from(dice.bytes(32)));
        // Without a base above nothing a head needs no proof: it is believed as far as its signature.
        match dice.once_in(2) {
            true => Reply::Announce(Announce { head: self.head(dice), base, leaf, proof: vec![[1; 32]; dice.below(9)] }),
            false => Reply::Announce(Announce { head: self.head(dice), base: HeadNumber::ZERO, leaf: Bytes::new(), proof: Vec::new() }),
        }
    }

    /// What an honest broker would say, as far as it knows.
    fn fitting(&self, request: &Request, dice: &mut Dice) -> Reply {
        match request {
            Request::Hello(_) => Reply::Welcome(welcome(dice)),
            Request::Prove(prove) => Reply::Proven(prove.key),
            Request::Open(_) if dice.once_in(3) => Reply::Standing(Bytes::new()),
            Request::Open(_) => Reply::Standing(self.head(dice)),
            Request::Publish(_) | Request::Transfer(_) => Reply::Receipt(self.receipt(dice)),
            Request::Recover => Reply::Part(self.part(dice)),
            Request::Subscribe(_) | Request::AskBitmap => self.announce(dice),
            _ => self.any(dice),
        }
    }
}

/// The bytes that answer a request.
pub(crate) fn lie(known: &Known, request: &Request, dice: &mut Dice) -> Vec<u8> {
    let fitting = known.fitting(request, dice).encode_prefixed();
    let greeting = matches!(request, Request::Hello(_) | Request::Prove(_));
    // Most of the time it gets to where lies matter.
    if greeting && !dice.once_in(8) {
        return fitting.to_vec();
    }
    let bytes = match dice.below(12) {
        0 => dice.bytes(300),
        1 => prefixed(u32::MAX, dice),
        2 => prefixed(FRAME_BYTES_MAX as u32, dice),
        3 => prefixed(0, dice),
        4 => dice.bent(&fitting),
        5 => fitting[..dice.below(fitting.len())].to_vec(),
        6 => fitting.repeat(FLOOD),
        7 => (0..FLOOD).flat_map(|_| known.any(dice).encode_prefixed()).collect(),
        8 => [vec![0; FRAME_BYTES_MAX / 2], fitting.to_vec()].concat(),
        _ => fitting.to_vec(),
    };
    // A frame whose first bytes say how long it is and whose rest never comes is the worst that can be said to a buffer.
    let followed = (0..dice.below(6)).flat_map(|_| known.any(dice).encode_prefixed());
    bytes.into_iter().chain(followed.collect::<Vec<u8>>()).collect()
}

fn prefixed(length: u32, dice: &mut Dice) -> Vec<u8> {
    [&length.to_be_bytes()[..], &dice.bytes(200)].concat()
}

fn welcome(dice: &mut Dice) -> Welcome {
    let limit = if dice.once_in(3) { dice.roll() as u32 } else { dice.below(3) as u32 };
    let limits = Limits {
        publish_entries_max: limit,
        publish_bytes_max: limit,
        entry_bytes_max: limit,
        publishes_in_flight_max: limit,
        readers_max: limit,
        live_bytes_max: u64::from(limit),
    };
    Welcome { software: "liar".into(), receipt_key: receipt_key().verifying_key(), limits }
}

fn keep(kept: &mut Vec<Bytes>, new: &[Bytes]) {
    let room = KNOWN_MAX.saturating_sub(kept.len());
    kept.extend(new.iter().filter(|bytes| !bytes.is_empty()).take(room).cloned());
}
