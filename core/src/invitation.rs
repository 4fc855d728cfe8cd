//! What an owner hands a new reader: one line of text.

use bytes::Bytes;
use tidings_proto::caps::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, ATTACHMENT_BYTES_MAX, DESCRIPTOR_BYTES_MAX};

use crate::card::{CARD_BYTES_MAX, Card};
use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::key::NodeKey;
use crate::label::Label;
use crate::line::{self, LineError};
use crate::queue::QueueDescriptor;
use crate::signed::{self, SIGNATURE_BYTES, SignedError};

const PREFIX: &str = "tidings-invitation:";
const INVITATION_BYTES_MAX: usize = 1
    + (4 + DESCRIPTOR_BYTES_MAX)
    + CARD_BYTES_MAX
    + (4 + ADDRESSES_MAX * (4 + ADDRESS_BYTES_MAX))
    + (4 + ATTACHMENT_BYTES_MAX)
    + SIGNATURE_BYTES;

/// Everything to begin reading a queue: which, whose, where, and the sealed grant.
///
/// Text form: one line `tidings-invitation:<base64url>`, signed by the owner. Of use only to the reader that the grant is sealed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The queue.
    pub descriptor: QueueDescriptor,
    /// The owner's card; its verifying key is the descriptor's signing key.
    pub card: Card,
    /// Addresses of brokers, best first; at most [`ADDRESSES_MAX`] of [`ADDRESS_BYTES_MAX`] bytes. Not parsed here.
    pub addresses: Vec<String>,
    /// Sealed grant; at most [`ATTACHMENT_BYTES_MAX`] bytes. Not opened here.
    pub grant: Bytes,
}

/// Why a text is not an invitation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// The line holds no invitation.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The card is not that of the queue's owner.
    #[error("the card in the invitation is not the owner's")]
    OtherOwner,
    /// The owner did not sign it.
    #[error("the invitation is not signed by the owner")]
    Signature,
}

impl Invitation {
    /// Signs with the key of the queue's owner. One that another key signed, or that exceeds a cap, is refused by [`Self::parse`].
    pub fn sign(&self, owner: &NodeKey) -> String {
        line::write(PREFIX, &signed::append(self.encode(), Label::INVITATION, owner.signing()))
    }

    /// Reads a line; white space around it does not count. What it returns is signed by the owner it names; whether that is the right
    /// person is what people compare the card's fingerprint for.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let bytes = line::read(PREFIX, INVITATION_BYTES_MAX, text)?;
        let (body, _) = signed::split(&bytes).map_err(LineError::Object)?;
        let invitation = Self::decode(body).map_err(LineError::Object)?;
        signed::verify(&bytes, Label::INVITATION, &invitation.descriptor.signing_key)?;
        if invitation.card.verifying_key != invitation.descriptor.signing_key {
            return Err(InvitationError::OtherOwner);
        }
        Ok(invitation)
    }
}

/// The body, without the signature.
impl Object for Invitation {
    const NAME: &'static str = "invitation";

    fn write(&self, out: &mut Encoder) {
        out.bytes(&self.descriptor.encode());
        out.raw(&self.card.encode());
        out.count(self.addresses.len());
        self.addresses.iter().for_each(|address| out.bytes(address.as_bytes()));
        out.bytes(&self.grant);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let descriptor = QueueDescriptor::decode(input.bytes(DESCRIPTOR_BYTES_MAX, "descriptor")?)?;
        let card = Card::decode_in(input)?;
        let count = input.count(ADDRESSES_MAX, "addresses")?;
        let addresses = (0..count).map(|_| input.text(ADDRESS_BYTES_MAX, "address").map(str::to_owned)).collect::<Result<_, _>>()?;
        let grant = Bytes::copy_from_slice(input.bytes(ATTACHMENT_BYTES_MAX, "grant")?);
        Ok(Self { descriptor, card, addresses, grant })
    }
}

impl From<SignedError> for InvitationError {
    fn from(error: SignedError) -> Self {
        match error {
            SignedError::Malformed(error) => Self::Line(LineError::Object(error)),
            SignedError::Signature => Self::Signature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_one_encoding, flips};
    use proptest::prelude::*;

    fn owner() -> NodeKey {
        NodeKey::from_seed([1; 32])
    }

    fn invitation() -> Invitation {
        Invitation {
            descriptor: owner().default_queue(),
            card: owner().card(),
            addresses: vec!["tidings://b.example:4433?pin=x".into(), "tidings://a.example:4433?pin=y".into()],
            grant: Bytes::from_static(b"a sealed grant"),
        }
    }

    #[test]
    fn an_invitation_has_one_encoding() {
        assert_one_encoding(&invitation());
    }

    #[test]
    fn an_invitation_is_one_line_of_text() {
        let text = invitation().sign(&owner());
        assert_eq!(text.lines().count(), 1);
        assert_eq!(Invitation::parse(&format!("{text}\n")), Ok(invitation()));
    }

    #[test]
    fn an_invitation_with_any_flipped_bit_is_refused() {
        let text = invitation().sign(&owner());
        let lines = flips(text.as_bytes()).filter_map(|line| String::from_utf8(line).ok());
        assert_eq!(lines.map(|line| Invitation::parse(&line)).find(Result::is_ok), None);
    }

    /// Somebody in between names a broker or a storage of its own.
    #[test]
    fn an_invitation_that_the_owner_did_not_sign_is_refused() {
        let forged = invitation().sign(&NodeKey::from_seed([2; 32]));
        assert_eq!(Invitation::parse(&forged), Err(InvitationError::Signature));
    }

    /// The fingerprint that people compare would be of one person and the queue of another.
    #[test]
    fn an_invitation_with_the_card_of_another_is_refused() {
        let mixed = Invitation { card: NodeKey::from_seed([2; 32]).card(), ..invitation() };
        assert_eq!(Invitation::parse(&mixed.sign(&owner())), Err(InvitationError::OtherOwner));
    }

    #[test]
    fn an_invitation_at_every_cap_is_read() {
        let largest = Invitation {
            addresses: vec!["a".repeat(ADDRESS_BYTES_MAX); ADDRESSES_MAX],
            grant: vec![1; ATTACHMENT_BYTES_MAX].into(),
            ..invitation()
        };
        assert_eq!(Invitation::parse(&largest.sign(&owner())), Ok(largest));
    }

    #[test]
    fn an_invitation_beyond_a_cap_is_refused() {
        let more = Invitation { addresses: vec![String::new(); ADDRESSES_MAX + 1], ..invitation() };
        assert!(Invitation::parse(&more.sign(&owner())).is_err());
        let longer = Invitation { grant: vec![1; 2 * INVITATION_BYTES_MAX].into(), ..invitation() };
        assert_eq!(Invitation::parse(&longer.sign(&owner())), Err(InvitationError::Line(LineError::TooLong)));
    }

    #[test]
    fn a_card_is_not_an_invitation() {
        assert_eq!(Invitation::parse(&owner().card().to_string()), Err(InvitationError::Line(LineError::Prefix(PREFIX))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_invitation_is_read_back(addresses in proptest::collection::vec("\\PC{0,40}", 0..=ADDRESSES_MAX), grant: Vec<u8>) {
            let invitation = Invitation { addresses, grant: grant.into(), ..invitation() };
            prop_assert_eq!(Invitation::parse(&invitation.sign(&owner())), Ok(invitation));
        }
    }
}
