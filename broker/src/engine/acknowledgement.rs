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

#[cfg(test)]
mod tests {
    use tidings_core::Cursor;
    use tidings_core::pseudonym::PseudonymKey;
    use tidings_proto::{HeadHash, HeadNumber, HeadRank, Offset, Term};

    use super::*;

    fn signed() -> (PseudonymKey, QueueId, Bytes) {
        let (key, queue) = (PseudonymKey::from_seed(&[1; 32]), QueueId::new([2; 32]));
        let rank = HeadRank { term: Term::new(3), number: HeadNumber::new(4) };
        let cursor = Cursor { rank, offset: Offset::new(5), head: HeadHash::new([6; 32]) };
        let bytes = Acknowledgement { queue, reader: key.pseudonym(), cursor }.sign(&key);
        (key, queue, bytes)
    }

    fn code(queue: &QueueId, reader: &Pseudonym, bytes: Bytes) -> RefusalCode {
        check_acknowledgement(queue, reader, bytes).expect_err("a refusal").code
    }

    #[test]
    fn an_acknowledgement_is_kept_verbatim_under_its_rank() {
        let (key, queue, bytes) = signed();
        let acked = check_acknowledgement(&queue, &key.pseudonym(), bytes.clone()).expect("the reader's own");
        assert_eq!((acked.bytes, acked.rank.number), (bytes, HeadNumber::new(4)));
    }

    /// Nobody acknowledges for another reader, or on the subscription of another queue.
    #[test]
    fn an_acknowledgement_of_another_is_denied() {
        let (key, queue, bytes) = signed();
        assert_eq!(code(&queue, &Pseudonym::new([9; 32]), bytes.clone()), RefusalCode::Denied);
        assert_eq!(code(&QueueId::new([9; 32]), &key.pseudonym(), bytes), RefusalCode::Denied);
    }

    #[test]
    fn an_acknowledgement_that_does_not_verify_says_why() {
        let (key, queue, bytes) = signed();
        let reader = key.pseudonym();
        let flip = |at: usize, to: u8| Bytes::from([&bytes[..at], &[to], &bytes[at + 1..]].concat());
        assert_eq!(code(&queue, &reader, flip(bytes.len() - 1, !bytes[bytes.len() - 1])), RefusalCode::BadSignature);
        assert_eq!(code(&queue, &reader, flip(0, 2)), RefusalCode::TooNew);
        assert_eq!(code(&queue, &reader, bytes.slice(..70)), RefusalCode::Malformed);
        assert_eq!(code(&queue, &reader, vec![0; caps::SIGNED_BYTES_MAX + 1].into()), RefusalCode::TooLarge);
    }
}
