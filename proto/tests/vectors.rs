//! Golden bytes of each frame. They never change: a released peer reads and writes them.

mod samples;

use data_encoding::HEXLOWER;
use tidings_proto::{Reply, Request};

/// `name hex`, one frame a line, requests before replies.
const VECTORS: &str = include_str!("vectors.txt");

fn written() -> Vec<(&'static str, bytes::Bytes)> {
    let requests = samples::requests().into_iter().map(|(name, request)| (name, request.encode()));
    let replies = samples::replies().into_iter().map(|(name, reply)| (name, reply.encode()));
    requests.chain(replies).collect()
}

#[test]
fn every_frame_is_written_as_published() {
    let text: String = written().iter().map(|(name, frame)| format!("{name} {}\n", HEXLOWER.encode(frame))).collect();
    assert_eq!(text, VECTORS, "written now:\n{text}");
}

#[test]
fn every_published_frame_reads_as_what_was_written() {
    let frames: Vec<_> =
        VECTORS.lines().map(|line| HEXLOWER.decode(line.split_once(' ').expect("name and hex").1.as_bytes()).expect("hex")).collect();
    let (requests, replies) = frames.split_at(samples::requests().len());
    for ((name, sample), frame) in samples::requests().into_iter().zip(requests) {
        assert_eq!(Request::decode(frame.clone().into()), Ok(sample), "{name}");
    }
    for ((name, sample), frame) in samples::replies().into_iter().zip(replies) {
        assert_eq!(Reply::decode(frame.clone().into()), Ok(sample), "{name}");
    }
}
