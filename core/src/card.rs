//! The public card of a node: what an owner needs to grant it something.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::SigningKey;
use tidings_proto::VerifyingKey;

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::did::Did;
use crate::exchange::{self, PUBLIC_KEY_BYTES};
use crate::key;
use crate::label::Label;
use crate::line::{self, LineError};

const PREFIX: &str = "tidings-card:";
/// Longest encoded card, bytes; every card of version 1 has this length.
pub(crate) const CARD_BYTES_MAX: usize = 1 + 32 + PUBLIC_KEY_BYTES + 32 + 64;

/// Public keys of a node under its own signature.
///
/// Text form: one line `tidings-card:<base64url>`. A card that was decoded or parsed has a valid signature; whether it is the
/// right person's is what people compare the [`Fingerprint`] for.
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    /// Ed25519 key of the node: who it is.
    pub verifying_key: VerifyingKey,
    /// X-Wing public key: what grants are sealed to.
    pub exchange_key: Box<[u8; PUBLIC_KEY_BYTES]>,
    /// Commitment to the recovery key. Reserved: nothing uses it yet.
    pub recovery_key: [u8; 32],
    signature: [u8; 64],
}

impl Card {
    pub(crate) fn sign(key: &SigningKey, exchange_key: Box<[u8; PUBLIC_KEY_BYTES]>, recovery_key: [u8; 32]) -> Self {
        let mut card = Self { verifying_key: key::public(key), exchange_key, recovery_key, signature: [0; 64] };
        card.signature = Label::CARD.sign(key, &card.body());
        card
    }

    /// The node's name.
    pub fn did(&self) -> Did {
        Did(self.verifying_key)
    }

    /// What two people compare before one grants the other something: 200 bits of the hash of all public keys.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut short = [0; Fingerprint::BYTES];
        short.copy_from_slice(&self.hash()[..Fingerprint::BYTES]);
        Fingerprint(short)
    }

    /// Hash of everything but the signature.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Label::FINGERPRINT.hash(&[&self.body()])
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(crate::codec::VERSION);
        self.write_body(&mut out);
        out.finish()
    }

    fn write_body(&self, out: &mut Encoder) {
        out.verifying_key(&self.verifying_key);
        out.raw(self.exchange_key.as_slice());
        out.raw(&self.recovery_key);
    }
}

impl Object for Card {
    const NAME: &'static str = "card";

    fn write(&self, out: &mut Encoder) {
        self.write_body(out);
        out.raw(&self.signature);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let verifying_key = input.verifying_key()?;
        let mut exchange_key = Box::new([0; PUBLIC_KEY_BYTES]);
        exchange_key.copy_from_slice(input.raw(PUBLIC_KEY_BYTES, "exchange key")?);
        let card = Self { verifying_key, exchange_key, recovery_key: input.array("recovery key")?, signature: input.array("signature")? };
        if !Label::CARD.verify(&card.verifying_key, &card.body(), &card.signature) {
            return Err(DecodeError::Invalid("the card's signature does not verify"));
        }
        if !exchange::is_public_key(&card.exchange_key) {
            return Err(DecodeError::Invalid("the card's exchange key is none"));
        }
        Ok(card)
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line::write(PREFIX, &self.encode()))
    }
}

impl FromStr for Card {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        Ok(Self::decode(&line::read(PREFIX, CARD_BYTES_MAX, text)?)?)
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Card({})", self.did())
    }
}

/// 200 bits that stand for a card.
///
/// Text form: eight groups of five base32 characters, lower case. Read with any case and any spaces or hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Fingerprint::BYTES]);

impl Fingerprint {
    const BYTES: usize = 25;
    const GROUP: usize = 5;
}

/// The text is not eight groups of five base32 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is eight groups of five characters a-z and 2-7")]
pub struct FingerprintError;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE32_NOPAD.encode(&self.0).to_ascii_lowercase();
        for (place, character) in text.chars().enumerate() {
            if place > 0 && place % Self::GROUP == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut compact = text.to_ascii_uppercase();
        compact.retain(|character| !character.is_whitespace() && character != '-');
        let bytes = BASE32_NOPAD.decode(compact.as_bytes()).map_err(|_| FingerprintError)?;
        bytes.try_into().map(Self).map_err(|_| FingerprintError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;
    use crate::object_laws::{assert_one_encoding, flips};

    fn card() -> Card {
        NodeKey::from_seed([1; 32]).card()
    }

    #[test]
    fn a_card_has_one_encoding_of_one_length() {
        assert_one_encoding(&card());
        assert_eq!(card().encode().len(), CARD_BYTES_MAX);
    }

    #[test]
    fn a_card_is_one_line_of_text() {
        let text = card().to_string();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text.parse(), Ok(card()));
    }

    #[test]
    fn a_card_with_any_flipped_bit_is_refused() {
        let text = card().to_string();
        let accepted = flips(text.as_bytes()).filter_map(|line| String::from_utf8(line).ok()).find(|line| line.parse::<Card>().is_ok());
        assert_eq!(accepted, None);
    }

    /// The owner would seal to a key that somebody else put in.
    #[test]
    fn a_card_with_another_exchange_key_is_refused() {
        let mut forged = card();
        forged.exchange_key = NodeKey::from_seed([2; 32]).card().exchange_key;
        assert!(matches!(Card::decode(&forged.encode()), Err(DecodeError::Invalid(_))));
    }

    /// Sealing to such a card would fail later, in the middle of a change of access.
    #[test]
    fn a_signed_card_whose_exchange_key_is_none_is_refused() {
        let forged = Card::sign(NodeKey::from_seed([1; 32]).signing(), Box::new([0xff; PUBLIC_KEY_BYTES]), [0; 32]);
        assert_eq!(Card::decode(&forged.encode()), Err(DecodeError::Invalid("the card's exchange key is none")));
    }

    #[test]
    fn a_fingerprint_is_eight_groups_of_five_characters() {
        let text = card().fingerprint().to_string();
        assert!(text.split(' ').all(|group| group.len() == 5));
        assert_eq!(text.split(' ').count(), 8);
    }

    #[test]
    fn a_fingerprint_is_read_in_any_case_and_spacing() {
        let fingerprint = card().fingerprint();
        let text = fingerprint.to_string();
        for variant in [text.clone(), text.to_uppercase(), text.replace(' ', ""), text.replace(' ', "-"), format!("  {text}\n")] {
            assert_eq!(variant.parse(), Ok(fingerprint));
        }
    }

    #[test]
    fn a_short_or_foreign_fingerprint_is_refused() {
        let text = card().fingerprint().to_string();
        for variant in [&text[..40], "", "01890 01890 01890 01890 01890 01890 01890 01890"] {
            assert_eq!(variant.parse::<Fingerprint>(), Err(FingerprintError));
        }
    }

    #[test]
    fn every_public_key_of_a_card_is_in_its_fingerprint() {
        let mut other = card();
        other.recovery_key[0] ^= 1;
        assert_ne!(other.fingerprint(), card().fingerprint());
        other = card();
        other.exchange_key[0] ^= 1;
        assert_ne!(other.fingerprint(), card().fingerprint());
    }
}
