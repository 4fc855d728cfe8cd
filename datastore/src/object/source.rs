//! Where a value comes from, and sealing it as it comes.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidings_core::{Entropy, ObjectError, ObjectReference, ObjectSealer};
use tidings_proto::caps::INLINE_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::draft::Draft;
use crate::storage::Content;

/// Where the value of a record is read from, once, to its end.
pub enum Source {
    /// These bytes.
    Bytes(Bytes),
    /// This file. A change while it is read may be seen in part.
    File(PathBuf),
    /// Whatever comes from here.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// Why a value was not sealed. Nothing was written but a temporary file, which is removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The value or its content type is too long.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The value cannot be read.
    #[error("the value cannot be read: {0}")]
    Source(io::Error),
    /// The temporary file cannot be written.
    #[error("a temporary file cannot be written: {0}")]
    Spool(io::Error),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// A value ready to be staged.
pub(crate) enum Prepared {
    /// Short enough for the queue.
    Inline(Bytes),
    /// Sealed for storage.
    Sealed(Sealed),
}

/// A sealed value that is in no storage yet.
pub(crate) struct Sealed {
    pub(crate) reference: ObjectReference,
    place: Place,
}

enum Place {
    Memory(Bytes),
    File(Draft),
}

/// Sealed bytes that are kept in memory; more of them go to a file.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;
/// Piece in which a value is read, bytes.
const PIECE_BYTES: usize = 256 * 1024;

impl Sealed {
    /// What a storage is given. A file lasts as long as `self`.
    pub(crate) fn content(&self) -> Content {
        match &self.place {
            Place::Memory(bytes) => Content::Bytes(bytes.clone()),
            Place::File(draft) => Content::File(draft.path().to_owned()),
        }
    }
}

/// Reads a value, and seals it if it is too long for the queue. In memory is about 1 MiB of it.
pub(crate) async fn prepare(source: Source, content_type: String, spool: &Path) -> Result<Prepared, PrepareError> {
    let mut reader: Box<dyn AsyncRead + Send + Unpin> = match source {
        Source::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
        Source::File(path) => Box::new(tokio::fs::File::open(path).await.map_err(PrepareError::Source)?),
        Source::Reader(reader) => reader,
    };
    let mut piece = Zeroizing::new(Vec::with_capacity(PIECE_BYTES));
    read_piece(&mut reader, &mut piece, INLINE_BYTES_MAX + 1).await?;
    if piece.len() <= INLINE_BYTES_MAX {
        return Ok(Prepared::Inline(Bytes::copy_from_slice(&piece)));
    }
    let mut sealer = ObjectSealer::new(&mut entropy()?);
    let mut spooled = Spooled::new(spool);
    while !piece.is_empty() {
        sealer.update(&piece, &mut spooled.sealed)?;
        spooled.spill().await.map_err(PrepareError::Spool)?;
        read_piece(&mut reader, &mut piece, PIECE_BYTES).await?;
    }
    let reference = sealer.finish(&mut spooled.sealed, content_type)?;
    let place = spooled.finish().await.map_err(PrepareError::Spool)?;
    Ok(Prepared::Sealed(Sealed { reference, place }))
}

/// Fills `piece` with up to `length` bytes; fewer only at the end.
async fn read_piece(reader: &mut (dyn AsyncRead + Send + Unpin), piece: &mut Vec<u8>, length: usize) -> Result<(), PrepareError> {
    piece.clear();
    reader.take(length as u64).read_to_end(piece).await.map(drop).map_err(PrepareError::Source)
}

fn entropy() -> Result<Entropy, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Entropy::new(seed))
}

/// Sealed bytes: in memory first, in a file once they are many.
struct Spooled<'p> {
    folder: &'p Path,
    sealed: Vec<u8>,
    file: Option<(Draft, tokio::fs::File)>,
}

impl<'p> Spooled<'p> {
    fn new(folder: &'p Path) -> Self {
        Self { folder, sealed: Vec::new(), file: None }
    }

    async fn spill(&mut self) -> io::Result<()> {
        if self.sealed.len() <= MEMORY_BYTES_MAX {
            return Ok(());
        }
        if self.file.is_none() {
            let (draft, file) = Draft::create(self.folder)?;
            self.file = Some((draft, tokio::fs::File::from_std(file)));
        }
        self.write().await
    }

    async fn write(&mut self) -> io::Result<()> {
        if let Some((_, file)) = &mut self.file {
            file.write_all(&self.sealed).await?;
            self.sealed.clear();
        }
        Ok(())
    }

    async fn finish(mut self) -> io::Result<Place> {
        self.write().await?;
        let Some((draft, mut file)) = self.file else { return Ok(Place::Memory(self.sealed.into())) };
        file.flush().await?;
        Ok(Place::File(draft))
    }
}
