//! What a broker says about a pulse. [P-16]

use bytes::Bytes;
use tidings_core::pulse::Pulse;
use tidings_core::{QueueDescriptor, SignedError};
use tidings_proto::{HeadRank, Refusal, RefusalCode, Timestamp, caps};

use super::publish::undecodable;

/// A pulse that its owner signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulsed {
    /// Rank of the head it names.
    pub rank: HeadRank,
    /// When it was signed, by the owner's clock.
    pub time: Timestamp,
    /// Until when the owner promised to be heard of; `None` if it promised nothing.
    pub promise: Option<Timestamp>,
    /// The signed pulse, verbatim.
    pub bytes: Bytes,
}

/// Checks a signed pulse that came on a publish stream of the queue of `descriptor`. Whether its head stands here is not looked at.
///
/// # Errors
/// `TooLarge`, `Malformed`, `TooNew`, `BadSignature`, or `Invalid` for one of another queue.
pub fn check_pulse(descriptor: &QueueDescriptor, bytes: &Bytes) -> Result<Pulsed, Refusal> {
    if bytes.len() > caps::SIGNED_BYTES_MAX {
        return Err(Refusal::new(RefusalCode::TooLarge, "the pulse is too long"));
    }
    let pulse = Pulse::verify(bytes, &descriptor.signing_key).map_err(unverified)?;
    if pulse.queue != descriptor.id() {
        return Err(Refusal::new(RefusalCode::Invalid, "the pulse is of another queue than this stream"));
    }
    Ok(Pulsed { rank: pulse.rank, time: pulse.time, promise: pulse.promise(), bytes: Bytes::copy_from_slice(bytes) })
}

fn unverified(error: SignedError) -> Refusal {
    match error {
        SignedError::Malformed(error) => undecodable(error),
        _ => Refusal::new(RefusalCode::BadSignature, "the pulse is not signed by the owner"),
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{Entropy, NodeKey, writer::Writer};
    use tidings_proto::{HeadHash, HeadNumber, QueueId, Term};

    use super::*;

    fn world() -> (NodeKey, QueueDescriptor) {
        let key = NodeKey::from_seed([1; 32]);
        let descriptor = Writer::create(&key, &mut Entropy::new([1; 32])).descriptor().clone();
        (key, descriptor)
    }

    fn pulse(queue: QueueId) -> Pulse {
        let rank = HeadRank { term: Term::new(1), number: HeadNumber::new(5) };
        Pulse { queue, rank, head: HeadHash::new([3; 32]), time: Timestamp::new(10), next: Timestamp::new(20) }
    }

    fn code(descriptor: &QueueDescriptor, bytes: Bytes) -> RefusalCode {
        check_pulse(descriptor, &bytes).expect_err("a refusal").code
    }

    /// [P-16]
    #[test]
    fn a_pulse_is_passed_on_verbatim() {
        let (key, descriptor) = world();
        let signed = pulse(descriptor.id()).sign(&key);
        let pulsed = check_pulse(&descriptor, &signed).expect("the owner's own");
        assert_eq!((pulsed.bytes, pulsed.time, pulsed.promise), (signed, Timestamp::new(10), Some(Timestamp::new(20))));
    }

    /// [P-16]
    #[test]
    fn a_pulse_that_the_owner_of_the_stream_did_not_sign_for_it_is_refused() {
        let (key, descriptor) = world();
        let stranger = pulse(descriptor.id()).sign(&NodeKey::from_seed([2; 32]));
        assert_eq!(code(&descriptor, stranger), RefusalCode::BadSignature);
        assert_eq!(code(&descriptor, pulse(QueueId::new([9; 32])).sign(&key)), RefusalCode::Invalid);
    }

    #[test]
    fn nonsense_is_named_for_what_it_is() {
        let (_, descriptor) = world();
        assert_eq!(code(&descriptor, vec![0; caps::SIGNED_BYTES_MAX + 1].into()), RefusalCode::TooLarge);
        assert_eq!(code(&descriptor, vec![1; 100].into()), RefusalCode::Malformed);
        assert_eq!(code(&descriptor, vec![2; 200].into()), RefusalCode::TooNew);
    }
}
