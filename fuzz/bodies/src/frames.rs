//! What travels: frames under their caps, however a stream cuts them.

use bytes::Bytes;
use tidings_proto::caps::FRAME_BYTES_MAX;
use tidings_proto::wire::{FrameBuffer, PREFIX_BYTES};
use tidings_proto::{Reply, Request};

use crate::Run;
use crate::input::Input;

/// What the first byte of an input chooses.
pub const KINDS: [(&str, Run); 3] = [("request", request), ("reply", reply), ("stream", stream)];

/// Reads the input as what its first byte chooses.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    KINDS[usize::from(*kind) % KINDS.len()].1(bytes);
}

/// Unknown fields are skipped, so the bytes may be others; what they mean is not. Nothing grows on the way. [P-19]
fn request(bytes: &[u8]) {
    let Ok(request) = Request::decode(Bytes::copy_from_slice(bytes)) else { return };
    let written = request.encode();
    assert_eq!(Request::decode(written.clone()), Ok(request.clone()));
    assert_eq!(request.encode_prefixed().slice(PREFIX_BYTES..), written);
}

fn reply(bytes: &[u8]) {
    let Ok(reply) = Reply::decode(Bytes::copy_from_slice(bytes)) else { return };
    let written = reply.encode();
    assert_eq!(Reply::decode(written.clone()), Ok(reply.clone()));
    assert_eq!(reply.encode_prefixed().slice(PREFIX_BYTES..), written);
}

/// A stream under a cap: the frames are those that the bytes hold, whatever the pieces in which they come.
fn stream(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let max = input.below(4_096);
    let step = 1 + input.below(300);
    let bytes = input.rest();
    let (mut buffer, mut taken, mut pushed) = (FrameBuffer::new(), 0, 0);
    for piece in bytes.chunks(step) {
        buffer.push(piece);
        pushed += piece.len();
        loop {
            match buffer.frame(max) {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= max.min(FRAME_BYTES_MAX));
                    assert_eq!(frame, bytes[taken + PREFIX_BYTES..][..frame.len()]);
                    taken += PREFIX_BYTES + frame.len();
                    request(&frame);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert_eq!(buffer.len(), pushed - taken);
    }
    assert!(buffer.len() < PREFIX_BYTES + max.max(1), "a whole frame was left behind");
}
