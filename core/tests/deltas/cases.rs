//! Single cases: damage, forks, epochs, grants, refusals, bitmaps.

use bytes::Bytes;
use tidings_core::reader::{HeldKind, HeldRow};
use tidings_core::{Object, ReaderStore, Step, Verdict};
use tidings_proto::Offset;
use tidings_proto::frames::Reply;

use crate::paper::{Session, path};
use crate::world::{End, World};

/// [P-15] [P-20] A reader whose own rows were damaged reads again from zero and accuses nobody.
#[test]
fn damage_of_the_readers_own_rows_is_named_as_such_and_repaired_with_the_net_difference() {
    let mut world = World::new(5, 50);
    while world.follower.holds().len() < 3 {
        world.tick();
        assert_ne!(world.connect(0, 0, None), End::Behind);
    }
    while world.follower.reader.cursor() != world.owner.writer.head().expect("a head").cursor() {
        world.brokers[0].receive(&world.owner.log, 99);
        world.connect(0, 0, None);
    }
    let row = world.follower.store.rows().find(|row| row.kind == HeldKind::Value).expect("a record").clone();
    world.follower.store.remove_held(row.birth).expect("memory does not fail");
    assert!(!world.follower.reader.own_state_matches(&world.follower.store).expect("memory does not fail"));
    let path = row.path.expect("a path");
    // What was lost with the row is lost: the application hears of the record as new.
    world.follower.seen.remove(&path);
    world.follower.damaged = true;
    world.owner.publish(&[(path, Some("new".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    let subscribe = world.follower.reader.begin("broker 0", &mut world.follower.store).expect("memory does not fail");
    let mut session = Session::new(&subscribe);
    let steps: Vec<_> = session.next(&world.brokers[0], 99).iter().map(|reply| world.follower.take(reply)).collect();
    assert!(matches!(steps.last(), Some(Step::LocalDamage)), "{steps:?}");
    assert_eq!(world.connect(0, 0, None), End::Current);
}

/// A reader that is caught up with broker 0; broker 1 has another history of the owner's key from the verified number on.
fn forked_world() -> World {
    let mut world = World::new(3, 0);
    world.owner.publish(&[(path(1), Some("one".into()))], None);
    let before = (world.owner.writer.clone(), world.owner.log.len(), world.owner.records.clone());
    world.owner.publish(&[(path(2), Some("left".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    let (writer, length, records) = before;
    world.owner.log.truncate(length);
    (world.owner.writer, world.owner.records) = (writer, records);
    for value in ["right", "right again", "and again"] {
        world.owner.publish(&[(path(2), Some(value.into()))], None);
    }
    world.brokers[1].receive(&world.owner.log, 99);
    world
}

/// [P-14] Damage once made the reader forget what it had verified: a second history was then read as if it were the first.
#[test]
fn after_damage_a_second_history_is_still_named_forked() {
    let mut world = forked_world();
    let verified = world.follower.reader.head().expect("verified").bytes().clone();
    let step = world.follower.reader.rebuild(&mut world.follower.store).expect("memory does not fail");
    assert!(matches!(step, Step::LocalDamage));
    world.follower.restart();
    let subscribe = world.follower.reader.begin("broker 1", &mut world.follower.store).expect("memory does not fail");
    assert_eq!(subscribe.position, Offset::ZERO);
    let reply = Session::new(&subscribe).next(&world.brokers[1], 9).remove(0);
    let Step::Verdict(finding) = world.follower.take(&reply) else { panic!("no verdict") };
    assert_eq!(finding.verdict, Verdict::Forked);
    assert_eq!(finding.evidence.expect("an accusation has evidence").verified, verified);
    world.follower.damaged = true;
    assert_eq!(world.connect(0, 0, None), End::Current);
}

/// [P-15] [P-20] What an older build set aside is read by one that can, once it starts.
#[test]
fn a_row_that_was_set_aside_is_tried_again_and_handed_out() {
    let mut world = World::new(3, 0);
    world.owner.publish(&[(path(1), Some("one".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    let row = world.follower.store.rows().next().expect("a record").clone();
    let sealed = world.brokers[0].entries[&row.offset].clone();
    // As a build left it that could not read it.
    let aside = HeldRow { kind: HeldKind::Quarantined, path: None, bytes: sealed, ..row.clone() };
    world.follower.store.put_held(aside, Some(&row)).expect("kept");
    world.follower.seen.clear();
    assert!(world.follower.holds().is_empty());
    let opened = world.follower.reader.reopen(&mut world.follower.store).expect("memory does not fail");
    world.follower.hand_out();
    assert_eq!(opened, 1);
    world.check_view();
}

/// [P-14] Two histories of one key: the reader keeps what it verified and names the key, with a proof that anybody can check.
#[test]
fn a_second_history_of_the_owners_key_is_named_forked_with_both_heads_as_evidence() {
    let mut world = forked_world();
    let subscribe = world.follower.reader.begin("broker 1", &mut world.follower.store).expect("memory does not fail");
    let reply = Session::new(&subscribe).next(&world.brokers[1], 9).remove(0);
    let Step::Verdict(finding) = world.follower.take(&reply) else { panic!("no verdict") };
    assert_eq!(finding.verdict, Verdict::Forked);
    let evidence = finding.evidence.expect("an accusation has evidence");
    let decoded = tidings_core::reader::Evidence::decode(&evidence.encode()).expect("evidence decodes");
    assert_eq!(decoded, evidence);
    assert_eq!(evidence.leaf.expect("the leaf at the cursor's number").0, *world.brokers[1].heads[3].hash().bytes());
}

/// [P-14] An older signed head is what a restored or lagging broker has: no accusation, nothing taken over.
#[test]
fn an_older_signed_head_is_stale_and_no_accusation() {
    let mut world = World::new(4, 0);
    for number in 0..5 {
        world.owner.publish(&[(path(number), Some("value".into()))], None);
        world.remember_view();
    }
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    let before = world.follower.reader.cursor();
    assert_eq!(world.connect(1, 0, None), End::Behind);
    assert_eq!(world.follower.reader.cursor(), before);
}

/// [P-1] [P-11] Any change of any byte that a broker hands on is refused, whatever frame it is in.
#[test]
fn a_flip_of_any_byte_of_an_announcement_or_chunk_never_changes_what_is_accepted() {
    let mut world = World::new(6, 0);
    for number in 0..6 {
        world.owner.publish(&[(path(number), Some("value".into()))], None);
        world.remember_view();
    }
    world.brokers[0].receive(&world.owner.log, 99);
    let subscribe = world.follower.reader.begin("broker 0", &mut world.follower.store).expect("memory does not fail");
    let frames = Session::new(&subscribe).next(&world.brokers[0], 99);
    let [Reply::Announce(announce), Reply::Chunk(chunk)] = &frames[..] else { panic!("an announcement and a chunk") };
    for at in 0..announce.head.len() {
        let mut bent = announce.clone();
        bent.head = flipped(&announce.head, at);
        let mut follower = world.follower.clone();
        assert!(!matches!(follower.take(&Reply::Announce(bent)), Step::Continue), "byte {at} of a head");
    }
    for (entry, at) in chunk.entries.iter().enumerate().flat_map(|(entry, bytes)| (0..bytes.len()).map(move |at| (entry, at))) {
        let mut bent = chunk.clone();
        bent.entries[entry] = flipped(&chunk.entries[entry], at);
        let mut follower = world.follower.clone();
        assert!(matches!(follower.take(&frames[0]), Step::Continue));
        assert!(!matches!(follower.take(&Reply::Chunk(bent)), Step::Accepted(_)), "byte {at} of entry {entry}");
    }
}

fn flipped(bytes: &Bytes, at: usize) -> Bytes {
    let mut bent = bytes.to_vec();
    bent[at] ^= 0x10;
    bent.into()
}

/// [P-17] A reader meets entries of a new epoch: with the newest grant it goes on, without it the broker has kept it back.
#[test]
fn a_new_epoch_is_read_with_the_newest_grant_and_named_without_it() {
    let mut world = World::new(8, 0);
    let access = tidings_core::writer::AccessChange { rotate: true, ..Default::default() };
    let signed = world.owner.sign(tidings_core::writer::SignRequest { access, ..Default::default() });
    world.owner.publish(&[(path(1), Some("sealed under epoch 2".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    let pseudonym = world.follower.reader.pseudonym();
    let row = signed.access_put.iter().map(|row| tidings_core::AccessRow::decode(row).expect("a row"));
    let named = row.into_iter().find(|row| row.pseudonym == pseudonym).expect("every reader is granted again").grant;
    let grant = signed.attachments.iter().find(|bytes| tidings_core::attachment_hash(bytes) == named).expect("it is there").clone();
    let mut without = world.follower.clone();
    std::mem::swap(&mut world.follower, &mut without);
    assert_eq!(world.connect(0, 0, None), End::Restart);
    assert_eq!(world.connect(0, 0, None), End::Verdict(Verdict::Withheld));
    world.follower = without;
    assert!(matches!(world.follower.take(&Reply::Grant(grant)), Step::Continue));
    assert_eq!(world.connect(0, 0, None), End::Current);
}

/// [P-15] [P-20] An entry that this build cannot take over once looked like a delete: the application lost a record that lives.
#[test]
fn a_record_whose_newest_entry_is_set_aside_is_not_deleted_at_the_application() {
    let mut world = World::new(12, 0);
    world.owner.publish(&[(path(1), Some("one".into()))], None);
    world.remember_view();
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect(0, 0, None), End::Current);
    let foreign = world.owner.foreign_path(&path(1), &path(2));
    world.owner.sign(foreign);
    world.brokers[0].receive(&world.owner.log, 99);
    let subscribe = world.follower.reader.begin("broker 0", &mut world.follower.store).expect("memory does not fail");
    let frames = Session::new(&subscribe).next(&world.brokers[0], 9);
    let steps: Vec<_> = frames.iter().map(|reply| world.follower.take(reply)).collect();
    assert!(matches!(steps.last(), Some(Step::Accepted(accepted)) if accepted.changes == 0), "{steps:?}");
    assert_eq!(world.follower.seen.keys().collect::<Vec<_>>(), [&path(1)]);
    assert_eq!(world.follower.reader.reopen(&mut world.follower.store).expect("memory does not fail"), 0);
}

/// [P-17] [P-19] A broker that sends an old grant again brings back neither its secrets nor its locator.
#[test]
fn an_old_grant_that_is_sent_again_changes_nothing() {
    let mut world = World::new(13, 0);
    let old = world.follower.grant.clone();
    let access = tidings_core::writer::AccessChange { rotate: true, locator: "file:///new".into(), ..Default::default() };
    let signed = world.owner.sign(tidings_core::writer::SignRequest { access, ..Default::default() });
    let opens = |grant: &&Bytes| tidings_core::Grant::open(grant, &world.follower.key, world.owner.writer.descriptor()).is_ok();
    let new = signed.attachments.iter().find(opens).expect("every reader is granted again").clone();
    assert!(matches!(world.follower.take(&Reply::Grant(new)), Step::Continue));
    world.brokers[0].receive(&world.owner.log, 99);
    assert_eq!(world.connect_anyhow(), End::Current);
    let before = world.follower.reader.encode();
    assert!(matches!(world.follower.take(&Reply::Grant(old)), Step::Continue));
    assert_eq!(world.follower.reader.encode(), before);
    assert_eq!(world.follower.reader.locator(), "file:///new");
}

/// [P-17] That access has ended is the owner's word, not a broker's.
#[test]
fn a_refusal_counts_as_denied_only_with_the_owners_list_at_a_head_that_is_not_old() {
    use tidings_proto::{Refusal, RefusalCode};
    let mut world = World::new(14, 0);
    let early = world.owner.log[0].clone();
    let pseudonym = world.follower.reader.pseudonym();
    let bare = Refusal::new(RefusalCode::Denied, "no");
    let before_the_grant = Refusal { rows: early.access_put.clone(), ..bare.clone().at_head(early.head.clone()) };
    let access = tidings_core::writer::AccessChange { remove: vec![pseudonym], ..Default::default() };
    let signed = world.owner.sign(tidings_core::writer::SignRequest { access, ..Default::default() });
    let ended = Refusal { rows: signed.access_put.clone(), ..bare.clone().at_head(signed.head.bytes().clone()) };
    let without_rows = Refusal { rows: Vec::new(), ..ended.clone() };
    world.brokers[0].receive(&world.owner.log[..2], 99);
    assert_eq!(world.connect_anyhow(), End::Current);
    let reader = &world.follower.reader;
    assert_eq!([&bare, &before_the_grant, &without_rows, &ended].map(|refusal| reader.is_denied(refusal)), [false, false, false, true]);
}

/// [P-12] [P-19] A bitmap is bounded by what the owner signed, whatever a broker puts into it.
#[test]
fn a_bitmap_that_covers_nothing_or_more_than_there_is_ends_the_connection() {
    use tidings_proto::frames::Bitmap;
    for (through, last) in [(0, false), (u64::MAX, false), (u64::MAX, true)] {
        let mut world = World::new(15, 0);
        world.owner.publish(&[(path(1), Some("one".into())), (path(2), Some("two".into()))], None);
        world.remember_view();
        world.brokers[0].receive(&world.owner.log, 99);
        assert_eq!(world.connect(0, 0, None), End::Current);
        world.owner.publish(&[(path(1), None)], None);
        world.owner.publish(&[], Some(Offset::new(3)));
        world.brokers[0].receive(&world.owner.log, 99);
        let subscribe = world.follower.reader.begin("broker 0", &mut world.follower.store).expect("memory does not fail");
        let frames = Session::new(&subscribe).next(&world.brokers[0], 9);
        let steps: Vec<_> = frames.iter().map(|reply| world.follower.take(reply)).collect();
        assert!(matches!(steps.last(), Some(Step::AskBitmap)), "{steps:?}");
        let mut live = Vec::new();
        roaring::RoaringTreemap::new().serialize_into(&mut live).expect("a vector takes all");
        let stamp = world.brokers[0].head().rank();
        let part = Bitmap { stamp, after: Offset::ZERO, through: Offset::new(through), live: live.into(), last };
        assert!(matches!(world.follower.take(&Reply::Bitmap(part)), Step::Restart(_)), "through {through}");
    }
}

/// [P-11] [P-19] An old first head once let a broker stream any number of entries below a later one.
#[test]
fn entries_that_ended_long_ago_are_refused_after_a_later_head_was_announced() {
    use tidings_core::reader::Fault;
    use tidings_proto::frames::Chunk;
    let mut world = World::new(16, 0);
    world.owner.publish(&[(path(1), Some("first".into()))], None);
    world.brokers[1].receive(&world.owner.log, 99);
    for number in 0..50 {
        world.owner.publish(&[(path(1), Some(format!("value {number}").into()))], None);
    }
    world.brokers[0].receive(&world.owner.log, 99);
    let subscribe = world.follower.reader.begin("broker 0", &mut world.follower.store).expect("memory does not fail");
    let old = world.brokers[1].announce(subscribe.cursor);
    let new = world.brokers[0].announce(world.brokers[1].head().rank().number);
    for announce in [old, new] {
        assert!(matches!(world.follower.take(&Reply::Announce(announce)), Step::Continue));
    }
    let entries = world.brokers[0].graveyard.clone();
    let chunk = Chunk { stamp: world.brokers[0].head().rank(), entries, complete: false };
    let step = world.follower.take(&Reply::Chunk(chunk));
    assert!(matches!(step, Step::Restart(Fault::Entries(_))), "{step:?}");
    assert!(world.follower.store.staged_count() == 0);
}
