//! A node key as a file: two lines of text, sealed under a passphrase if there is one.
//!
//! The first line names the format. The second is base64 of: version, protection, then either the seed or
//! argon2id parameters, salt, nonce and sealed seed; last a checksum, so that a damaged file is told from a wrong passphrase.
//! Without a passphrase the file is the node: whoever reads it is that node.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use data_encoding::BASE64;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::codec::{DecodeError, Decoder, Encoder, VERSION};
use crate::entropy::Entropy;
use crate::key::NodeKey;
use crate::label::Label;

/// First line up to its version.
const MAGIC: &str = "tidings node key ";
/// Longest file that is read, bytes.
const FILE_BYTES_MAX: usize = 1024;
const OPEN: u8 = 0;
const SEALED: u8 = 1;
const SEED_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 16;
/// Room for every body that is written.
const BODY_BYTES_MAX: usize = 256;

/// Why bytes are not a node key that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The bytes are not what was written, whatever the passphrase.
    #[error("the key file is damaged or is no key file")]
    Damaged,
    /// It is sealed and no passphrase was given.
    #[error("the key file needs its passphrase")]
    PassphraseNeeded,
    /// It is sealed under another passphrase.
    #[error("the passphrase is wrong")]
    PassphraseWrong,
    /// A newer version of this program wrote it.
    #[error("the key file needs a newer version of this program")]
    TooNew,
    /// There is not enough memory to turn the passphrase into a key.
    #[error("not enough memory to open the key file")]
    Memory,
}

/// Cost of turning a passphrase into a key. RFC 9106, section 4, second recommended option.
#[derive(Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// A file must not take the memory or the day of whoever opens it.
    const MAX: Self = Self { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

    fn write(self, out: &mut Encoder) {
        out.u32(self.memory_kib);
        out.u32(self.passes);
        out.u32(self.lanes);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, KeyFileError> {
        let cost = Self { memory_kib: input.u32("memory")?, passes: input.u32("passes")?, lanes: input.u32("lanes")? };
        let capped = cost.memory_kib <= Self::MAX.memory_kib && cost.passes <= Self::MAX.passes && cost.lanes <= Self::MAX.lanes;
        capped.then_some(cost).ok_or(KeyFileError::Damaged)
    }

    fn key(self, passphrase: &[u8], salt: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| KeyFileError::Damaged)?;
        let mut stretched = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, &mut *stretched)
            .map_err(|_| KeyFileError::Memory)?;
        Ok(Zeroizing::new(Label::KEY_FILE.hash(&[&*stretched])))
    }
}

/// The file of `key`, sealed if there is a passphrase (64 MiB of memory, about a tenth of a second).
pub fn seal(key: &NodeKey, passphrase: Option<&[u8]>, entropy: &mut Entropy) -> Zeroizing<Vec<u8>> {
    let mut out = Encoder::with_capacity(BODY_BYTES_MAX);
    out.u8(VERSION);
    match passphrase {
        None => {
            out.u8(OPEN);
            out.raw(key.seed());
        }
        Some(passphrase) => write_sealed(&mut out, key, passphrase, entropy),
    }
    let mut body = Zeroizing::new(out.finish());
    let checksum = checksum(&body);
    body.extend_from_slice(&checksum);
    Zeroizing::new(format!("{MAGIC}{VERSION}\n{}\n", &*Zeroizing::new(BASE64.encode(&body))).into_bytes())
}

/// The node key in a file.
pub fn open(file: &[u8], passphrase: Option<&[u8]>) -> Result<NodeKey, KeyFileError> {
    let body = body(file)?;
    let mut input = Decoder::new(&body);
    input.u8("version")?;
    match input.u8("protection")? {
        OPEN => {
            let seed = Zeroizing::new(input.array("seed")?);
            input.finish()?;
            Ok(NodeKey::from_seed(*seed))
        }
        SEALED => open_sealed(input, passphrase.ok_or(KeyFileError::PassphraseNeeded)?),
        _ => Err(KeyFileError::TooNew),
    }
}

/// Whether the file needs a passphrase. False for what is no key file.
pub fn is_sealed(file: &[u8]) -> bool {
    body(file).is_ok_and(|body| body.get(1) == Some(&SEALED))
}

fn write_sealed(out: &mut Encoder, key: &NodeKey, passphrase: &[u8], entropy: &mut Entropy) {
    let cost = Cost::DEFAULT;
    let (salt, nonce) = (entropy.bytes::<16>(), entropy.bytes::<24>());
    let mut sealed = Zeroizing::new(Vec::with_capacity(SEED_BYTES + TAG_BYTES));
    sealed.extend_from_slice(key.seed());
    let key = cost.key(passphrase, &salt).expect("the default cost is valid and 64 MiB can be had");
    XChaCha20Poly1305::new((&*key).into())
        .encrypt_in_place(&nonce.into(), Label::KEY_FILE.text().as_bytes(), &mut *sealed)
        .expect("a seed is far below the cipher's limit");
    out.u8(SEALED);
    cost.write(out);
    out.raw(&salt);
    out.raw(&nonce);
    out.raw(&sealed);
}

fn open_sealed(mut input: Decoder<'_>, passphrase: &[u8]) -> Result<NodeKey, KeyFileError> {
    let cost = Cost::read(&mut input)?;
    let (salt, nonce) = (input.array("salt")?, input.array::<24>("nonce")?);
    let mut seed = Zeroizing::new(input.raw(SEED_BYTES + TAG_BYTES, "sealed seed")?.to_vec());
    input.finish()?;
    XChaCha20Poly1305::new((&*cost.key(passphrase, &salt)?).into())
        .decrypt_in_place(&nonce.into(), Label::KEY_FILE.text().as_bytes(), &mut *seed)
        .map_err(|_| KeyFileError::PassphraseWrong)?;
    let seed = <[u8; SEED_BYTES]>::try_from(seed.as_slice()).map_err(|_| KeyFileError::Damaged)?;
    Ok(NodeKey::from_seed(seed))
}

/// The second line, decoded, checked against its checksum and without it. Line ends may be those of any editor.
fn body(file: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    if file.len() > FILE_BYTES_MAX {
        return Err(KeyFileError::Damaged);
    }
    let mut lines = std::str::from_utf8(file).map_err(|_| KeyFileError::Damaged)?.lines();
    check_version(lines.next().unwrap_or_default())?;
    let encoded = lines.next().ok_or(KeyFileError::Damaged)?;
    if lines.next().is_some() {
        return Err(KeyFileError::Damaged);
    }
    let mut body = Zeroizing::new(BASE64.decode(encoded.as_bytes()).map_err(|_| KeyFileError::Damaged)?);
    let length = body.len().checked_sub(CHECKSUM_BYTES).ok_or(KeyFileError::Damaged)?;
    let intact: bool = checksum(&body[..length]).ct_eq(&body[length..]).into();
    if !intact {
        return Err(KeyFileError::Damaged);
    }
    body.truncate(length);
    match body.first() {
        Some(&VERSION) => Ok(body),
        _ => Err(KeyFileError::TooNew),
    }
}

fn check_version(line: &str) -> Result<(), KeyFileError> {
    let version = line.strip_prefix(MAGIC).ok_or(KeyFileError::Damaged)?;
    match version.parse::<u32>() {
        Ok(number) if version == VERSION.to_string() && number == u32::from(VERSION) => Ok(()),
        Ok(number) if number > u32::from(VERSION) => Err(KeyFileError::TooNew),
        _ => Err(KeyFileError::Damaged),
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&Label::KEY_FILE_CHECKSUM.hash(&[body])[..CHECKSUM_BYTES]);
    checksum
}

impl From<DecodeError> for KeyFileError {
    fn from(_: DecodeError) -> Self {
        Self::Damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::flips;
    use std::sync::LazyLock;

    /// Made once: it takes a tenth of a second.
    static SEALED_FILE: LazyLock<Vec<u8>> = LazyLock::new(|| file(PASSPHRASE));
    const PASSPHRASE: Option<&[u8]> = Some(b"correct horse");

    fn node() -> NodeKey {
        NodeKey::from_seed([1; 32])
    }

    fn file(passphrase: Option<&[u8]>) -> Vec<u8> {
        seal(&node(), passphrase, &mut Entropy::new([2; 32])).to_vec()
    }

    fn opened(file: &[u8], passphrase: Option<&[u8]>) -> Result<[u8; 32], KeyFileError> {
        open(file, passphrase).map(|key| *key.seed())
    }

    /// A file with another body whose checksum is right.
    fn rewritten(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut body = body(&SEALED_FILE).expect("a key file").to_vec();
        change(&mut body);
        let checksum = checksum(&body);
        body.extend_from_slice(&checksum);
        format!("{MAGIC}1\n{}\n", BASE64.encode(&body)).into_bytes()
    }

    #[test]
    fn a_key_without_a_passphrase_is_read_back() {
        assert_eq!(opened(&file(None), None), Ok([1; 32]));
        assert!(!is_sealed(&file(None)));
    }

    #[test]
    fn a_sealed_key_is_read_back_with_its_passphrase() {
        assert_eq!(opened(&SEALED_FILE, PASSPHRASE), Ok([1; 32]));
        assert!(is_sealed(&SEALED_FILE));
    }

    #[test]
    fn a_sealed_key_needs_its_passphrase() {
        assert_eq!(opened(&SEALED_FILE, None), Err(KeyFileError::PassphraseNeeded));
        assert_eq!(opened(&SEALED_FILE, Some(b"other")), Err(KeyFileError::PassphraseWrong));
    }

    #[test]
    fn a_sealed_file_does_not_hold_the_seed() {
        let body = body(&SEALED_FILE).expect("a key file");
        assert!(!body.windows(8).any(|window| window == [1; 8]));
    }

    #[test]
    fn a_file_with_any_flipped_bit_is_refused_as_damaged() {
        for file in [file(None), SEALED_FILE.clone()] {
            // A flipped version is one that a later program may have written.
            let first_line = MAGIC.len() * 8..(MAGIC.len() + 1) * 8;
            for (bit, flipped) in flips(&file).enumerate().filter(|(bit, _)| !first_line.contains(bit)) {
                assert_eq!(opened(&flipped, PASSPHRASE), Err(KeyFileError::Damaged), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_truncated_or_extended_file_is_damaged() {
        let file = file(None);
        for length in 0..file.len() - 1 {
            assert_eq!(opened(&file[..length], None), Err(KeyFileError::Damaged));
        }
        assert_eq!(opened(&[file.as_slice(), b"\n\n"].concat(), None), Err(KeyFileError::Damaged));
        assert_eq!(opened(&[0; 1 << 20], None), Err(KeyFileError::Damaged));
    }

    /// A key is precious: an editor or a mail that changed the line ends has not lost it.
    #[test]
    fn line_ends_of_any_editor_are_read() {
        let text = String::from_utf8(file(None)).expect("text");
        assert_eq!(opened(text.replace('\n', "\r\n").as_bytes(), None), Ok([1; 32]));
        assert_eq!(opened(text.trim_end().as_bytes(), None), Ok([1; 32]));
    }

    /// [P-20]
    #[test]
    fn a_file_of_a_later_version_is_named_too_new() {
        let text = String::from_utf8(file(None)).expect("text");
        assert_eq!(opened(text.replacen("key 1", "key 2", 1).as_bytes(), None), Err(KeyFileError::TooNew));
        assert_eq!(opened(&rewritten(|body| body[0] = 2), PASSPHRASE), Err(KeyFileError::TooNew));
        assert_eq!(opened(&rewritten(|body| body[1] = 2), PASSPHRASE), Err(KeyFileError::TooNew));
    }

    /// A prepared file must not take all memory or the whole day.
    #[test]
    fn costs_beyond_their_caps_are_not_paid() {
        for field in [2..6, 6..10, 10..14] {
            let file = rewritten(|body| body[field.clone()].fill(0xff));
            assert_eq!(opened(&file, PASSPHRASE), Err(KeyFileError::Damaged));
            let file = rewritten(|body| body[field.clone()].fill(0));
            assert_eq!(opened(&file, PASSPHRASE), Err(KeyFileError::Damaged));
        }
    }

    #[test]
    fn two_files_of_one_key_have_nothing_in_common() {
        let [first, second] = [[2; 32], [3; 32]].map(|seed| body(&seal(&node(), PASSPHRASE, &mut Entropy::new(seed))).expect("a key file"));
        assert_ne!(first[14..], second[14..]);
    }
}
