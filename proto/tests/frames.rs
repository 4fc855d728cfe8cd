//! What decoding accepts and refuses.

mod samples;

use bytes::{BufMut, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use tidings_proto::frames::{Announce, Chunk, Publish};
use tidings_proto::wire::{FrameBuffer, FrameError, frame_length};
use tidings_proto::{HeadNumber, Offset, Pseudonym, Refusal, RefusalCode, Reply, Request, caps};

fn empty_publish() -> Publish {
    Publish { head: Bytes::new(), entries: vec![], purged: vec![], access_put: vec![], access_removed: vec![], attachments: vec![] }
}

fn decoded(publish: Publish) -> Result<Request, FrameError> {
    Request::decode(Request::Publish(publish).encode())
}

fn too_large(result: Result<Request, FrameError>) -> bool {
    matches!(result, Err(FrameError::TooLarge { .. }))
}

prop_compose! {
    fn publishes()(
        head in vec(any::<u8>(), 0..300),
        entries in vec(vec(any::<u8>(), 0..300), 0..20),
        purged in vec(any::<u64>(), 0..20),
        rows in vec(vec(any::<u8>(), 0..=256), 0..8),
        removed in vec(any::<[u8; 32]>(), 0..8),
        attachments in vec(vec(any::<u8>(), 0..300), 0..8),
    ) -> Publish {
        let bytes = |items: Vec<Vec<u8>>| items.into_iter().map(Bytes::from).collect();
        Publish {
            head: head.into(),
            entries: bytes(entries),
            purged: purged.into_iter().map(Offset::new).collect(),
            access_put: bytes(rows),
            access_removed: removed.into_iter().map(Pseudonym::new).collect(),
            attachments: bytes(attachments),
        }
    }
}

proptest! {
    #[test]
    fn a_publish_reads_back_as_written(publish in publishes()) {
        prop_assert_eq!(decoded(publish.clone()), Ok(Request::Publish(publish)));
    }

    #[test]
    fn a_chunk_reads_back_as_written(entries in vec(vec(any::<u8>(), 0..100), 0..50), complete: bool) {
        let entries = entries.into_iter().map(Bytes::from).collect();
        let reply = Reply::Chunk(Chunk { stamp: samples::rank(), entries, complete });
        prop_assert_eq!(Reply::decode(reply.encode()), Ok(reply));
    }

    /// [P-19]
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(bytes.clone().into());
        let _ = Reply::decode(bytes.into());
    }

    /// [P-19]
    #[test]
    fn a_damaged_frame_never_panics(kind in 0usize..8, place: prop::sample::Index, value: u8, cut: prop::sample::Index) {
        let mut frame = samples::requests()[kind].1.encode().to_vec();
        let place = place.index(frame.len());
        frame[place] = value;
        frame.truncate(cut.index(frame.len() + 1));
        let _ = Request::decode(frame.clone().into());
        let _ = Reply::decode(frame.into());
    }
}

#[test]
fn the_prefix_is_the_length_of_the_frame() {
    let requests = samples::requests().into_iter().map(|(name, request)| (name, request.encode(), request.encode_prefixed()));
    let replies = samples::replies().into_iter().map(|(name, reply)| (name, reply.encode(), reply.encode_prefixed()));
    for (name, frame, prefixed) in requests.chain(replies) {
        let prefix = prefixed[..4].try_into().expect("four bytes");
        assert_eq!(frame_length(prefix, caps::FRAME_BYTES_MAX), Ok(frame.len()), "{name}");
        assert_eq!(prefixed.slice(4..), frame, "{name}");
    }
}

#[test]
fn a_frame_comes_out_of_the_buffer_however_it_was_cut() {
    let frame = samples::requests()[3].1.encode_prefixed();
    let mut buffer = FrameBuffer::new();
    for (sent, byte) in frame.iter().enumerate() {
        assert_eq!(buffer.frame(caps::FRAME_BYTES_MAX), Ok(None), "after {sent} bytes");
        buffer.push(&[*byte]);
    }
    assert_eq!(buffer.frame(caps::FRAME_BYTES_MAX), Ok(Some(frame.slice(4..))));
    assert!(buffer.is_empty());
}

#[test]
fn frames_that_arrive_together_come_out_in_order() {
    let mut buffer = FrameBuffer::new();
    let frames: Vec<_> = samples::requests().into_iter().map(|(_, request)| request.encode_prefixed()).collect();
    buffer.push(&frames.concat());
    for frame in frames {
        assert_eq!(buffer.frame(caps::FRAME_BYTES_MAX), Ok(Some(frame.slice(4..))));
    }
}

/// [P-19]
#[test]
fn a_prefix_above_the_cap_is_refused_before_anything_is_read() {
    let prefix = 4097u32.to_be_bytes();
    assert_eq!(frame_length(prefix, 4096), Err(FrameError::TooLarge { field: "frame", max: 4096 }));
}

/// [P-20]
#[test]
fn an_unknown_kind_of_frame_is_too_new() {
    let unknown = Bytes::from_static(&[0xfa, 0x01, 0x00]);
    assert_eq!(Request::decode(unknown.clone()), Err(FrameError::TooNew));
    assert_eq!(Reply::decode(unknown), Err(FrameError::TooNew));
}

#[test]
fn an_unknown_field_of_a_known_frame_is_skipped() {
    let hello = Bytes::from_static(&[0x0a, 0x04, 0x0a, 0x00, 0x78, 0x01]);
    assert!(matches!(Request::decode(hello), Ok(Request::Hello(hello)) if hello.software.is_empty()));
}

#[test]
fn two_frames_in_one_are_malformed() {
    let mut twice = Request::AskBitmap.encode().to_vec();
    twice.extend_from_slice(&Request::AskReaders.encode());
    assert!(matches!(Request::decode(twice.into()), Err(FrameError::Malformed(_))));
    assert!(matches!(Request::decode(Bytes::new()), Err(FrameError::Malformed(_))));
}

/// Millions of empty list items cost two bytes each on the wire and 32 in memory. [P-19]
#[test]
fn a_frame_of_empty_list_items_is_refused_before_it_is_built() {
    let items = [0x12, 0x00].repeat(1_000_000);
    let mut frame = vec![0x22];
    prost::encoding::encode_varint(items.len() as u64, &mut frame);
    frame.put_slice(&items);
    let refused = Request::decode(frame.into());
    assert_eq!(refused, Err(FrameError::TooLarge { field: "number of fields", max: 12_304 }));
}

/// [P-19]
#[test]
fn every_cap_of_a_publish_holds() {
    let zeros = |length: usize| Bytes::from(vec![0; length]);
    let cases = [
        Publish { head: zeros(caps::HEAD_BYTES_MAX + 1), ..empty_publish() },
        Publish { entries: vec![zeros(caps::ENTRY_BYTES_MAX + 1)], ..empty_publish() },
        Publish { entries: vec![Bytes::new(); caps::PUBLISH_ENTRIES_MAX + 1], ..empty_publish() },
        Publish { entries: vec![zeros(caps::ENTRY_BYTES_MAX); 257], ..empty_publish() },
        Publish { purged: vec![Offset::new(1); caps::PUBLISH_PURGED_MAX + 1], ..empty_publish() },
        Publish { access_put: vec![Bytes::new(); caps::PUBLISH_ACCESS_MAX + 1], ..empty_publish() },
        Publish { access_put: vec![zeros(caps::ACCESS_ROW_BYTES_MAX + 1)], ..empty_publish() },
        Publish { access_removed: vec![Pseudonym::ZERO; caps::PUBLISH_ACCESS_MAX + 1], ..empty_publish() },
        Publish { attachments: vec![zeros(caps::ATTACHMENT_BYTES_MAX + 1)], ..empty_publish() },
        Publish {
            attachments: vec![zeros(caps::ATTACHMENT_BYTES_MAX); caps::PUBLISH_ATTACHMENT_BYTES_MAX / caps::ATTACHMENT_BYTES_MAX + 1],
            ..empty_publish()
        },
    ];
    for (number, case) in cases.into_iter().enumerate() {
        assert!(too_large(decoded(case)), "case {number}");
    }
}

#[test]
fn the_largest_publish_passes() {
    let publish = Publish {
        entries: vec![Bytes::from(vec![0; 1024]); caps::PUBLISH_ENTRIES_MAX],
        purged: vec![Offset::new(u64::MAX); caps::PUBLISH_PURGED_MAX],
        access_put: vec![Bytes::from(vec![0; 100]); caps::PUBLISH_ACCESS_MAX],
        access_removed: vec![Pseudonym::ZERO; caps::PUBLISH_ACCESS_MAX],
        attachments: vec![Bytes::from(vec![0; 768]); 2 * caps::PUBLISH_ACCESS_MAX],
        ..empty_publish()
    };
    assert_eq!(decoded(publish.clone()), Ok(Request::Publish(publish)));
}

/// [P-19]
#[test]
fn a_proof_longer_than_any_tree_is_refused() {
    let announce = Announce { head: Bytes::new(), base: HeadNumber::ZERO, leaf: Bytes::new(), proof: vec![[0; 32]; 65] };
    assert!(matches!(Reply::decode(Reply::Announce(announce).encode()), Err(FrameError::TooLarge { .. })));
}

#[test]
fn a_refusal_with_too_long_a_reason_is_cut_between_characters() {
    let refusal = Refusal::new(RefusalCode::Busy, "ä".repeat(400));
    let Ok(Reply::Refused(read)) = Reply::decode(Reply::Refused(refusal).encode()) else { panic!("a refusal") };
    assert_eq!(read.detail, "ä".repeat(256));
}
