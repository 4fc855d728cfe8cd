//! Who may read a queue: rows that the owner signs through the head, and what the owner keeps about each reader.

use bytes::Bytes;
use tidings_proto::caps::{ATTACHMENT_BYTES_MAX, NAME_BYTES_MAX};
use tidings_proto::{ContentHash, Pseudonym, QueueId};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::card::{CARD_BYTES_MAX, Card};
use crate::codec::{DecodeError, Decoder, Encoder, Object, VERSION};
use crate::entropy::Entropy;
use crate::exchange;
use crate::key::NodeKey;
use crate::label::Label;

/// Encoded copy before sealing, bytes; the same for every reader.
const COPY_BYTES: usize = 1 + CARD_BYTES_MAX + 32 + 4 + NAME_BYTES_MAX;

/// What a row allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rights {
    /// Subscribe and acknowledge.
    Read,
    /// The owner's own row.
    Owner,
}

/// One row of an access list. The head commits to the set of all of them. [P-17]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRow {
    /// Who, as the broker knows it.
    pub pseudonym: Pseudonym,
    /// What it may do.
    pub rights: Rights,
    /// Newest grant of this reader.
    pub grant: ContentHash,
    /// The owner's copy about this reader.
    pub owner_copy: ContentHash,
}

impl Object for AccessRow {
    const NAME: &'static str = "access-row";

    fn write(&self, out: &mut Encoder) {
        out.pseudonym(&self.pseudonym);
        out.u8(match self.rights {
            Rights::Read => 1,
            Rights::Owner => 2,
        });
        out.content_hash(&self.grant);
        out.content_hash(&self.owner_copy);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let pseudonym = input.pseudonym()?;
        let rights = match input.u8("rights")? {
            1 => Rights::Read,
            2 => Rights::Owner,
            _ => return Err(DecodeError::Invalid("unknown rights")),
        };
        Ok(Self { pseudonym, rights, grant: input.content_hash()?, owner_copy: input.content_hash()? })
    }
}

/// What an owner restored from its key alone needs to grant a reader again. The seed is zeroized on drop.
///
/// Sealed to the owner itself. It is not signed: anybody can seal to an owner's card, so a copy counts only if its hash is the one that an access
/// row of a signed head names.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerCopy {
    /// The reader's card.
    pub card: Card,
    /// Seed of its pseudonym.
    pub seed: [u8; 32],
    /// What the owner calls it; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
}

/// Why bytes are not an owner's copy, or why one cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerCopyError {
    /// The name exceeds [`NAME_BYTES_MAX`], or the bytes exceed [`ATTACHMENT_BYTES_MAX`].
    #[error("the name is too long")]
    TooLarge,
    /// Not sealed to this owner for this queue.
    #[error("the copy is not sealed to this owner and queue")]
    Unauthentic,
    /// It holds something else.
    #[error("the copy is damaged: {0}")]
    Malformed(#[from] DecodeError),
}

impl OwnerCopy {
    /// Seals to the owner, for `queue`. Every copy has the same length.
    pub fn seal(&self, owner: &NodeKey, queue: &QueueId, entropy: &mut Entropy) -> Result<Bytes, OwnerCopyError> {
        if self.name.len() > NAME_BYTES_MAX {
            return Err(OwnerCopyError::TooLarge);
        }
        let mut out = Encoder::with_capacity(COPY_BYTES);
        out.u8(VERSION);
        self.write(&mut out);
        let plaintext = Zeroizing::new(out.finish());
        let sealed = exchange::seal(&owner.exchange().public_key(), &info(queue), &plaintext, entropy);
        let sealed = sealed.expect("an owner's own key is a public key");
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&sealed);
        Ok(bytes.into())
    }

    /// Opens a copy of `queue`. The caller has compared its hash with the access row's.
    pub fn open(bytes: &[u8], owner: &NodeKey, queue: &QueueId) -> Result<Self, OwnerCopyError> {
        if bytes.len() > ATTACHMENT_BYTES_MAX {
            return Err(OwnerCopyError::TooLarge);
        }
        let mut input = Decoder::new(bytes);
        match input.u8("version")? {
            VERSION => {}
            found => return Err(DecodeError::TooNew { object: Self::NAME, found }.into()),
        }
        let plaintext = owner.exchange().open(&info(queue), input.rest()).ok_or(OwnerCopyError::Unauthentic)?;
        Ok(Self::decode(&plaintext)?)
    }
}

/// The plaintext. The name is filled up with zeros, or its length would tell readers apart in all queues of an owner.
impl Object for OwnerCopy {
    const NAME: &'static str = "owner-copy";

    fn write(&self, out: &mut Encoder) {
        out.raw(&self.card.encode());
        out.raw(&self.seed);
        out.bytes(self.name.as_bytes());
        out.raw(&[0; NAME_BYTES_MAX][self.name.len().min(NAME_BYTES_MAX)..]);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (card, seed) = (Card::decode_in(input)?, input.array("pseudonym seed")?);
        let name = input.text(NAME_BYTES_MAX, "name")?.to_owned();
        let filling = input.raw(NAME_BYTES_MAX - name.len(), "filling")?;
        if filling.iter().any(|byte| *byte != 0) {
            return Err(DecodeError::Invalid("the filling is not zero"));
        }
        Ok(Self { card, seed, name })
    }
}

impl Drop for OwnerCopy {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl ZeroizeOnDrop for OwnerCopy {}

impl std::fmt::Debug for OwnerCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnerCopy({:?}, [secret])", self.card)
    }
}

fn info(queue: &QueueId) -> Vec<u8> {
    exchange::info(Label::OWNER_COPY, &[queue.bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding};
    use proptest::prelude::*;

    const QUEUE: QueueId = QueueId::new([5; 32]);

    fn row(rights: Rights) -> AccessRow {
        AccessRow { pseudonym: Pseudonym::new([1; 32]), rights, grant: ContentHash::new([2; 32]), owner_copy: ContentHash::new([3; 32]) }
    }

    fn owner() -> NodeKey {
        NodeKey::from_seed([1; 32])
    }

    fn copy(name: &str) -> OwnerCopy {
        OwnerCopy { card: NodeKey::from_seed([2; 32]).card(), seed: [4; 32], name: name.into() }
    }

    fn sealed(name: &str) -> Bytes {
        copy(name).seal(&owner(), &QUEUE, &mut Entropy::new([6; 32])).expect("a short name")
    }

    /// [P-17]
    #[test]
    fn a_row_has_one_encoding() {
        for rights in [Rights::Read, Rights::Owner] {
            assert_one_encoding(&row(rights));
            assert_every_bit_counts(&row(rights));
        }
    }

    #[test]
    fn rights_that_nobody_knows_are_refused() {
        for rights in [0, 3, 255] {
            let mut bytes = row(Rights::Read).encode();
            bytes[33] = rights;
            assert_eq!(AccessRow::decode(&bytes), Err(DecodeError::Invalid("unknown rights")));
        }
    }

    #[test]
    fn a_copy_has_one_encoding() {
        assert_one_encoding(&copy("ada"));
        assert_eq!(copy("ada").encode().len(), COPY_BYTES);
    }

    #[test]
    fn an_owner_restored_from_its_seed_opens_its_copies() {
        assert_eq!(OwnerCopy::open(&sealed("ada"), &owner(), &QUEUE), Ok(copy("ada")));
    }

    #[test]
    fn a_copy_opens_for_its_owner_and_queue_only() {
        let other = NodeKey::from_seed([9; 32]);
        assert_eq!(OwnerCopy::open(&sealed("ada"), &other, &QUEUE), Err(OwnerCopyError::Unauthentic));
        assert_eq!(OwnerCopy::open(&sealed("ada"), &owner(), &QueueId::ZERO), Err(OwnerCopyError::Unauthentic));
    }

    #[test]
    fn a_copy_with_a_changed_byte_does_not_open() {
        let bytes = sealed("ada");
        for place in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.to_vec();
            changed[place] ^= 1 << (place % 8);
            assert!(OwnerCopy::open(&changed, &owner(), &QUEUE).is_err(), "byte {place}");
        }
    }

    /// [P-1] The broker would tell readers apart by the length of their names.
    #[test]
    fn all_copies_have_the_same_length() {
        assert_eq!(sealed("").len(), sealed(&"n".repeat(NAME_BYTES_MAX)).len());
    }

    #[test]
    fn filling_that_carries_something_is_refused() {
        let mut bytes = copy("ada").encode();
        *bytes.last_mut().expect("filling") = 1;
        assert_eq!(OwnerCopy::decode(&bytes), Err(DecodeError::Invalid("the filling is not zero")));
    }

    #[test]
    fn a_name_beyond_its_cap_is_refused() {
        let long = copy(&"n".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(long.seal(&owner(), &QUEUE, &mut Entropy::new([6; 32])), Err(OwnerCopyError::TooLarge));
    }

    #[test]
    fn debug_shows_no_seed_and_no_name() {
        let text = format!("{:?}", copy("ada"));
        assert!(text.ends_with("[secret])") && !text.contains("ada"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_copy_opens(name in "\\PC{0,16}", seed: [u8; 32]) {
            let mut copy = copy(&name);
            copy.seed = seed;
            let bytes = copy.seal(&owner(), &QUEUE, &mut Entropy::new(seed)).expect("a short name");
            prop_assert_eq!(OwnerCopy::open(&bytes, &owner(), &QUEUE), Ok(copy));
        }
    }
}
