//! What a broker says about an acknowledgement.

use bytes::Bytes;
use tidings_core::{Acknowledgement, SignedError};
use tidings_proto::{Pseudonym, QueueId, Refusal, RefusalCode, caps};

use super::publish::undecodable;
use crate::store::Acked;

/// Checks a signed acknowledgement that came on a subscription of `reader` to `queue`.
///
/// One for a head that this broker does not have yet is taken: it tells the owner that another broker is further, or that
/// this one lost data; the owner counts it only with the signed head it names. [P-5]
///
/// # Errors
/// `TooLarge`, `Malformed`, `TooNew`, `BadSignature`, or `Denied` for a queue or reader that is not the subscription's.
pub fn check_acknowledgement(queue: &QueueId, reader: &Pseudonym, bytes: Bytes) -> Result<Acked, Refusal> {
    if bytes.len() > caps::SIGNED_BYTES_MAX {
        return Err(Refusal::new(RefusalCode::TooLarge, "the acknowledgement is too long"));
    }
    let acknowledgement = Acknowledgement::verify(&bytes).map_err(unverified)?;
    if acknowledgement.queue != *queue || acknowledgement.reader != *reader {
        return Err(Refusal::new(RefusalCode::Denied, "the acknowledgement is another's than this subscription's"));
    }
    Ok(Acked { queue: *queue, reader: *reader, rank: acknowledgement.cursor.rank, bytes })
}

fn unverified(error: SignedError) -> Refusal {
    match error {
        SignedError::Malformed(error) => undecodable(error),
        _ => Refusal::new(RefusalCode::BadSignature, "the acknowledgement is not signed by its reader"),
    }
}
