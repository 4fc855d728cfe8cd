//! Rows of the state that something else wrote: each is refused, or it is the only encoding of what came out. What sealed rows are and what
//! signed is read by forms of `fuzz/bodies`; these decoders are private to this crate.

use bytes::Bytes;
use tidings_core::reader::{Change, ChangeKind, HeldKind, HeldRow, StagedRow, Verdict};
use tidings_core::writer::OwnRecord;
use tidings_core::{Cursor, Mutation, Object, Operation, RecordPath, Version};
use tidings_hostile::{Meal, alone, feed};
use tidings_proto::{Birth, EntryDigest, Epoch, HeadHash, HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Term, Timestamp, VerifyingKey};

use super::*;

const BIRTH: Birth = Birth::new(5);

fn path(text: &str) -> RecordPath {
    text.parse().expect("a path")
}

fn rank(term: u64, number: u64) -> HeadRank {
    HeadRank { term: Term::new(term), number: HeadNumber::new(number) }
}

fn cursor(number: u64) -> Cursor {
    Cursor { rank: rank(2, number), offset: Offset::new(9), head: HeadHash::new([4; 32]) }
}

fn mutation(inline: Option<&'static [u8]>) -> Mutation {
    let version = Version { clock: 7, node: [8; 16] };
    let operation = if inline.is_some() { Operation::Update } else { Operation::Delete };
    let headers = inline.map(|_| vec![("name".into(), Bytes::from_static(b"header"))]).unwrap_or_default();
    let unknown = vec![(900, Bytes::from_static(b"later"))];
    Mutation { path: path("/a/b"), operation, version, object: None, inline: inline.map(Bytes::from_static), headers, unknown }
}

#[test]
fn rows_of_records_have_one_encoding_each() {
    alone(concat!(module_path!(), "::rows_of_records_have_one_encoding_each"), || {
        let record = |tombstone| OwnRecord {
            path: path("/a/b"),
            birth: BIRTH,
            offset: Offset::new(6),
            digest: EntryDigest::new([2; 32]),
            epoch: Epoch::new(3),
            version: Version { clock: 7, node: [8; 16] },
            tombstone,
            signed_at: Timestamp::new(11),
        };
        let own =
            [(false, Some(&b"value"[..])), (true, None)].map(|(tombstone, value)| rows::encode_own(&record(tombstone), &mutation(value)));
        feed("own record", Meal::LARGE, &own, |bytes| {
            let (record, value) = rows::decode_own(path("/a/b"), bytes).ok()?;
            Some(rows::encode_own(&record, &Mutation::decode(value).ok()?))
        });
        let entries = [rows::encode_entry("/a/b", b"sealed"), rows::encode_entry("/a", b"")];
        feed("own entry", Meal::LARGE, &entries, |bytes| {
            let (path, sealed) = (rows::entry_path(bytes).ok(), rows::entry_sealed(bytes).ok());
            assert!(sealed.is_some() || path.is_none());
            let parsed = path.and_then(|path| rows::path(path).ok())?;
            Some(rows::encode_entry(parsed.as_str(), sealed?))
        });
        let loss = LossRow { broker: VerifyingKey::new([3; 32]), time: Timestamp::new(4), receipted: rank(5, 6), standing: rank(7, 8) };
        feed("loss", Meal::LARGE, &[rows::encode_loss(&loss)], |bytes| Some(rows::encode_loss(&rows::decode_loss(bytes).ok()?)));
        let heads = [[4; 32].to_vec(), cursor(7).encode(), Cursor::start(&QueueId::new([1; 32])).encode()];
        feed("own head", Meal::LARGE, &heads, |bytes| {
            let (cursor, hash) = (branches::head_cursor(bytes).ok(), branches::head_hash(bytes).ok());
            assert_eq!(cursor.is_some(), hash.is_some());
            match cursor? {
                Some(cursor) => Some(cursor.encode()).filter(|_| Some(cursor.head) == hash),
                None => hash.map(|hash| hash.bytes().to_vec()),
            }
        });
    });
}

#[test]
fn rows_of_follows_have_one_encoding_each() {
    alone(concat!(module_path!(), "::rows_of_follows_have_one_encoding_each"), || {
        let held = |kind, path: Option<RecordPath>, bytes: &'static [u8]| HeldRow {
            birth: BIRTH,
            offset: Offset::new(6),
            term: Term::new(2),
            digest: EntryDigest::new([2; 32]),
            kind,
            path,
            bytes: Bytes::from_static(bytes),
        };
        let kinds = [
            held(HeldKind::Value, Some(path("/a/b")), b"value"),
            held(HeldKind::Tombstone, Some(path("/a")), b""),
            held(HeldKind::Quarantined, None, b"entry"),
        ];
        let read_held = |bytes: &[u8]| Some(rows::encode_held(&rows::decode_held(BIRTH, bytes).ok()?));
        feed("held", Meal::LARGE, &kinds.map(|row| rows::encode_held(&row)), read_held);
        let staged = |entry| StagedRow { birth: BIRTH, offset: Offset::new(6), digest: EntryDigest::new([2; 32]), entry };
        let staged = [&b"entry"[..], b""].map(|entry| rows::encode_staged(&staged(Bytes::from_static(entry))));
        feed("staged", Meal::LARGE, &staged, |bytes| Some(rows::encode_staged(&rows::decode_staged(BIRTH, bytes).ok()?)));
        let pending = |kind, exists: Option<bool>, mutation| PendingRow {
            change: Change { path: path("/a/b"), kind, term: Term::new(2), offset: Offset::new(6), mutation: Bytes::from_static(mutation) },
            handed: exists.map(|exists| HandedOut { term: Term::new(1), offset: Offset::new(4), exists }),
        };
        let pending = [
            pending(ChangeKind::Create, None, b"mutation"),
            pending(ChangeKind::Update, Some(true), b"mutation"),
            pending(ChangeKind::Delete, Some(false), b""),
        ];
        feed("pending", Meal::LARGE, &pending.map(|row| rows::encode_pending(&row)), |bytes| {
            Some(rows::encode_pending(&rows::decode_pending(path("/a/b"), bytes).ok()?))
        });
        feed("about", Meal::LARGE, &abouts().map(|about| about.encode()), |bytes| Some(About::decode(bytes).ok()?.encode()));
        let rewound = |gone: &[&str], gone_count| {
            let gone = gone.iter().copied().map(path).collect();
            Rewound { from: cursor(6), to: cursor(8), gone, gone_count }.encode()
        };
        let rewinds = [rewound(&[], 0), rewound(&["/a", "/b"], 2), rewound(&["/a"], 20_000)];
        feed("rewound", Meal::LARGE, &rewinds, |bytes| Some(Rewound::decode(bytes).ok()?.encode()));
    });
}

fn abouts() -> [About; 2] {
    let bare = About {
        owner: VerifyingKey::new([3; 32]),
        name: String::new(),
        addresses: Vec::new(),
        verdict: Verdict::Offline,
        detail: String::new(),
        evidence: String::new(),
        acknowledged: None,
    };
    let full = About {
        name: "caf\u{e9}".into(),
        addresses: vec!["tidings://[::1]:1".into(), "file:///a".into()],
        verdict: Verdict::Forked,
        detail: "two histories".into(),
        evidence: "/evidence".into(),
        acknowledged: Some(cursor(7)),
        ..bare.clone()
    };
    [bare, full]
}

#[test]
fn notes_of_merges_have_one_encoding_each() {
    alone(concat!(module_path!(), "::notes_of_merges_have_one_encoding_each"), || {
        let merge = MergeRow {
            time: Timestamp::new(1),
            source: "tidings://[::1]:1".into(),
            fork: HeadNumber::new(2),
            base: rank(3, 4),
            tail: rank(5, 6),
            published: 7,
            rescued: 8,
            deleted: 9,
            doubtful: 10,
            doubtful_paths: vec!["/a".parse().expect("a path"), "/b".parse().expect("a path")],
            removed: vec![MergedReader { name: "caf\u{e9}".into(), did: "did:key:z".into() }],
            unknown: Vec::new(),
        };
        let reader = || MergedReader { name: String::new(), did: String::new() };
        let other = MergeRow { source: String::new(), removed: Vec::new(), unknown: vec![reader(), reader()], ..merge.clone() };
        let long = MergeRow { source: "\u{1f4e8}".repeat(2_000), ..other.clone() };
        let notes = [merge, other, long].map(|merge| branches::encode_merge(&merge));
        let read = |bytes: &[u8]| Some(branches::encode_merge(&branches::decode_merge(bytes).ok()?));
        feed("merge", Meal::LARGE, &notes, read);
        // A source of letters may be longer in a row than in any that is written: it was read and written back cut.
        let (time, rest) = (&notes[1][..8], &notes[1][12..]);
        assert_eq!(read(&[time, &257_u32.to_be_bytes(), &[b'a'; 257], rest].concat()), None);
        assert!(read(&[time, &256_u32.to_be_bytes(), &[b'a'; 256], rest].concat()).is_some());
    });
}

/// Looks at a setting that something else wrote.
fn feed_setting<T>(name: &str, honest: &[Vec<u8>], look: impl Fn(&OwnView<'_>) -> Result<T, StateError>, write: impl Fn(T) -> Vec<u8>) {
    let state = State::in_memory().expect("a state");
    feed(name, Meal::SMALL, honest, |bytes| {
        let put = |transaction: &WriteTransaction| -> Result<((), Keep), StateError> {
            transaction.open_table(tables::SETTINGS)?.insert(name, bytes)?;
            Ok(((), Keep::UntilCrash))
        };
        state.write_with(put).expect("written");
        match state.read(|transaction| look(&OwnView(transaction))) {
            Ok(read) => Some(write(read)),
            Err(StateError::Damaged(_)) => None,
            Err(other) => panic!("{other}"),
        }
    });
}

#[test]
fn settings_have_one_encoding_each() {
    let numbers = [0, 7, u64::MAX].map(|number: u64| number.to_be_bytes().to_vec());
    feed_setting("version-clock", &numbers, |view| view.clock(), |clock| clock.to_be_bytes().to_vec());
    feed_setting("rebuilt-at", &numbers, |view| view.rebuilt(), |number| number.value().to_be_bytes().to_vec());
    let removals = [vec![1; 32], [[1; 32], [2; 32]].concat(), Vec::new()];
    let keys = |readers: Option<Vec<Pseudonym>>| readers.expect("there").iter().flat_map(|reader| *reader.bytes()).collect();
    feed_setting("merge-removals", &removals, |view| view.removals(), keys);
}

/// [P-20]
#[test]
fn only_formats_that_were_are_opened() {
    for format in (0..=3 * FORMAT).chain([u32::MAX - 1, u32::MAX]) {
        let state = State::in_memory().expect("a state");
        let put = |transaction: &WriteTransaction| -> Result<(), StateError> {
            transaction.open_table(tables::FORMATS)?.insert((), format)?;
            Ok(())
        };
        state.write(put).expect("written");
        match (format, state.check_format()) {
            (1..=FORMAT, Ok(())) | (0, Err(StateError::Damaged(_))) => {}
            (_, Err(StateError::TooNew { found })) if found == format && found > FORMAT => {}
            (_, checked) => panic!("{format}: {checked:?}"),
        }
    }
}
