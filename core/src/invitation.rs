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
