//! What a reader believes of a broker that says anything, of an owner that is honest. [P-11] [P-14] [P-15]
//!
//! The input is a program: honest answers, altered ones, repeated ones, left out ones, made up ones, in any order. Whatever it was, what
//! the reader accepted is what the owner had at that head, the owner is never accused, and an honest broker brings it up to date.

use std::collections::BTreeMap;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::reader::{ChangeKind, Finding, HeldKind, MemoryReaderStore};
use tidings_core::{Mutation, Object, Reader, RecordPath, Step, Verdict};
use tidings_proto::frames::{Announce, Bitmap, Chunk, Reply};
use tidings_proto::{HeadNumber, Offset, Refusal, RefusalCode, Timestamp};

use crate::input::Input;
use crate::session::Session;
use crate::story::{Line, View, serialized, story};

/// Steps of one program.
const STEPS_MAX: usize = 200;
/// Answers that can be repeated.
const SENT_MAX: usize = 32;
/// Of every so many connections one is to a broker of the branch.
const BRANCH_EVERY: usize = 3;
/// Connections to an honest broker after which a reader is up to date: one that ends with a contradiction by what another broker said
/// before, one that reads again, and one for each of a lie about the newest pulse and a grant that is not there yet.
const HONEST_SESSIONS: usize = 4;

/// Runs the program, then lets an honest broker answer.
pub fn run(input: &[u8]) {
    program(input, &[&story().line]);
}

/// The same with brokers of two pasts: the owner's state was put back, and it went on in a higher term from an earlier head. [P-14]
pub fn rewinds(input: &[u8]) {
    program(input, &[&story().line, &story().branch]);
}

fn program(input: &[u8], lines: &[&'static Line]) {
    let mut input = Input::new(input);
    let mut world = World::new(lines.to_vec());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.catch_up();
}

/// A reader, what its application saw, and the broker that it is connected to.
struct World {
    /// What the owner signed: the last one is where it goes on.
    lines: Vec<&'static Line>,
    reader: Reader,
    store: MemoryReaderStore,
    seen: View,
    session: Session,
    sent: Vec<Reply>,
    connections: usize,
}

impl World {
    fn new(lines: Vec<&'static Line>) -> Self {
        let story = story();
        let mut reader = Reader::join(story.descriptor.clone(), &story.grant, &story.reader).expect("the reader's own grant");
        let mut store = MemoryReaderStore::default();
        let session = Session::open(&begin(&mut reader, &mut store, "first"), 1);
        Self { lines, reader, store, seen: BTreeMap::new(), session, sent: Vec::new(), connections: 0 }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 14 {
            0 | 1 => self.honest(),
            2 => self.session.commit(),
            3 => drop(self.session.next()),
            4 => self.altered(input),
            5 => self.repeated(input),
            6 => self.take(&announce(input)),
            7 => self.take(&chunk(input)),
            8 => self.take(&bitmap(input)),
            9 => self.grant(input),
            10 => self.pulse(input),
            11 => self.refused(input),
            12 => self.reader = Reader::decode(&self.reader.encode()).expect("the own row"),
            _ => self.connect("other", 1 + input.below(story().line.heads.len())),
        }
        // What is staged is bounded by what the owner signed. [P-19]
        let newest = self.lines.iter().filter_map(|line| line.heads.last()).map(|head| head.head().offset.value()).max();
        assert!(Some(self.store.staged_count() as u64) <= newest);
    }

    fn honest(&mut self) {
        if let Some(reply) = self.session.next() {
            if self.sent.len() < SENT_MAX {
                self.sent.push(reply.clone());
            }
            self.take(&reply);
        }
    }

    fn altered(&mut self, input: &mut Input<'_>) {
        let Some(reply) = self.session.next() else { return };
        let bent = input.bend(&reply.encode());
        if let Ok(reply) = Reply::decode(bent.into()) {
            self.take(&reply);
        }
    }

    fn repeated(&mut self, input: &mut Input<'_>) {
        if let Some(reply) = self.sent.get(input.below(SENT_MAX)).cloned() {
            self.take(&reply);
        }
    }

    fn grant(&mut self, input: &mut Input<'_>) {
        let all: Vec<&Bytes> = story().line.publishes.iter().flat_map(|publish| &publish.attachments).collect();
        let grant = all[input.below(all.len())];
        let grant = if input.u8().is_multiple_of(2) { grant.to_vec() } else { input.bend(grant) };
        self.take(&Reply::Grant(grant.into()));
    }

    /// A pulse changes no view and accuses nobody.
    fn pulse(&mut self, input: &mut Input<'_>) {
        let pulse = &story().line.pulses[input.below(story().line.pulses.len())];
        let pulse = if input.u8().is_multiple_of(2) { pulse.to_vec() } else { input.bend(pulse) };
        let before = self.reader.cursor();
        let _ = self.reader.on_pulse(&pulse, Timestamp::new(u64::from(input.u16())));
        assert_eq!(self.reader.cursor(), before);
        assert!(!self.reader.is_contradicted(), "an honest owner contradicts itself");
    }

    /// A refusal that nothing justifies is not believed; damage that the broker tells of accuses it alone.
    fn refused(&mut self, input: &mut Input<'_>) {
        let mut refusal = Refusal::new(RefusalCode::Denied, "no row").at_head(head(input));
        let rows: Vec<&Bytes> = story().line.publishes.iter().flat_map(|publish| &publish.access_put).collect();
        refusal.rows = (0..input.below(4)).map(|_| rows[input.below(rows.len())].clone()).collect();
        assert!(!self.reader.is_denied(&refusal), "a reader with access was talked out of it");
        let step = match input.u8() % 2 {
            0 => self.reader.on_damaged("words", &mut self.store),
            _ => match self.reader.witnessed(&head(input)) {
                Some(witnessed) => self.reader.on_overdue(&witnessed, &mut self.store),
                None => return,
            },
        };
        self.after(step.expect("memory"));
    }

    fn take(&mut self, reply: &Reply) {
        let store = &mut self.store;
        let step = match reply {
            Reply::Announce(announce) => self.reader.on_announce(announce, store),
            Reply::Chunk(chunk) => self.reader.on_chunk(chunk, store),
            Reply::Bitmap(bitmap) => self.reader.on_bitmap(bitmap, store),
            Reply::Grant(grant) => self.reader.on_grant(grant, &story().reader, store),
            _ => return,
        };
        self.after(step.expect("memory"));
    }

    fn after(&mut self, step: Step) {
        match step {
            Step::Continue => {}
            Step::AskBitmap => self.session.ask_bitmap(),
            Step::Accepted(_) => self.check_view(),
            Step::Behind | Step::Restart(_) => self.connect("first", 1 + self.sent.len() % story().line.heads.len()),
            Step::LocalDamage => panic!("nobody damaged the reader"),
            Step::Verdict(finding) => {
                self.check_finding(&finding);
                self.connect("other", 1);
            }
        }
    }

    /// Only the broker may be accused, and of the owner only what it did be said; the evidence is an object like any other.
    fn check_finding(&self, finding: &Finding) {
        let is_lie = finding.verdict == Verdict::Forked || (finding.verdict == Verdict::Rewound && self.lines.len() == 1);
        assert!(!is_lie, "an honest owner was accused: {finding:?}");
        if let Some(evidence) = &finding.evidence {
            let bytes = evidence.encode();
            assert_eq!(tidings_core::reader::Evidence::decode(&bytes).as_ref(), Ok(evidence));
        }
    }

    fn connect(&mut self, broker: &str, taken: usize) {
        self.connections += 1;
        let subscribe = begin(&mut self.reader, &mut self.store, broker);
        self.session = match self.lines.len() > 1 && (self.connections + taken).is_multiple_of(BRANCH_EVERY) {
            true => Session::open_branch(&subscribe, taken),
            false => Session::open(&subscribe, taken),
        };
    }

    /// What is held is what the owner had at that head, and the application, applying changes, sees the same.
    fn check_view(&mut self) {
        let (number, cursor) = (self.reader.cursor().rank.number.value() as usize, self.reader.cursor());
        let on = |line: &&&'static Line| line.heads.get(number - 1).is_some_and(|head| head.cursor() == cursor);
        let view = &self.lines.iter().find(on).expect("a head of the owner's").views[number - 1];
        let held = self.store.rows().filter(|row| row.kind == HeldKind::Value);
        let held: View = held.map(|row| (row.path.clone().expect("a value has a path"), value(&row.bytes))).collect();
        assert_eq!(held, *view);
        self.hand_out();
        assert_eq!(self.seen, *view);
    }

    fn hand_out(&mut self) {
        for change in self.store.take_changes() {
            let there = self.seen.contains_key::<RecordPath>(&change.path);
            assert_eq!(there, change.kind != ChangeKind::Create, "{:?} of what is there: {there}", change.kind);
            match change.kind {
                ChangeKind::Delete => self.seen.remove(&change.path),
                _ => self.seen.insert(change.path, value(&change.mutation)),
            };
        }
    }

    /// No lie keeps a reader from what an honest broker has.
    fn catch_up(&mut self) {
        let (rewinds, line) = (self.lines.len() > 1, self.lines.last().expect("a line"));
        let newest = line.heads.last().expect("a head").rank();
        for _ in 0..HONEST_SESSIONS + usize::from(rewinds) {
            let subscribe = begin(&mut self.reader, &mut self.store, "honest");
            self.session = match rewinds {
                true => Session::open_branch(&subscribe, usize::MAX),
                false => Session::open(&subscribe, usize::MAX),
            };
            while let Some(reply) = self.session.next() {
                let step = match &reply {
                    Reply::Announce(announce) => self.reader.on_announce(announce, &mut self.store),
                    Reply::Chunk(chunk) => self.reader.on_chunk(chunk, &mut self.store),
                    Reply::Bitmap(bitmap) => self.reader.on_bitmap(bitmap, &mut self.store),
                    Reply::Grant(grant) => self.reader.on_grant(grant, &story().reader, &mut self.store),
                    other => panic!("an honest broker said {other:?}"),
                };
                match step.expect("memory") {
                    Step::Continue => {}
                    Step::AskBitmap => self.session.ask_bitmap(),
                    Step::Accepted(_) => self.check_view(),
                    Step::Restart(_) => break,
                    Step::Verdict(finding) if finding.verdict == Verdict::Rewound => {
                        self.check_finding(&finding);
                        break;
                    }
                    other => panic!("an honest broker came to {other:?}"),
                }
            }
            if self.reader.cursor().rank == newest {
                return;
            }
        }
        panic!("an honest broker does not bring the reader up to date");
    }
}

fn begin(reader: &mut Reader, store: &mut MemoryReaderStore, broker: &str) -> tidings_proto::frames::Subscribe {
    reader.begin(broker, store).expect("memory")
}

fn value(mutation: &[u8]) -> Bytes {
    Mutation::decode(mutation).expect("what was verified decodes").inline.expect("all values are inline here")
}

fn head(input: &mut Input<'_>) -> Bytes {
    let head = story().line.heads[input.below(story().line.heads.len())].bytes();
    if input.u8().is_multiple_of(4) { input.bend(head).into() } else { head.clone() }
}

fn hash(input: &mut Input<'_>) -> [u8; 32] {
    let hashes = story().line.heads.iter().map(|head| *head.hash().bytes());
    let all: Vec<_> = std::iter::once(*story().descriptor.id().bytes()).chain(hashes).collect();
    all.get(input.below(all.len() + 1)).copied().unwrap_or([input.u8(); 32])
}

fn announce(input: &mut Input<'_>) -> Reply {
    let base = HeadNumber::new(u64::from(input.u8() % 12));
    let (head, leaf) = (head(input), Bytes::copy_from_slice(&hash(input)));
    let proof = (0..input.below(5)).map(|_| hash(input)).collect();
    Reply::Announce(Announce { head, base, leaf, proof })
}

fn chunk(input: &mut Input<'_>) -> Reply {
    let all: Vec<&Bytes> = story().line.publishes.iter().flat_map(|publish| &publish.entries).collect();
    let stamp = story().line.heads[input.below(story().line.heads.len())].rank();
    let first = input.below(all.len());
    let entries = (0..input.below(8)).map(|next| match input.u8() % 8 {
        0 => input.bend(all[first]).into(),
        1 => all[input.below(all.len())].clone(),
        _ => all[(first + next) % all.len()].clone(),
    });
    let entries = entries.collect();
    Reply::Chunk(Chunk { stamp, entries, complete: input.u8().is_multiple_of(2) })
}

fn bitmap(input: &mut Input<'_>) -> Reply {
    let stamp = story().line.heads[input.below(story().line.heads.len())].rank();
    let (after, through) = (Offset::new(u64::from(input.u8() % 32)), Offset::new(u64::from(input.u8() % 32)));
    let bits = u32::from(input.u16()) << 16 | u32::from(input.u16());
    let live: RoaringTreemap = (0..32_u64).filter(|bit| bits >> bit & 1 == 1).collect();
    let live = if input.u8().is_multiple_of(4) { input.bend(&serialized(&live)).into() } else { serialized(&live) };
    Reply::Bitmap(Bitmap { stamp, after, through, live, last: input.u8().is_multiple_of(2) })
}
