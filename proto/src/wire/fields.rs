//! Counts the fields of a frame before anything is built from it.
//!
//! A field of two bytes on the wire becomes a value of 32 bytes in memory, so a frame of nothing but empty list items
//! would take sixteen times its size. One pass over the tags stops it. [P-19]

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::FrameError;
use crate::caps::{PUBLISH_ACCESS_MAX, PUBLISH_ENTRIES_MAX};

/// Fields of the largest lawful frame: a publish with its entries, rows put and removed, two attachments for each row,
/// and room for single fields.
const FIELDS_MAX: usize = PUBLISH_ENTRIES_MAX + 4 * PUBLISH_ACCESS_MAX + 16;

/// One known outer field, and inside it no more fields than a lawful frame has.
pub(super) fn check(mut frame: &[u8]) -> Result<(), FrameError> {
    if frame.is_empty() {
        return Err(FrameError::Malformed("empty frame"));
    }
    let mut body = single_field(&mut frame).ok_or(FrameError::Malformed("a frame is one protobuf field"))?;
    if !frame.is_empty() {
        return Err(FrameError::Malformed("a frame is one protobuf field"));
    }
    let mut fields = 0;
    while body.has_remaining() {
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(FrameError::TooLarge { field: "number of fields", max: FIELDS_MAX });
        }
        skip(&mut body).ok_or(FrameError::Malformed("not protobuf"))?;
    }
    Ok(())
}

/// The content of the length-delimited field at the front of `input`, which moves behind it.
fn single_field<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (_, wire_type) = decode_key(input).ok()?;
    if wire_type != WireType::LengthDelimited {
        return None;
    }
    let length = usize::try_from(decode_varint(input).ok()?).ok()?;
    let (content, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(content)
}

fn skip(body: &mut &[u8]) -> Option<()> {
    let (tag, wire_type) = decode_key(body).ok()?;
    skip_field(wire_type, tag, body, DecodeContext::default()).ok()
}
