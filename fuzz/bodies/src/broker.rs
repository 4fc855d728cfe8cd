//! What a broker takes of an owner that signs anything, and of a reader that asks for anything. [P-7] [P-17] [P-19]
//!
//! Whatever came: what was refused changed nothing, and what stands is what its signed head says.

use bytes::Bytes;
use tidings_broker::commit::{CommitQueue, CommitSettings, Work};
use tidings_broker::engine::{LastPart, Next, Overlay, QueueState, Subscription, TransferCheck, check, check_acknowledgement, check_pulse};
use tidings_broker::store::{MemoryStore, QueueRow, ScanLimit, Store};
use tidings_core::{AccessRow, Acknowledgement, Cursor, Entry, Head, Object, SetHash, SetKind, SignedHead};
use tidings_proto::frames::{Publish, Subscribe, Transfer};
use tidings_proto::{HeadNumber, Offset, Pseudonym, Refusal, Reply, Request, Timestamp};

use crate::Run;
use crate::input::{Input, bend_one};
use crate::story::{Line, story};

const NOW: Timestamp = Timestamp::new(77);
const ALL: ScanLimit = ScanLimit { entries: usize::MAX, bytes: usize::MAX };
/// Steps of one program.
const STEPS_MAX: usize = 40;
/// What one subscription does before it waits, at most: this queue is small.
const SUBSCRIPTION_STEPS_MAX: usize = 200;

/// What the first byte of an input chooses.
pub const KINDS: [(&str, Run); 5] = [("program", program), ("frame", frame), ("row", row), ("again", program), ("branches", branches)];

/// Gives the input to the engine as what its first byte chooses.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    KINDS[usize::from(*kind) % KINDS.len()].1(bytes);
}

/// A frame as it came from a stream.
fn frame(bytes: &[u8]) {
    let mut world = World::new(5);
    match Request::decode(Bytes::copy_from_slice(bytes)) {
        Ok(Request::Publish(publish)) => world.publish(publish),
        Ok(Request::Transfer(transfer)) => world.transfer(&[transfer]),
        Ok(Request::Subscribe(subscribe)) => world.subscribe(&subscribe, 1),
        Ok(Request::Acknowledge(bytes)) => world.acknowledge(bytes),
        Ok(Request::Pulse(bytes)) => drop(check_pulse(&story().descriptor, &bytes)),
        _ => {}
    }
}

/// What a store gives back after something else wrote to its disk.
fn row(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let world = World::new(1 + input.below(story().line.publishes.len()));
    let mut row = world.row().expect("it stands");
    match input.u8() % 5 {
        0 => row.head = input.bend(&row.head).into(),
        1 => row.frontier = input.bend(&row.frontier).into(),
        2 => row.live[input.below(2048)] ^= 1 << (input.u8() % 8),
        3 => row.access[input.below(2048)] ^= 1 << (input.u8() % 8),
        _ => row.descriptor = input.bend(&row.descriptor).into(),
    }
    if let Ok(state) = QueueState::load(story().descriptor.id(), Some(row.clone())) {
        assert_eq!(state.head().map(|head| head.bytes()), Some(&row.head));
    }
}

fn program(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(input.below(story().line.publishes.len() + 1));
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            return;
        }
        world.step(&mut input);
    }
}

/// The owner went on from an earlier head, in a higher term: transfers from zero and publishes of both lines, in any order. [P-10]
fn branches(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(input.below(story().line.publishes.len() + 1));
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            return;
        }
        match input.u8() % 4 {
            0 => world.step(&mut input),
            1 => {
                let publish = input.below(story().branch.publishes.len());
                world.publish(story().branch.publishes[publish].clone());
            }
            _ => world.transfer(&from_zero(&mut input)),
        }
    }
}

/// A broker that holds some of the story.
struct World {
    store: MemoryStore,
    commits: CommitQueue,
}

impl World {
    fn new(taken: usize) -> Self {
        let mut world = Self { store: MemoryStore::new(), commits: CommitQueue::new(CommitSettings::default()) };
        for publish in story().line.publishes.iter().take(taken) {
            let checked = check(&story().descriptor, publish.clone()).expect("a valid publish");
            world.commits.commit_group(&world.store, NOW, vec![checked]).remove(0).expect("the next publish");
        }
        world
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0 => self.publish(next(input)),
            1 | 2 => self.publish(altered(input)),
            3 => self.publish(signed_anew(input)),
            4 | 5 => self.transfer(&self.parts(input)),
            6 => {
                let subscribe = subscribe(input);
                self.subscribe(&subscribe, input.u8());
            }
            _ => self.acknowledge_and_pulse(input),
        }
    }

    fn row(&self) -> Option<QueueRow> {
        self.store.queue(&story().descriptor.id()).expect("memory")
    }

    fn publish(&mut self, publish: Publish) {
        let before = self.row();
        let answer =
            check(&story().descriptor, publish).and_then(|checked| self.commits.commit_group(&self.store, NOW, vec![checked]).remove(0));
        self.settled(answer.map(drop), before);
    }

    fn transfer(&mut self, parts: &[Transfer]) {
        let before = self.row();
        let answer = self.adopted(parts);
        self.settled(answer, before);
    }

    /// As a server does it.
    fn adopted(&mut self, parts: &[Transfer]) -> Result<(), Refusal> {
        let Some(last) = parts.last().cloned() else { return Ok(()) };
        let mut check = TransferCheck::open(story().descriptor.clone(), &self.store, 0)?;
        for part in parts {
            for staged in check.take(part)? {
                self.store.stage(&staged).expect("memory");
            }
        }
        let last = LastPart::check(&story().descriptor, last.head, last.rows)?;
        let found = Overlay::default().find(&self.store, &check.queue(), &check.lookups()).expect("memory");
        let adoption = check.finish(last, &found)?;
        self.commits.commit_group(&self.store, NOW, vec![Work::from(adoption)]).remove(0).map(drop)
    }

    /// A transfer from where the broker stands, or from elsewhere; whole, halved or altered.
    fn parts(&self, input: &mut Input<'_>) -> Vec<Transfer> {
        let stands = self.row().and_then(|row| SignedHead::parse(row.head).ok()).map_or(0, |head| head.rank().number.value() as usize);
        let from = if input.u8().is_multiple_of(4) { input.below(story().line.heads.len()) } else { stands.min(story().line.heads.len()) };
        let mut whole = story().line.transfer(from);
        alter(&mut whole, input);
        if input.u8().is_multiple_of(2) {
            return vec![whole];
        }
        let at = input.below(whole.entries.len() + 1);
        let empty = Transfer { head: Bytes::new(), rows: Vec::new(), live: Bytes::new(), entries: Vec::new(), ..whole.clone() };
        let first = Transfer { entries: whole.entries[..at].to_vec(), live: whole.live.clone(), ..empty };
        let second = Transfer { entries: whole.entries[at..].to_vec(), history: Vec::new(), attachments: Vec::new(), ..whole };
        vec![first, Transfer { after: second.through, live: Bytes::new(), ..second }]
    }

    /// Who has no row hears nothing but a refusal. [P-17]
    fn subscribe(&mut self, subscribe: &Subscribe, bitmap_at: u8) {
        let Ok(mut subscription) = Subscription::open(subscribe) else { return };
        let has_row = self.store.access(&subscribe.queue, &subscribe.reader).expect("memory").is_some();
        for step in 0..SUBSCRIPTION_STEPS_MAX {
            if step == usize::from(bitmap_at) {
                subscription.on_ask_bitmap();
            }
            match subscription.next() {
                Next::Send(reply) => assert!(has_row || matches!(reply, Reply::Refused(_)), "a stranger was told {reply:?}"),
                Next::Read(read) => subscription.on_answer(read.perform(&self.store).expect("memory")),
                Next::Wait(_) | Next::End => return,
            }
        }
        panic!("a subscription of a small queue never waits");
    }

    fn acknowledge(&mut self, bytes: Bytes) {
        let queue = story().descriptor.id();
        let reader = Acknowledgement::verify(&bytes).map_or(Pseudonym::ZERO, |acknowledgement| acknowledgement.reader);
        if let Ok(acked) = check_acknowledgement(&queue, &reader, bytes) {
            self.store.acknowledge(&[acked]).expect("memory");
        }
    }

    fn acknowledge_and_pulse(&mut self, input: &mut Input<'_>) {
        let pulse = &story().line.pulses[input.below(story().line.pulses.len())];
        let bent = input.bend(pulse);
        assert_eq!(check_pulse(&story().descriptor, &bent.clone().into()).is_ok(), bent == *pulse);
        let key = tidings_core::PseudonymKey::from_seed(&[input.u8(); 32]);
        let cursor = Cursor { rank: head(input).rank(), ..head(input).cursor() };
        let signed = Acknowledgement { queue: story().descriptor.id(), reader: key.pseudonym(), cursor }.sign(&key);
        self.acknowledge(signed.clone());
        self.acknowledge(input.bend(&signed).into());
    }

    /// What was refused changed nothing; what stands is what its head signs.
    fn settled(&self, answer: Result<(), Refusal>, before: Option<QueueRow>) {
        match answer {
            Ok(()) => self.check_standing(),
            Err(_) => assert_eq!(self.row(), before),
        }
    }

    fn check_standing(&self) {
        let queue = story().descriptor.id();
        let head = SignedHead::parse(self.row().expect("it stands").head).expect("a head");
        assert!(head.verify(&story().descriptor.signing_key).is_ok());
        let scan = self.store.scan(&queue, Offset::ZERO, ALL).expect("memory").expect("it stands");
        let (mut live, mut access) = (SetHash::new(SetKind::Live), SetHash::new(SetKind::Access));
        scan.entries.iter().for_each(|(_, bytes)| live.add(Entry::digest_of(bytes, &queue).bytes()));
        assert_eq!((scan.entries.len() as u64, live.root()), (head.head().live_count, head.head().live_root));
        let rows = self.store.access_list(&queue).expect("memory");
        rows.iter().for_each(|(_, row)| access.add(row));
        assert_eq!((rows.len() as u32, access.root()), (head.head().access_count, head.head().access_root));
        for (_, row) in rows {
            let row = AccessRow::decode(&row).expect("a stored row");
            let held = [row.grant, row.owner_copy].map(|hash| self.store.attachment(&queue, &hash).expect("memory").is_some());
            assert_eq!(held, [true, true], "a reader without its keys");
        }
    }
}

fn alter(whole: &mut Transfer, input: &mut Input<'_>) {
    match input.u8() % 8 {
        0 => whole.live = input.bend(&whole.live).into(),
        1 => bend_one(&mut whole.entries, input),
        2 => bend_one(&mut whole.rows, input),
        3 => bend_one(&mut whole.attachments, input),
        4 => whole.through = Offset::new(u64::from(input.u8())),
        5 => drop(whole.history.pop()),
        6 => whole.head = resigned(&whole.head, input),
        _ => {}
    }
}

/// A transfer of one of the lines: from zero, or from where they part; whole or in two parts, and perhaps altered.
fn from_zero(input: &mut Input<'_>) -> Vec<Transfer> {
    let line: &Line = if input.u8().is_multiple_of(4) { &story().line } else { &story().branch };
    let taken = 1 + input.below(line.publishes.len());
    let mut whole = if input.u8().is_multiple_of(4) { line.transfer(taken) } else { line.whole(taken) };
    if input.u8().is_multiple_of(2) {
        alter(&mut whole, input);
    }
    if input.u8().is_multiple_of(2) {
        return vec![whole];
    }
    let (hashes, entries) = (input.below(whole.history.len() + 1), input.below(whole.entries.len() + 1));
    let first = Transfer {
        history: whole.history.drain(..hashes).collect(),
        entries: whole.entries.drain(..entries).collect(),
        attachments: std::mem::take(&mut whole.attachments),
        ..Transfer::default()
    };
    vec![first, whole]
}

fn next(input: &mut Input<'_>) -> Publish {
    story().line.publishes[input.below(story().line.publishes.len())].clone()
}

fn head(input: &mut Input<'_>) -> &'static SignedHead {
    &story().line.heads[input.below(story().line.heads.len())]
}

/// One part of an honest publish is another one.
fn altered(input: &mut Input<'_>) -> Publish {
    let mut publish = next(input);
    match input.u8() % 7 {
        0 => publish.head = input.bend(&publish.head).into(),
        1 => bend_one(&mut publish.entries, input),
        2 => bend_one(&mut publish.access_put, input),
        3 => bend_one(&mut publish.attachments, input),
        4 => publish.purged.push(Offset::new(u64::from(input.u16()))),
        5 => publish.access_removed.push(Pseudonym::new([input.u8(); 32])),
        _ => publish.entries = next(input).entries,
    }
    publish
}

/// The owner itself signs another head, and perhaps other rows.
fn signed_anew(input: &mut Input<'_>) -> Publish {
    let mut publish = if input.u8().is_multiple_of(2) { next(input) } else { altered(input) };
    publish.head = resigned(&publish.head, input);
    publish
}

fn resigned(head: &Bytes, input: &mut Input<'_>) -> Bytes {
    let Ok(signed) = SignedHead::parse(head.clone()) else { return head.clone() };
    match Head::decode(&input.bend(&signed.head().encode())) {
        Ok(bent) => bent.sign(&story().owner).bytes().clone(),
        Err(_) => head.clone(),
    }
}

fn subscribe(input: &mut Input<'_>) -> Subscribe {
    let rows = story().line.access().0;
    let known = rows.get(input.below(rows.len() + 1)).and_then(|row| AccessRow::decode(row).ok()).map(|row| row.pseudonym);
    Subscribe {
        queue: story().descriptor.id(),
        reader: known.unwrap_or(Pseudonym::new([input.u8(); 32])),
        cursor: HeadNumber::new(if input.u8().is_multiple_of(4) { u64::MAX - u64::from(input.u8()) } else { u64::from(input.u8() % 12) }),
        position: Offset::new(if input.u8().is_multiple_of(4) { u64::MAX - u64::from(input.u8()) } else { u64::from(input.u8() % 24) }),
        grant: Bytes::copy_from_slice(input.piece()),
    }
}
