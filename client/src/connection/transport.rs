//! What carries the streams of a connection.

use super::error::{CloseReason, ConnectionError};
use super::link::Traffic;
use super::memory::MemoryTransport;
use super::silence::Silence;
use super::stream::{ReplyReceiver, RequestSender};

/// RFC 5705 label of the value that proofs sign. [P-18]
const EXPORTER_LABEL: &[u8] = b"EXPORTER-tidings/1";

/// QUIC, or channels within this process.
#[derive(Debug)]
pub(super) enum Transport {
    Quic { connection: quinn::Connection, silence: Silence },
    Memory(MemoryTransport),
}

impl Transport {
    /// A connection whose handshake is over; it is closed when its path falls silent. Needs a tokio runtime.
    pub(super) fn quic(connection: quinn::Connection) -> Self {
        Self::Quic { silence: Silence::watch(connection.clone()), connection }
    }

    /// Opens a stream; waits while the broker allows no more. Safe to cancel.
    pub(super) async fn open(&self) -> Result<(RequestSender, ReplyReceiver), ConnectionError> {
        match self {
            Self::Quic { connection, silence } => {
                let (send, receive) = connection.open_bi().await.map_err(|error| silence.word().error(error.into()))?;
                Ok((RequestSender::quic(send), ReplyReceiver::quic(receive, silence.word())))
            }
            Self::Memory(memory) => memory.open().await,
        }
    }

    /// The value that both ends of this connection know and no other connection has. [P-18]
    pub(super) fn exporter(&self) -> Result<[u8; 32], ConnectionError> {
        match self {
            Self::Quic { connection, .. } => {
                let mut exporter = [0; 32];
                connection
                    .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
                    .map_err(|_| ConnectionError::Protocol("TLS exports no keying material".into()))?;
                Ok(exporter)
            }
            Self::Memory(memory) => Ok(memory.exporter()),
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        match self {
            Self::Quic { connection, .. } => {
                let stats = connection.stats();
                Traffic { sent: stats.udp_tx.bytes, received: stats.udp_rx.bytes }
            }
            Self::Memory(_) => Traffic::default(),
        }
    }

    pub(super) fn close(&self) {
        match self {
            Self::Quic { connection, .. } => connection.close(0u32.into(), b""),
            Self::Memory(memory) => memory.close(),
        }
    }

    pub(super) async fn closed(&self) -> CloseReason {
        match self {
            Self::Quic { connection, silence } => silence.word().reason(connection.closed().await.into()),
            Self::Memory(memory) => memory.closed().await,
        }
    }
}
