//! Standard input as a stream for work that must not block.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces read ahead.
const AHEAD: usize = 4;

/// What a blocking reader reads, at most 320 KiB ahead. Dropping it lets go of the reader after the piece that is being read.
pub(crate) struct Stream {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Stream {
    /// Begins to read `input` to its end.
    pub(crate) fn of(input: impl Read + Send + 'static) -> Self {
        let (sender, pieces) = mpsc::channel(AHEAD);
        // A read of a pipe cannot be interrupted: a thread of its own, which ends with the process or the one who writes.
        std::thread::spawn(move || pass_on(input, &sender));
        Self { pieces, piece: Bytes::new() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.piece.is_empty() {
            match ready!(self.pieces.poll_recv(context)) {
                Some(piece) => self.piece = piece?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.piece.len().min(buffer.remaining());
        buffer.put_slice(&self.piece.split_to(count));
        Poll::Ready(Ok(()))
    }
}

fn pass_on(mut input: impl Read, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = match input.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                Ok(Bytes::from(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let broken = read.is_err();
        if pieces.blocking_send(read).is_err() || broken {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read(input: impl Read + Send + 'static) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Stream::of(input).read_to_end(&mut bytes).await.map(|_| bytes)
    }

    #[tokio::test]
    async fn every_byte_comes_in_order() {
        let value: Vec<u8> = (0..=255).cycle().take(5 * PIECE_BYTES + 1).collect();
        assert_eq!(read(io::Cursor::new(value.clone())).await.expect("it is read"), value);
    }

    /// Half a value must not become a record.
    #[tokio::test]
    async fn an_input_that_is_cut_off_is_an_error_and_no_end() {
        struct CutOff;
        impl Read for CutOff {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let half = Read::chain(io::Cursor::new("half"), CutOff);
        assert_eq!(read(half).await.expect_err("it is cut off").kind(), io::ErrorKind::BrokenPipe);
    }
}
