//! From a sealed file to the value.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;
use tidings_client::whole_file;
use tidings_core::{ObjectError, ObjectOpener, ObjectReference};
use tokio::io::{AsyncReadExt, AsyncWrite};
use zeroize::Zeroizing;

use super::FetchError;
use super::draft::Draft;

/// A value, whole and verified, in a file that has no name any more and is gone with this.
#[derive(Debug)]
pub struct VerifiedFile {
    file: File,
    size: u64,
}

/// Piece in which a file is opened, bytes.
const PIECE_BYTES: usize = 256 * 1024;

impl VerifiedFile {
    /// Length of the value, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file, at its begin.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Writes the value to `out`, piece by piece; gives its length.
    pub async fn copy_to(self, out: &mut (impl AsyncWrite + Unpin + ?Sized)) -> io::Result<u64> {
        tokio::io::copy(&mut tokio::fs::File::from_std(self.file), out).await
    }

    /// The value in memory; at most [`tidings_proto::caps::OBJECT_BYTES_MAX`].
    pub async fn bytes(self) -> io::Result<Bytes> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        tokio::fs::File::from_std(self.file).read_to_end(&mut bytes).await?;
        Ok(bytes.into())
    }
}

/// Opens a sealed file: every segment, the size, the padding and the hash of the value are checked before this returns. `spool` is
/// a folder for the temporary file.
///
/// # Errors
/// `Altered`: the file is not what the owner sealed, or no file at all. `Malformed`: it is, but does not fit the reference. `Io`: also
/// if there is no such file.
pub async fn open_value(sealed: &Path, reference: &ObjectReference, spool: &Path) -> Result<VerifiedFile, FetchError> {
    let (sealed, reference, spool) = (sealed.to_owned(), reference.clone(), spool.to_owned());
    let opened = tokio::task::spawn_blocking(move || open(&sealed, &reference, &spool)).await;
    opened.map_err(|error| FetchError::Io(io::Error::other(error)))?
}

fn open(sealed: &Path, reference: &ObjectReference, spool: &Path) -> Result<VerifiedFile, FetchError> {
    let mut sealed = open_sealed(sealed)?.ok_or(FetchError::Altered)?;
    let mut opener = ObjectOpener::new(reference).map_err(fetch_error)?;
    let (draft, mut file) = Draft::create(spool)?;
    // From here on nobody else can open it, and no crash leaves the value behind.
    #[cfg(unix)]
    drop(draft);
    let mut piece = vec![0; PIECE_BYTES];
    let mut value = Zeroizing::new(Vec::with_capacity(PIECE_BYTES));
    loop {
        let read = sealed.read(&mut piece)?;
        if read == 0 {
            break;
        }
        opener.update(&piece[..read], &mut value).map_err(fetch_error)?;
        file.write_all(&value)?;
        value.clear();
    }
    opener.finish().map_err(fetch_error)?;
    file.rewind()?;
    Ok(VerifiedFile { file, size: reference.size })
}

/// Opens a file of sealed bytes; `None` for what is there and is no file. A pipe would be waited for without end.
pub(crate) fn open_sealed(path: &Path) -> io::Result<Option<File>> {
    match whole_file::open(path) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
        // A link that leads to itself.
        Err(error) if error.kind() != ErrorKind::NotFound && path.is_symlink() => Ok(None),
        opened => opened.map(Some),
    }
}

fn fetch_error(error: ObjectError) -> FetchError {
    match error {
        ObjectError::Altered => FetchError::Altered,
        ObjectError::TooNew => FetchError::TooNew,
        _ => FetchError::Malformed,
    }
}
