//! What an owner believes of what it is given back. [P-5]
//!
//! The input is a program that cuts everything that a broker holds into parts and changes some of them. Whatever came out of it: what is
//! believed is what a head signs, and after the end or an error nothing more is taken.

use bytes::Bytes;
use tidings_core::recovery::{Recovered, Recovery};
use tidings_core::{Entry, Object, SetHash, SetKind};
use tidings_proto::frames::Transfer;
use tidings_proto::{HeadNumber, Offset};

use crate::input::{Input, bend_one};
use crate::story::{Line, View, serialized, story};

/// Parts that a program cuts, at most, and changes, at most.
const CUTS_MAX: usize = 16;

/// Runs the program; gives whether the parts that came, changed or not, were believed.
pub(crate) fn run(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let line = if input.u8().is_multiple_of(2) { &story().line } else { &story().branch };
    let taken = 1 + input.below(line.publishes.len());
    let mut parts = cut(line.whole(taken), &mut input);
    for _ in 0..input.below(CUTS_MAX) {
        change(&mut parts, &mut input);
    }
    let (mut recovery, mut recovered, mut ended) = (Recovery::new(story().descriptor.clone()), None, false);
    for part in parts {
        let answer = recovery.take(part);
        assert!(!ended || answer.is_err(), "something was taken after the end");
        ended |= !matches!(answer, Ok(None));
        recovered = recovered.or(answer.unwrap_or_default());
    }
    recovered.as_ref().inspect(|recovered| check(recovered)).is_some()
}

/// Hashes, entries and attachments in any number of pieces, in their order; the head and its rows are in the last one.
fn cut(mut whole: Transfer, input: &mut Input<'_>) -> Vec<Transfer> {
    let mut parts = Vec::new();
    for _ in 0..input.below(CUTS_MAX) {
        let hashes = input.below(whole.history.len() + 1);
        let entries = input.below(whole.entries.len() + 1);
        let attachments = input.below(whole.attachments.len() + 1);
        let part = Transfer {
            history: whole.history.drain(..hashes).collect(),
            entries: whole.entries.drain(..entries).collect(),
            attachments: whole.attachments.drain(..attachments).collect(),
            ..Transfer::default()
        };
        parts.extend(Some(part).filter(|part| *part != Transfer::default()));
    }
    parts.push(whole);
    parts
}

/// One part is another one, comes twice, or not at all.
fn change(parts: &mut Vec<Transfer>, input: &mut Input<'_>) {
    if parts.is_empty() {
        return;
    }
    let at = input.below(parts.len());
    let part = &mut parts[at];
    match input.u8() % 12 {
        0 => bend_one(&mut part.entries, input),
        1 => bend_one(&mut part.attachments, input),
        2 => bend_one(&mut part.rows, input),
        3 => drop(part.history.pop()),
        4 => part.history.push([input.u8(); 32]),
        5 => part.head = input.bend(&part.head).into(),
        6 => part.head = story().line.heads[input.below(story().line.heads.len())].bytes().clone(),
        7 => part.live = if input.u8() == 0 { serialized(&(0..9).collect()) } else { Bytes::copy_from_slice(input.piece()) },
        8 => part.through = Offset::new(u64::from(input.u8())),
        9 => drop(parts.remove(at)),
        10 => parts.insert(input.below(at + 1), parts[at].clone()),
        _ => parts.push(Transfer::default()),
    }
}

/// What was believed is what its head signs, which nobody but the owner did; the owner opens it, and sees what it had at that head.
fn check(recovered: &Recovered) {
    let head = recovered.head();
    let signed = head.head();
    let (mut live, mut access) = (SetHash::new(SetKind::Live), SetHash::new(SetKind::Access));
    recovered.entries().iter().for_each(|(_, bytes)| live.add(Entry::digest_of(bytes, &signed.queue).bytes()));
    recovered.rows().iter().for_each(|row| access.add(&row.encode()));
    assert_eq!((recovered.entries().len() as u64, live.root()), (signed.live_count, signed.live_root));
    assert_eq!((recovered.rows().len() as u32, access.root()), (signed.access_count, signed.access_root));
    let (line, at) = place(recovered);
    for (number, known) in line.heads.iter().enumerate().take(at + 1) {
        assert_eq!(recovered.hash_of(HeadNumber::new(number as u64 + 1)), Some(known.hash()));
    }
    assert_eq!(recovered.hash_of(HeadNumber::new(at as u64 + 2)), None);
    let opened = recovered.open(&story().owner).expect("the owner opens what it signed");
    assert!(recovered.open(&story().reader).is_err(), "a reader opened what is the owner's");
    let mutations = opened.records.into_iter().map(|record| record.mutation);
    let values: View = mutations.filter_map(|mutation| Some((mutation.path, mutation.inline?))).collect();
    assert_eq!(values, line.views[at]);
}

/// The line that its head is on, and where.
fn place(recovered: &Recovered) -> (&'static Line, usize) {
    let lines = [&story().line, &story().branch];
    let on = |line: &'static Line| Some((line, line.heads.iter().position(|head| head.bytes() == recovered.head().bytes())?));
    lines.into_iter().find_map(on).expect("nobody but the owner signs a head")
}
