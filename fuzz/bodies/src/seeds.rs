//! What a corpus begins with: what a real owner signed, in every form in which it is read.

use bytes::Bytes;
use tidings_core::storage_index::{AccessPart, HistoryRun, LivePart, PartReference, RunReference, Segment, SegmentReference, StorageHead};
use tidings_core::{
    Cursor, Entropy, Frontier, Invitation, Mutation, Object, Operation, ProofPlan, Reader, Verdict, Version, key_file, rescue,
};
use tidings_hostile::Dice;
use tidings_proto::frames::{Hello, Open, Prove, Transfer};
use tidings_proto::{HeadNumber, Offset, Reply, Request, Timestamp, VerifyingKey};

use crate::session::Session;
use crate::story::story;
use crate::{broker, frames, objects};

/// Programs of random steps that reader and broker begin with.
const PROGRAMS: u64 = 24;

/// Longer than any program of a recovery here.
const PROGRAM_BYTES_MAX: usize = 40;

/// Inputs for `objects`: each of `found`, and of what the story's owner made, as every kind that reads it.
pub fn objects(found: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut candidates: Vec<Vec<u8>> = found.to_vec();
    // Vectors of signed objects have the signature behind the object.
    candidates.extend(found.iter().filter_map(|bytes| Some(bytes[..bytes.len().checked_sub(64)?].to_vec())));
    candidates.extend(of_the_story());
    candidates.extend(texts().into_iter().map(String::into_bytes));
    let kinds = objects::KINDS.iter().enumerate();
    let read = kinds.flat_map(|(kind, (name, read))| {
        // Any bytes are a program of a recovery: of all these, only the short ones were written as one.
        let meant = move |bytes: &&Vec<u8>| *name != "recovery" || bytes.len() < PROGRAM_BYTES_MAX;
        candidates.iter().filter(meant).filter(|bytes| read(bytes)).map(move |bytes| [&[kind as u8], bytes.as_slice()].concat())
    });
    let mut seeds: Vec<Vec<u8>> = read.collect();
    seeds.push(floor_twice());
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Inputs for `frames`: every kind of frame, alone and as a stream.
pub fn frames() -> Vec<Vec<u8>> {
    let (requests, replies) = (requests(), replies());
    let as_kind = |name: &str, bytes: &[u8]| {
        let kind = frames::KINDS.iter().position(|(known, _)| *known == name).expect("a kind");
        [&[kind as u8], bytes].concat()
    };
    let mut seeds: Vec<_> = requests.iter().map(|request| as_kind("request", &request.encode())).collect();
    seeds.extend(replies.iter().map(|reply| as_kind("reply", &reply.encode())));
    let small: Vec<u8> = requests.iter().map(Request::encode_prefixed).filter(|frame| frame.len() < 1_000).flatten().collect();
    // Under a cap that all of them keep, and under caps that some are above; in pieces of 8 bytes.
    seeds.extend([0x0fff_u16, 100, 30].map(|max| as_kind("stream", &[&max.to_be_bytes()[..], &[0, 7], &small].concat())));
    seeds
}

/// Inputs for `reader`: an honest broker alone, and programs of random steps.
pub fn reader() -> Vec<Vec<u8>> {
    let honest = [0, 0, 0, 0, 2].repeat(12);
    std::iter::once(honest).chain((0..PROGRAMS).map(|seed| program(seed, 120))).collect()
}

/// Inputs for `rewinds`: programs of random steps, and an honest reader that follows to the branch.
pub fn rewinds() -> Vec<Vec<u8>> {
    let honest = [13, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0].repeat(6);
    std::iter::once(honest).chain((0..PROGRAMS).map(|seed| program(1_000 + seed, 120))).collect()
}

/// Inputs for `broker`: every request as a frame, and programs of random steps.
pub fn broker() -> Vec<Vec<u8>> {
    let kind = |name: &str| broker::KINDS.iter().position(|(known, _)| *known == name).expect("a kind") as u8;
    let mut seeds: Vec<_> = requests().iter().map(|request| [&[kind("frame")], request.encode().as_ref()].concat()).collect();
    seeds.extend((0..PROGRAMS).map(|seed| [&[kind("program")], program(seed, 90).as_slice()].concat()));
    seeds.extend((0..PROGRAMS).map(|seed| [&[kind("branches")], program(2_000 + seed, 90).as_slice()].concat()));
    // A transfer of the whole branch, from zero and from where the lines part, to a broker that holds the other line or nothing.
    for (held, zero) in [(0, 1), (6, 0), (6, 1), (10, 1)] {
        seeds.push(vec![kind("branches"), 0, held, 2, 1, 0, 9, zero, 1, 1, 0, 3, 0, 4]);
    }
    seeds.extend((0..5_u8).map(|which| vec![kind("row"), 0, 4, which, 0, 0, 9, 1, 200]));
    seeds
}

fn program(seed: u64, steps: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..steps).map(|_| dice.roll() as u8).collect()
}

fn of_the_story() -> Vec<Vec<u8>> {
    let story = story();
    let mut all: Vec<Bytes> = story.line.pulses.clone();
    for (publish, head) in story.line.publishes.iter().zip(&story.line.heads) {
        all.extend([publish.head.clone(), head.head().encode().into(), head.cursor().encode().into()]);
        all.extend(publish.entries.iter().chain(&publish.access_put).chain(&publish.attachments).cloned());
    }
    let reader = Reader::join(story.descriptor.clone(), &story.grant, &story.reader).expect("the reader's own grant");
    let start = Cursor::start(&story.descriptor.id());
    all.extend([story.writer.encode(), reader.encode(), start.encode(), story.owner.card().encode()].map(Bytes::from));
    all.push(story.writer.encode_readers().into());
    all.extend([frontier().encode(), storage_head().encode(), inclusion()].map(Bytes::from));
    // Rows as earlier versions wrote them: they end before what later ones added.
    let (writer, reader) = (story.writer.encode(), reader.encode());
    all.push([&[1], &writer[1..writer.len() - 5]].concat().into());
    all.extend([[&[2], &reader[1..reader.len() - 2]].concat(), [&[1], &reader[1..reader.len() - 10]].concat()].map(Bytes::from));
    all.push(rescued().encode().into());
    // Everything of a line in three parts, as it is.
    all.extend([0, 1].map(|line| Bytes::from(vec![line, 0, 7, 0, 2, 0, 3, 0, 2, 0, 1, 0, 2, 0, 4, 0, 3])));
    // An object that nobody changed: its size, and an end that is cut where it is.
    all.push(Bytes::from_static(&[0, 100, 2, 0xff, 0xff]));
    all.into_iter().map(Vec::from).collect()
}

/// A reader's row that once had two encodings: no floor is known, and it is not zero.
fn floor_twice() -> Vec<u8> {
    let story = story();
    let reader = Reader::join(story.descriptor.clone(), &story.grant, &story.reader).expect("the reader's own grant");
    let mut row = reader.encode();
    // Behind the floor: a flag, no ancestor, no pulse, two flags.
    let end = row.len() - (1 + 4 + 4 + 2);
    row[end - 1] = 7;
    let kind = objects::KINDS.iter().position(|(name, _)| *name == "reader").expect("a kind") as u8;
    [&[kind], row.as_slice()].concat()
}

/// A value that lost against another one of its record.
fn rescued() -> Mutation {
    rescue(&Mutation {
        path: "/record/2".parse().expect("a path"),
        operation: Operation::Update,
        version: Version::after(Version::ZERO, Timestamp::new(7), story().owner.version_node()),
        object: None,
        inline: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
        unknown: Vec::new(),
    })
}

fn texts() -> Vec<String> {
    let story = story();
    let invitation = Invitation {
        descriptor: story.descriptor.clone(),
        card: story.owner.card(),
        addresses: vec!["tidings://[::1]:4433".into()],
        grant: story.grant.clone(),
    };
    let key = key_file::seal(&story.owner, None, &mut Entropy::new([1; 32]));
    let pin = "A".repeat(43);
    let mut texts = vec![
        story.owner.did().to_string(),
        story.owner.card().to_string(),
        story.owner.card().fingerprint().to_string(),
        invitation.sign(&story.owner),
        String::from_utf8(key.to_vec()).expect("a key file is text"),
        "/favorites/caf\u{e9}".into(),
        format!("tidings://broker.example:4433?pin={pin}&receipt={pin}"),
        "tidings://[::1]:1".into(),
    ];
    texts.extend([Verdict::Withheld, Verdict::Forked, Verdict::Rewound, Verdict::TooNew].map(|verdict| verdict.word().to_owned()));
    texts
}

fn frontier() -> Frontier {
    let mut frontier = Frontier::start(&story().descriptor.id()).0;
    let (_, before) = story().line.heads.split_last().expect("a head");
    before.iter().for_each(|head| drop(frontier.append(head.hash().bytes())));
    frontier
}

/// Leaf 6 in the history of the newest head, with its proof.
fn inclusion() -> Vec<u8> {
    let leaves = story().line.heads.len() as u64;
    let (mut frontier, mut nodes) = Frontier::start(&story().descriptor.id());
    let (_, before) = story().line.heads.split_last().expect("a head");
    before.iter().for_each(|head| nodes.extend(frontier.append(head.hash().bytes())));
    let plan = ProofPlan::new(6, leaves).expect("a leaf of the tree");
    let row = |node| nodes.iter().find(|(known, _)| known == node).expect("a complete subtree").1;
    let proof = plan.assemble(&plan.nodes().iter().map(row).collect::<Vec<_>>()).expect("a row for each node");
    let numbers = [leaves.to_be_bytes(), 6_u64.to_be_bytes()].concat();
    [numbers, story().line.heads[5].hash().bytes().to_vec(), proof.concat()].concat()
}

fn storage_head() -> StorageHead {
    let story = story();
    let (live, (rows, attachments)) = (story.line.live_entries(), story.line.access());
    let newest = story.line.heads.last().expect("a head");
    let run = HistoryRun(story.line.heads[..story.line.heads.len() - 1].iter().map(|head| *head.hash().bytes()).collect());
    let access = AccessPart::new(rows, attachments).expect("the list of the story");
    let offsets = LivePart(live.keys().map(|offset| offset.value()).collect());
    let segment = Segment { entries: live.into_iter().collect() };
    let segments = vec![SegmentReference {
        first: Offset::new(1),
        last: newest.head().offset,
        count: segment.entries.len() as u32,
        part: PartReference::of::<Segment>(&segment.encode()),
    }];
    let history = RunReference {
        first: HeadNumber::new(1),
        last: HeadNumber::new(run.0.len() as u64),
        part: PartReference::of::<HistoryRun>(&run.encode()),
    };
    StorageHead {
        head: newest.clone(),
        pulse: story.line.pulses.last().expect("a pulse").clone(),
        live: PartReference::of::<LivePart>(&offsets.encode()),
        segments,
        history: vec![history],
        access: PartReference::of::<AccessPart>(&access.encode()),
    }
}

fn requests() -> Vec<Request> {
    let story = story();
    let mut reader = Reader::join(story.descriptor.clone(), &story.grant, &story.reader).expect("the reader's own grant");
    let subscribe = reader.begin("broker", &mut tidings_core::reader::MemoryReaderStore::default()).expect("memory");
    let mut requests = vec![
        Request::Hello(Hello { software: "tidings 1".into() }),
        Request::Prove(Prove { key: VerifyingKey::new([1; 32]), signature: [2; 64] }),
        Request::Open(Open { descriptor: story.descriptor.encode().into() }),
        Request::AskReaders,
        Request::Subscribe(subscribe),
        Request::AskBitmap,
        Request::Acknowledge(reader.acknowledgement()),
        Request::Pulse(story.line.pulses[3].clone()),
        Request::Transfer(story.line.transfer(5)),
        Request::Transfer(Transfer { attachments: Vec::new(), ..story.line.transfer(0) }),
        Request::Recover,
        Request::Transfer(story.branch.whole(7)),
    ];
    requests.extend(story.line.publishes.iter().take(7).cloned().map(Request::Publish));
    requests
}

fn replies() -> Vec<Reply> {
    let story = story();
    let mut reader = Reader::join(story.descriptor.clone(), &story.grant, &story.reader).expect("the reader's own grant");
    let subscribe = reader.begin("broker", &mut tidings_core::reader::MemoryReaderStore::default()).expect("memory");
    let mut session = Session::open(&subscribe, 4);
    let mut replies: Vec<Reply> = std::iter::from_fn(|| session.next()).collect();
    session.ask_bitmap();
    session.commit();
    replies.extend(std::iter::from_fn(|| session.next()));
    replies.push(Reply::Standing(story.line.heads[0].bytes().clone()));
    replies.push(Reply::Pulse(story.line.pulses[0].clone()));
    replies.push(Reply::Proven(VerifyingKey::new([1; 32])));
    replies.push(Reply::Acknowledged(story.line.heads[2].rank()));
    replies.push(Reply::Part(story.branch.whole(3)));
    replies.push(Reply::Part(Transfer { history: vec![[4; 32]; 3], ..Transfer::default() }));
    replies
}
