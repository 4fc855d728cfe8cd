//! Sealing a mutation into an entry, and opening it again.

use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use tidings_proto::caps::ENTRY_BYTES_MAX;
use tidings_proto::{Birth, Epoch, Offset, QueueId, Term};
use zeroize::Zeroizing;

use crate::codec::{DecodeError, Decoder, Encoder, Object, VERSION};
use crate::entropy::Entropy;
use crate::entry::{CIPHERTEXT_BYTES_MAX, Entry};
use crate::epoch::EpochSecret;
use crate::label::Label;
use crate::mutation::Mutation;

/// Poly1305 tag behind the ciphertext.
const TAG_BYTES: usize = 16;
/// Shortest padded plaintext: an ordinary small record, so that a delete looks like an update. [P-1]
const PADDED_BYTES_MIN: usize = 256;
/// Length of the mutation, before it.
const LENGTH_BYTES: usize = 4;

/// Where an entry will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Term of the writer.
    pub term: Term,
    /// Offset of the entry.
    pub offset: Offset,
    /// Birth of its record: this offset or that of a live entry.
    pub birth: Birth,
}

/// Why a mutation cannot be sealed. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The padded entry would exceed [`ENTRY_BYTES_MAX`].
    #[error("the record's metadata is too large for one entry")]
    TooLarge,
    /// No reader would accept it.
    #[error("the mutation is not valid: {0}")]
    Invalid(#[from] DecodeError),
}

/// Why an entry of a verified set does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not sealed under this secret, at this place, in this queue.
    #[error("the entry is not sealed under this epoch's secret")]
    Unauthentic,
    /// Sealed by a newer version of this program. [P-20]
    #[error("the entry needs a newer version of this program")]
    TooNew,
    /// The owner sealed something that is no mutation.
    #[error("the entry holds no mutation: {0}")]
    Malformed(DecodeError),
}

/// Seals `mutation` for `place`: padded, encrypted, bound to everything else in the entry, to the queue and the version. [P-1]
///
/// The nonce hashes a key of the epoch, the place, fresh randomness and the plaintext: it differs if any of them does, so neither a bad
/// generator nor a restored backup repeats one for different content.
pub fn seal(secret: &EpochSecret, queue: &QueueId, place: Place, mutation: &Mutation, entropy: &mut Entropy) -> Result<Entry, SealError> {
    Sealer::new(secret, queue).seal(place, mutation, entropy)
}

/// Seals entries of one epoch and queue: the keys are derived once for all of them.
pub(crate) struct Sealer {
    epoch: Epoch,
    queue: QueueId,
    cipher: XChaCha20Poly1305,
    nonce_key: Zeroizing<[u8; 32]>,
}

impl Sealer {
    pub(crate) fn new(secret: &EpochSecret, queue: &QueueId) -> Self {
        Self { epoch: secret.epoch, queue: *queue, cipher: cipher(secret, queue), nonce_key: secret.nonce_key(queue) }
    }

    /// See [`seal`].
    pub(crate) fn seal(&self, place: Place, mutation: &Mutation, entropy: &mut Entropy) -> Result<Entry, SealError> {
        mutation.check()?;
        let mut sealed = pad(mutation)?;
        let Place { term, offset, birth } = place;
        let nonce = nonce(&self.nonce_key, place, &sealed, entropy);
        let mut entry = Entry { term, offset, birth, epoch: self.epoch, nonce, ciphertext: Bytes::new() };
        self.cipher
            .encrypt_in_place(&nonce.into(), &entry.associated_data(&self.queue), &mut *sealed)
            .expect("an entry is far below the cipher's limit of 256 GiB");
        entry.ciphertext = std::mem::take(&mut *sealed).into();
        Ok(entry)
    }
}

/// Opens entries of one queue and of any of these epochs: each key is derived once.
pub(crate) struct Openers {
    queue: QueueId,
    epochs: Vec<(Epoch, XChaCha20Poly1305)>,
}

impl Openers {
    pub(crate) fn new(secrets: &[EpochSecret], queue: &QueueId) -> Self {
        Self { queue: *queue, epochs: secrets.iter().map(|secret| (secret.epoch, cipher(secret, queue))).collect() }
    }

    /// The mutation, and how it was encoded. `None` without the secret of its epoch. See [`open`].
    pub(crate) fn open(&self, entry: &Entry) -> Option<Result<(Mutation, Bytes), OpenError>> {
        let (_, cipher) = self.epochs.iter().find(|(epoch, _)| *epoch == entry.epoch)?;
        let opened = plaintext(cipher, &self.queue, entry)
            .and_then(|plaintext| read(&plaintext).map(|(mutation, bytes)| (mutation, Bytes::copy_from_slice(bytes))));
        Some(opened)
    }
}

/// Whether the mutation, sealed, is within the length of an entry.
pub(crate) fn fits(mutation: &Mutation) -> bool {
    pad(mutation).is_ok()
}

/// Opens an entry sealed for this queue under `secret`. Callers verify the set first, so that only an owner can cause any of the errors.
pub fn open(secret: &EpochSecret, queue: &QueueId, entry: &Entry) -> Result<Mutation, OpenError> {
    let plaintext = plaintext(&cipher(secret, queue), queue, entry)?;
    read(&plaintext).map(|(mutation, _)| mutation)
}

fn plaintext(cipher: &XChaCha20Poly1305, queue: &QueueId, entry: &Entry) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut plaintext = Zeroizing::new(entry.ciphertext.to_vec());
    cipher.decrypt_in_place(&entry.nonce.into(), &entry.associated_data(queue), &mut *plaintext).map_err(|_| OpenError::Unauthentic)?;
    Ok(plaintext)
}

/// The mutation, and where it is encoded.
fn read(plaintext: &[u8]) -> Result<(Mutation, &[u8]), OpenError> {
    unpad(plaintext).and_then(|bytes| Ok((Mutation::decode(bytes)?, bytes))).map_err(|error| match error {
        DecodeError::TooNew { .. } => OpenError::TooNew,
        error => OpenError::Malformed(error),
    })
}

fn cipher(secret: &EpochSecret, queue: &QueueId) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*secret.seal_key(queue)).into())
}

fn nonce(key: &[u8; 32], place: Place, plaintext: &[u8], entropy: &mut Entropy) -> [u8; 24] {
    let hash = Label::NONCE.hash(&[
        key,
        &place.term.value().to_be_bytes(),
        &place.offset.value().to_be_bytes(),
        &place.birth.value().to_be_bytes(),
        &entropy.bytes::<32>(),
        &Label::PLAINTEXT.hash(&[plaintext]),
    ]);
    let mut nonce = [0; 24];
    nonce.copy_from_slice(&hash[..24]);
    nonce
}

/// Length, mutation, zeros; with room for the tag. Written where it is sealed: nothing of it is left in a buffer that was outgrown, and
/// no second one has to be zeroized.
fn pad(mutation: &Mutation) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut out = Encoder::with_capacity(room(mutation));
    out.u32(0);
    out.u8(VERSION);
    mutation.write(&mut out);
    let mut plaintext = Zeroizing::new(out.finish());
    let padded = padded_bytes(plaintext.len());
    if padded + TAG_BYTES > CIPHERTEXT_BYTES_MAX {
        return Err(SealError::TooLarge);
    }
    let length = (plaintext.len() - LENGTH_BYTES) as u32;
    plaintext[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    plaintext.resize(padded, 0);
    Ok(plaintext)
}

/// What the padded mutation takes at most, with its tag.
fn room(mutation: &Mutation) -> usize {
    padded_bytes(LENGTH_BYTES + 1 + mutation.encoded_bytes_max()) + TAG_BYTES
}

fn unpad(plaintext: &[u8]) -> Result<&[u8], DecodeError> {
    let mut input = Decoder::new(plaintext);
    let mutation = input.bytes(ENTRY_BYTES_MAX, "mutation")?;
    // One mutation has one padding: its length and content carry nothing.
    if plaintext.len() != padded_bytes(LENGTH_BYTES + mutation.len()) || input.rest().iter().any(|byte| *byte != 0) {
        return Err(DecodeError::Invalid("the padding is not canonical"));
    }
    Ok(mutation)
}

/// Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019, section 4):
/// a length tells at most log log of its bits; the overhead stays below 12 percent. Never below [`PADDED_BYTES_MIN`].
pub(crate) fn padded_bytes(bytes: usize) -> usize {
    let bytes = bytes.max(PADDED_BYTES_MIN);
    let exponent = bytes.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - kept)) - 1;
    (bytes + mask) & !mask
}

#[cfg(test)]
mod tests;
