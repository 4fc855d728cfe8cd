//! Keys by which a broker is recognised, kept in one file of its data folder.
//!
//! | bytes | content |
//! | --- | --- |
//! | 24 | `tidings-broker-identity` and a newline |
//! | 1 | version, 1 |
//! | 4 + n | TLS key, PKCS #8 |
//! | 32 | seed of the receipt key |
//! | 64 | key of stateless resets |
//! | 64 | key of retry tokens |
//! | 32 | SHA-256 of all before |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tidings_core::{DecodeError, Decoder, Did, Encoder, Object, ReceiptKey};
use zeroize::Zeroizing;

use crate::folder;

const FILE: &str = "identity";
const MAGIC: &[u8] = b"tidings-broker-identity\n";
const TLS_KEY_BYTES_MAX: usize = 1_024;
const CHECKSUM_BYTES: usize = 32;
/// More than any file of any version.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a broker has no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file is not as this program wrote it. Nothing was changed.
    #[error("{path} is damaged ({detail}); restore it from a backup, or move it away and tell every client the new address")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// A later version of this program wrote the file. Nothing was changed.
    #[error("{path} has version {found}, which this program does not know; use the newer one")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u8,
    },
    /// The file or its folder cannot be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No keys can be made.
    #[error("no keys can be made: {0}")]
    Keys(String),
}

/// The keys. They stay the same as long as the file does, so that addresses, tokens and resets outlive a restart.
pub(super) struct Identity {
    tls: KeyPair,
    secrets: Secrets,
}

/// What the file holds.
struct Secrets {
    tls: Zeroizing<Vec<u8>>,
    receipt: Zeroizing<[u8; 32]>,
    reset: Zeroizing<[u8; 64]>,
    token: Zeroizing<[u8; 64]>,
}

impl Identity {
    /// Reads the identity in `folder`; makes folder and identity if there is none.
    pub(super) fn open(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(FILE);
        let secrets = match load(&path) {
            Ok(bytes) => read(&bytes, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secrets = Secrets::generate()?;
                create(folder, &path, &secrets).map_err(|source| IdentityError::Io { path: path.clone(), source })?;
                secrets
            }
            Err(source) => return Err(IdentityError::Io { path, source }),
        };
        let tls = KeyPair::try_from(secrets.tls.as_slice())
            .map_err(|error| IdentityError::Damaged { path, detail: format!("its TLS key: {error}") })?;
        Ok(Self { tls, secrets })
    }

    /// What clients pin: SHA-256 of the TLS key's SubjectPublicKeyInfo.
    pub(super) fn pin(&self) -> [u8; 32] {
        sha256(&self.tls.subject_public_key_info())
    }

    /// The key of receipts.
    pub(super) fn receipt_key(&self) -> ReceiptKey {
        ReceiptKey::from_seed(*self.secrets.receipt)
    }

    /// A certificate over the TLS key, which names the receipt key. Made anew at every start: clients look at the key alone.
    pub(super) fn certificate(&self) -> Result<CertificateDer<'static>, IdentityError> {
        let keys = |error: rcgen::Error| IdentityError::Keys(error.to_string());
        let mut parameters = CertificateParams::new(vec!["tidings".to_owned()]).map_err(keys)?;
        let receipt = Did(self.receipt_key().verifying_key()).to_string();
        parameters.subject_alt_names.push(SanType::URI(receipt.as_str().try_into().map_err(keys)?));
        Ok(parameters.self_signed(&self.tls).map_err(keys)?.der().clone())
    }

    /// The private TLS key.
    pub(super) fn tls_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.secrets.tls.to_vec()).into()
    }

    /// Key of stateless resets.
    pub(super) fn reset_key(&self) -> &[u8; 64] {
        &self.secrets.reset
    }

    /// Key of retry and validation tokens.
    pub(super) fn token_key(&self) -> &[u8; 64] {
        &self.secrets.token
    }
}

impl Secrets {
    fn generate() -> Result<Self, IdentityError> {
        let tls = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| IdentityError::Keys(error.to_string()))?;
        Ok(Self { tls: Zeroizing::new(tls.serialize_der()), receipt: random()?, reset: random()?, token: random()? })
    }
}

impl Object for Secrets {
    const NAME: &'static str = "broker identity";

    fn write(&self, out: &mut Encoder) {
        out.bytes(&self.tls);
        out.raw(&*self.receipt);
        out.raw(&*self.reset);
        out.raw(&*self.token);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            tls: Zeroizing::new(input.bytes(TLS_KEY_BYTES_MAX, "TLS key")?.to_vec()),
            receipt: Zeroizing::new(input.array("receipt key")?),
            reset: Zeroizing::new(input.array("reset key")?),
            token: Zeroizing::new(input.array("token key")?),
        })
    }
}

/// A regular file up to its cap: a pipe would be waited for without end, and a longer one is cut, so that its checksum does not fit.
fn load(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read(bytes: &[u8], path: &Path) -> Result<Secrets, IdentityError> {
    let damaged = |detail: &str| IdentityError::Damaged { path: path.to_owned(), detail: detail.to_owned() };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as one"))?;
    // The version comes before the checksum: a later one may check in another way. [P-20]
    if let Some(&found) = rest.first().filter(|version| **version > tidings_core::codec::VERSION) {
        return Err(IdentityError::TooNew { path: path.to_owned(), found });
    }
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("it is cut short"))?;
    if sha256(body) != *checksum {
        return Err(damaged("its checksum does not fit"));
    }
    let body = body.strip_prefix(MAGIC).ok_or_else(|| damaged("it is cut short"))?;
    Secrets::decode(body).map_err(|error| damaged(&error.to_string()))
}

/// Writes the file whole or not at all.
fn create(data: &Path, path: &Path, secrets: &Secrets) -> io::Result<()> {
    folder::make(data)?;
    let encoded = Zeroizing::new(secrets.encode());
    let mut bytes = Zeroizing::new([MAGIC, &encoded].concat());
    let checksum = sha256(&bytes);
    bytes.extend_from_slice(&checksum);
    let draft = data.join("identity.new");
    let mut file = private(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // Without this the new name may be gone after a power cut, and with it the address that clients were told.
    folder::sync(data)
}

/// A fresh file that only its owner may read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, IdentityError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|error| IdentityError::Keys(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_outlives_a_restart() {
        let folder = tempfile::tempdir().expect("folder");
        let first = Identity::open(folder.path()).expect("made");
        let second = Identity::open(folder.path()).expect("read");
        assert_eq!(first.pin(), second.pin());
        assert_eq!(first.receipt_key().verifying_key(), second.receipt_key().verifying_key());
        assert_eq!((first.reset_key(), first.token_key()), (second.reset_key(), second.token_key()));
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        Identity::open(folder.path()).expect("made");
        let mode = fs::metadata(folder.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_damaged_at_any_byte_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        Identity::open(folder.path()).expect("made");
        let path = folder.path().join(FILE);
        let good = fs::read(&path).expect("there");
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x01;
            fs::write(&path, &bad).expect("written");
            assert!(Identity::open(folder.path()).is_err(), "byte {place}");
            assert_eq!(fs::read(&path).expect("there"), bad);
            fs::write(&path, &good[..place]).expect("written");
            assert!(matches!(Identity::open(folder.path()), Err(IdentityError::Damaged { .. })), "cut at {place}");
        }
    }

    /// [P-20]
    #[test]
    fn a_newer_file_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join(FILE), [MAGIC, &[2]].concat()).expect("written");
        assert!(matches!(Identity::open(folder.path()), Err(IdentityError::TooNew { found: 2, .. })));
    }
}
