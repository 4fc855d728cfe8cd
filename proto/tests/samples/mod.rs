//! One frame of each kind, with every field set.

use bytes::Bytes;
use tidings_proto::frames::{Announce, Bitmap, Chunk, Hello, Limits, Open, Prove, Publish, Readers, Subscribe, Transfer, Welcome};
use tidings_proto::{HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Refusal, RefusalCode, Reply, Request, Term, VerifyingKey};

/// A rank with two different numbers.
pub(crate) fn rank() -> HeadRank {
    HeadRank { term: Term::new(1), number: HeadNumber::new(300) }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Every request, named.
pub(crate) fn requests() -> Vec<(&'static str, Request)> {
    let publish = Publish {
        head: bytes("head"),
        entries: vec![bytes("one"), bytes("two")],
        purged: vec![Offset::new(3), Offset::new(1 << 40)],
        access_put: vec![bytes("row")],
        access_removed: vec![Pseudonym::new([5; 32])],
        attachments: vec![bytes("grant")],
    };
    let subscribe = Subscribe {
        queue: QueueId::new([1; 32]),
        reader: Pseudonym::new([2; 32]),
        cursor: HeadNumber::new(7),
        position: Offset::new(200),
        grant: Bytes::from_static(&[3; 32]),
    };
    let transfer = Transfer {
        history: vec![[7; 32]],
        after: Offset::new(1),
        through: Offset::new(300),
        live: bytes("bitmap"),
        entries: vec![bytes("one"), bytes("two")],
        attachments: vec![bytes("grant")],
        head: bytes("head"),
        rows: vec![bytes("row")],
    };
    vec![
        ("hello", Request::Hello(Hello { software: "tidings 1".into() })),
        ("prove", Request::Prove(Prove { key: VerifyingKey::new([1; 32]), signature: [2; 64] })),
        ("open", Request::Open(Open { descriptor: bytes("descriptor") })),
        ("publish", Request::Publish(publish)),
        ("ask_readers", Request::AskReaders),
        ("subscribe", Request::Subscribe(subscribe)),
        ("ask_bitmap", Request::AskBitmap),
        ("acknowledge", Request::Acknowledge(bytes("signed"))),
        ("pulse", Request::Pulse(bytes("pulse"))),
        ("transfer", Request::Transfer(transfer)),
        ("recover", Request::Recover),
    ]
}

/// Every reply, named.
pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let limits = Limits {
        publish_entries_max: 1,
        publish_bytes_max: 2,
        entry_bytes_max: 3,
        publishes_in_flight_max: 4,
        readers_max: 5,
        live_bytes_max: 6,
    };
    let refusal =
        Refusal { code: RefusalCode::Denied, detail: "no row".into(), head: bytes("head"), rows: vec![bytes("row"), bytes("row 2")] };
    let announce =
        Announce { head: bytes("head"), base: HeadNumber::new(299), leaf: Bytes::from_static(&[4; 32]), proof: vec![[5; 32], [6; 32]] };
    let bitmap = Bitmap { stamp: rank(), after: Offset::new(0), through: Offset::new(9), live: bytes("bitmap"), last: true };
    vec![
        ("welcome", Reply::Welcome(Welcome { software: "tidings 1".into(), receipt_key: VerifyingKey::new([1; 32]), limits })),
        ("proven", Reply::Proven(VerifyingKey::new([1; 32]))),
        ("standing", Reply::Standing(bytes("head"))),
        ("receipt", Reply::Receipt(bytes("receipt"))),
        ("readers", Reply::Readers(Readers { rows: vec![bytes("row")], acknowledgements: vec![bytes("signed")] })),
        ("grant", Reply::Grant(bytes("grant"))),
        ("announce", Reply::Announce(announce)),
        ("chunk", Reply::Chunk(Chunk { stamp: rank(), entries: vec![bytes("one"), bytes("two")], complete: true })),
        ("bitmap", Reply::Bitmap(bitmap)),
        ("acknowledged", Reply::Acknowledged(rank())),
        ("refused", Reply::Refused(refusal)),
        ("newest_pulse", Reply::Pulse(bytes("pulse"))),
        ("part", Reply::Part(Transfer { after: Offset::new(0), history: vec![[9; 32]], rows: vec![bytes("row")], ..Transfer::default() })),
    ]
}
