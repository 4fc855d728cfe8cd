//! The published vectors of what owners and readers keep and show: durable rows of a `Writer` and a `Reader`, and evidence.
//!
//! `TIDINGS_BLESS=1 cargo test -p tidings-core --test vectors_state` rewrites the files. A changed file is a changed format: what
//! a node of today wrote would no longer open.

#[allow(unreachable_pub, reason = "shared by test binaries of two packages")]
mod paper;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod vector_file;

use paper::{Owner, PaperBroker, Session, path};
use tidings_core::key::NodeKey;
use tidings_core::pulse::Pulse;
use tidings_core::reader::{Evidence, MemoryReaderStore, PulseTaken};
use tidings_core::{NewTerm, Object, Reader, Step, Verdict, Writer};
use tidings_proto::frames::Reply;
use tidings_proto::{Birth, EntryDigest, Epoch, HeadNumber, HeadRank, Offset, Term, Timestamp};
use vector_file::VectorFile;

const SETUP: &str = "The owner's node key has the seed of one byte 02 and 31 bytes 4d; the reader's of 32 bytes 09. The owner signed
its first head, granted the reader, and wrote /record/1 and /record/2. Secrets are in here: these rows stay on their node.";

fn owner() -> Owner {
    Owner::new(2)
}

/// An owner with two records, and a reader that verified both.
fn pair() -> (Owner, Reader) {
    let mut owner = owner();
    let key = NodeKey::from_seed([9; 32]);
    let grant = owner.grant(&key);
    let mut reader = Reader::join(owner.writer.descriptor().clone(), &grant, &key).expect("a grant of this reader");
    owner.publish(&[(path(1), Some("one".into())), (path(2), Some("two".into()))], None);
    let mut broker = PaperBroker::default();
    broker.receive(&owner.log, 99);
    let mut store = MemoryReaderStore::default();
    let subscribe = reader.begin("broker", &mut store).expect("memory does not fail");
    for reply in Session::new(&subscribe).next(&broker, 9) {
        let step = match &reply {
            Reply::Announce(announce) => reader.on_announce(announce, &mut store),
            Reply::Chunk(chunk) => reader.on_chunk(chunk, &mut store),
            other => panic!("no frame for this reader: {other:?}"),
        };
        assert!(matches!(step, Ok(Step::Continue | Step::Accepted(_))));
    }
    (owner, reader)
}

/// [P-3] What an owner decides by is one durable row.
#[test]
fn the_writers_row_is_as_published_and_opens() {
    let (mut owner, _) = pair();
    owner.open_term(Term::new(40), NewTerm::on_found_head(Epoch::new(50)));
    let row = owner.writer.encode();
    let mut file = VectorFile::new("Durable row of a writer");
    file.note(SETUP);
    file.note("Then it opened a new term with new keys. A row of version 1 (writer.txt) ends before the last 13 bytes.");
    file.value("writer", &row);
    file.check("writer-2.txt");
    assert_eq!(Writer::decode(&row).expect("an own row").encode(), row);
}

/// [P-20] What a build wrote before there were new terms opens, and is written as a row of today.
#[test]
fn a_writers_row_of_version_1_opens() {
    let (owner, _) = pair();
    let row = owner.writer.encode();
    let going = [0; 5]; // no new term, no keys that are due
    let fields = row.strip_prefix(&[2]).and_then(|row| row.strip_suffix(&going)).expect("a row of version 2");
    let first = [&[1], fields].concat();
    let mut file = VectorFile::new("Durable row of a writer");
    file.note(SETUP);
    file.value("writer", &first);
    file.check("writer.txt");
    let writer = Writer::decode(&first).expect("an old row");
    assert_eq!((writer.encode(), writer.term_is_open(), writer.keys_are_due()), (row, false, false));
}

/// [P-15] [P-16] What a reader decides by is one durable row.
#[test]
fn the_readers_row_is_as_published_and_opens() {
    let (owner, mut reader) = pair();
    let head = owner.writer.head().expect("signed");
    let (time, next) = (Timestamp::new(2_000), Timestamp::new(182_000));
    let pulse = Pulse { queue: reader.queue(), rank: head.rank(), head: head.hash(), time, next };
    assert_eq!(reader.on_pulse(&pulse.sign(&owner.key), time), PulseTaken::Heard);
    let row = reader.encode();
    let mut file = VectorFile::new("Durable row of a reader");
    file.note(SETUP);
    file.note("Then it took a pulse. A row of version 2 (reader-2.txt) ends before the last two flags, of a rewind and of damage; a row of\nversion 1 (reader.txt) before the ancestor's head and the pulse.");
    file.value("reader", &row);
    file.check("reader-3.txt");
    assert_eq!(Reader::decode(&row).expect("an own row").encode(), row);
    let second = [&[2], row.strip_prefix(&[3]).and_then(|row| row.strip_suffix(&[0; 2])).expect("a row of version 3")].concat();
    a_row_of_version_2_opens(&second, &row);
}

/// [P-20] What a build wrote before a reader followed a rewind opens, and is written as a row of today.
fn a_row_of_version_2_opens(second: &[u8], row: &[u8]) {
    let mut file = VectorFile::new("Durable row of a reader");
    file.note(SETUP);
    file.note("Then it took a pulse. A row of version 1 (reader.txt) ends before the ancestor's head and the pulse.");
    file.value("reader", second);
    file.check("reader-2.txt");
    assert_eq!(Reader::decode(second).expect("an old row").encode(), row);
}

/// [P-14]
#[test]
fn what_a_row_says_of_a_rewind_and_of_damage_is_read_back_and_nothing_else_is_taken_for_it() {
    let (_, mut reader) = pair();
    let mut store = MemoryReaderStore::default();
    let _ = reader.rebuild(&mut store).expect("memory does not fail");
    let row = reader.encode();
    assert_eq!(row[row.len() - 2..], [0, 1]);
    for (flags, opens) in [([1, 0], true), ([1, 1], true), ([2, 0], false), ([0, 2], false)] {
        let bent = [&row[..row.len() - 2], &flags].concat();
        assert_eq!(Reader::decode(&bent).is_ok_and(|reader| reader.encode() == bent), opens, "{flags:?}");
    }
}

/// [P-20] What a build wrote before there were pulses opens, and is written as a row of today.
#[test]
fn a_readers_row_of_version_1_opens() {
    let (_, reader) = pair();
    let row = reader.encode();
    let absent = [0; 10]; // no ancestor, no pulse, no rewind, no damage
    let fields = row.strip_prefix(&[3]).and_then(|row| row.strip_suffix(&absent)).expect("a row of version 3");
    let first = [&[1], fields].concat();
    let mut file = VectorFile::new("Durable row of a reader");
    file.note(SETUP);
    file.value("reader", &first);
    file.check("reader.txt");
    assert_eq!(Reader::decode(&first).expect("an old row").encode(), row);
}

/// [P-14] Evidence is a file that others can read.
#[test]
fn evidence_is_as_published_and_opens() {
    let owner = owner();
    let head = owner.writer.head().expect("signed at creation").bytes().clone();
    let evidence = Evidence {
        verdict: Verdict::Withheld,
        broker: "tidings://broker.example:4433".into(),
        as_of: Timestamp::new(1_000),
        detail: "the entries do not make the set that the owner signed".into(),
        descriptor: owner.writer.descriptor().clone(),
        verified: head.clone(),
        announced: vec![head],
        leaf: Some(([1; 32], vec![[2; 32], [3; 32]])),
        staged: vec![(Offset::new(7), Birth::new(3), EntryDigest::new([4; 32]))],
        stamp: HeadRank { term: Term::new(1), number: HeadNumber::new(9) },
    };
    let bytes = evidence.encode();
    let mut file = VectorFile::new("Evidence behind a verdict");
    file.note("Fields in order: verdict, broker, as_of, detail, descriptor, verified head, announced heads (the first and the last),\nleaf with proof (at most one), staged entries (offset, birth, digest), highest rank seen.");
    file.value("evidence", &bytes);
    file.check("evidence.txt");
    assert_eq!(Evidence::decode(&bytes).expect("own bytes"), evidence);
}

/// [P-19] A damaged row is refused and is never a panic.
#[test]
fn rows_that_are_cut_short_do_not_decode() {
    let (owner, reader) = pair();
    for row in [owner.writer.encode(), reader.encode()] {
        for length in 0..row.len() {
            assert!(Writer::decode(&row[..length]).is_err() && Reader::decode(&row[..length]).is_err(), "{length} bytes");
        }
    }
}
