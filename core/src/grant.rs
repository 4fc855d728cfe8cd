//! What an owner gives a reader: the keys of a queue, sealed to that reader alone.

use bytes::Bytes;
use tidings_proto::caps::{ATTACHMENT_BYTES_MAX, HEAD_BYTES_MAX, HEAD_EPOCHS_MAX, LOCATOR_BYTES_MAX};
use tidings_proto::{ContentHash, Epoch, QueueId};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::card::Card;
use crate::codec::{DecodeError, Decoder, Encoder, Object, VERSION};
use crate::entropy::Entropy;
use crate::epoch::EpochSecret;
use crate::exchange;
use crate::key::NodeKey;
use crate::label::Label;
use crate::queue::QueueDescriptor;
use crate::signed::{self, SignedError};

/// Everything that a reader needs to read one queue. Its seeds are zeroized on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which queue.
    pub queue: QueueId,
    /// Newest epoch when it was sealed; one of `secrets`.
    pub epoch: Epoch,
    /// Secrets of all epochs with live entries, ascending; at most [`HEAD_EPOCHS_MAX`].
    pub secrets: Vec<EpochSecret>,
    /// Seed of the reader's pseudonym in this queue.
    pub seed: [u8; 32],
    /// Address of the owner's storage; may be empty; at most [`LOCATOR_BYTES_MAX`] bytes.
    pub locator: String,
    /// Signed head below which the reader accepts none at first contact; may be empty. Not checked here.
    pub floor_head: Bytes,
}

/// Why bytes are not a grant for this reader, or why one cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// It exceeds [`ATTACHMENT_BYTES_MAX`].
    #[error("the grant is too large")]
    TooLarge,
    /// It is no grant.
    #[error("the grant is damaged: {0}")]
    Malformed(DecodeError),
    /// It was made by a newer version of this program. [P-20]
    #[error("the grant needs a newer version of this program")]
    TooNew,
    /// The owner of the queue did not sign it.
    #[error("the grant is not signed by the owner of the queue")]
    Signature,
    /// It is for another queue.
    #[error("the grant is for another queue")]
    OtherQueue,
    /// It is sealed to another reader.
    #[error("the grant is not sealed to this reader")]
    OtherReader,
    /// The card holds no usable exchange key.
    #[error("nothing can be sealed to this card")]
    ReaderKey,
}

impl Grant {
    /// Seals to `reader` and signs as `owner`. [P-17]
    ///
    /// Bound to label, queue, all public keys of the reader and epoch: a grant that is moved to another reader or queue does not open.
    pub fn seal(&self, reader: &Card, owner: &NodeKey, entropy: &mut Entropy) -> Result<Bytes, GrantError> {
        self.check()?;
        let mut out = Encoder::with_capacity(ATTACHMENT_BYTES_MAX);
        out.u8(VERSION);
        self.write(&mut out);
        let plaintext = Zeroizing::new(out.finish());
        let info = info(&self.queue, reader, self.epoch);
        let sealed = exchange::seal(&reader.exchange_key, &info, &plaintext, entropy).ok_or(GrantError::ReaderKey)?;
        let bytes = signed::append(Envelope { queue: self.queue, epoch: self.epoch, sealed }.encode(), Label::GRANT, owner.signing());
        if bytes.len() > ATTACHMENT_BYTES_MAX { Err(GrantError::TooLarge) } else { Ok(bytes) }
    }

    /// Opens a grant for `reader` in the queue of `descriptor`, after its signature by that queue's owner.
    pub fn open(bytes: &[u8], reader: &NodeKey, descriptor: &QueueDescriptor) -> Result<Self, GrantError> {
        if bytes.len() > ATTACHMENT_BYTES_MAX {
            return Err(GrantError::TooLarge);
        }
        let (body, _) = signed::split(bytes)?;
        let envelope = Envelope::decode(body)?;
        signed::verify(bytes, Label::GRANT, &descriptor.signing_key)?;
        if envelope.queue != descriptor.id() {
            return Err(GrantError::OtherQueue);
        }
        let info = info(&envelope.queue, &reader.card(), envelope.epoch);
        let plaintext = reader.exchange().open(&info, &envelope.sealed).ok_or(GrantError::OtherReader)?;
        let grant = Self::decode(&plaintext)?;
        if (grant.queue, grant.epoch) != (envelope.queue, envelope.epoch) {
            return Err(GrantError::Malformed(DecodeError::Invalid("envelope and grant differ")));
        }
        Ok(grant)
    }

    /// The secret of `epoch`, if this grant has it.
    pub fn secret(&self, epoch: Epoch) -> Option<&EpochSecret> {
        self.secrets.iter().find(|secret| secret.epoch == epoch)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.secrets.len() > HEAD_EPOCHS_MAX || !self.secrets.is_sorted_by(|a, b| a.epoch < b.epoch) {
            return Err(DecodeError::Invalid("a grant has at most 64 epochs in ascending order"));
        }
        if self.secret(self.epoch).is_none() {
            return Err(DecodeError::Invalid("a grant holds the secret of its epoch"));
        }
        if self.locator.len() > LOCATOR_BYTES_MAX || self.floor_head.len() > HEAD_BYTES_MAX {
            return Err(DecodeError::Invalid("a field of the grant exceeds its cap"));
        }
        Ok(())
    }
}

/// The plaintext; what is sealed to the reader.
impl Object for Grant {
    const NAME: &'static str = "grant";

    fn write(&self, out: &mut Encoder) {
        out.queue_id(&self.queue);
        out.epoch(self.epoch);
        out.raw(&self.seed);
        out.count(self.secrets.len());
        self.secrets.iter().for_each(|secret| secret.write(out));
        out.bytes(self.locator.as_bytes());
        out.bytes(&self.floor_head);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (queue, epoch, seed) = (input.queue_id()?, input.epoch()?, input.array("pseudonym seed")?);
        let count = input.count(HEAD_EPOCHS_MAX, "epochs")?;
        let secrets = (0..count).map(|_| EpochSecret::read(input)).collect::<Result<_, _>>()?;
        let locator = input.text(LOCATOR_BYTES_MAX, "locator")?.to_owned();
        let floor_head = Bytes::copy_from_slice(input.bytes(HEAD_BYTES_MAX, "floor head")?);
        let grant = Self { queue, epoch, secrets, seed, locator, floor_head };
        grant.check()?;
        Ok(grant)
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl ZeroizeOnDrop for Grant {}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grant({}, epoch {}, {} epochs, [secret])", self.queue, self.epoch, self.secrets.len())
    }
}

impl From<DecodeError> for GrantError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooNew { .. } => Self::TooNew,
            error => Self::Malformed(error),
        }
    }
}

impl From<SignedError> for GrantError {
    fn from(error: SignedError) -> Self {
        match error {
            SignedError::Malformed(error) => error.into(),
            SignedError::Signature => Self::Signature,
        }
    }
}

/// Name of an attachment, by which an access row refers to it.
pub fn attachment_hash(bytes: &[u8]) -> ContentHash {
    ContentHash::new(Label::ATTACHMENT.hash(&[bytes]))
}

/// What a broker sees of a grant. It names no reader: that would link pseudonyms to nodes.
struct Envelope {
    queue: QueueId,
    epoch: Epoch,
    sealed: Vec<u8>,
}

impl Object for Envelope {
    const NAME: &'static str = "sealed grant";

    fn write(&self, out: &mut Encoder) {
        out.queue_id(&self.queue);
        out.epoch(self.epoch);
        out.bytes(&self.sealed);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { queue: input.queue_id()?, epoch: input.epoch()?, sealed: input.bytes(ATTACHMENT_BYTES_MAX, "sealed grant")?.to_vec() })
    }
}

fn info(queue: &QueueId, reader: &Card, epoch: Epoch) -> Vec<u8> {
    exchange::info(Label::GRANT, &[queue.bytes(), &reader.hash(), &epoch.value().to_be_bytes()])
}

#[cfg(test)]
mod tests;
