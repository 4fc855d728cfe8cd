//! What goes wrong on a connection, and whether the effect may have happened.

use tidings_proto::wire::FrameError;
use tidings_proto::{Refusal, RefusalCode};

/// Why a connection or a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// No broker answered. Nothing happened.
    #[error("no broker answers at {address}: {detail}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What was tried and how it ended.
        detail: String,
    },
    /// The address has no pin, and this build does not know the certificates of the public web. Nothing happened.
    #[error("the address names no pin; ask the broker's operator for the whole address")]
    NoPin,
    /// Another key answers than the one pinned in the address. Nothing was sent to it.
    #[error("another key answers than the one pinned in the address")]
    WrongPin,
    /// The broker did not carry the request out; its code says more.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection or stream ended. A request without an answer may have taken effect.
    #[error("the connection ended: {reason}")]
    Closed {
        /// Who ended it and why.
        reason: CloseReason,
    },
    /// What the broker sent is not of this protocol. A request without an answer may have taken effect.
    #[error("the broker does not keep to the protocol: {0}")]
    Protocol(String),
}

/// Who ended a connection or stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side.
    #[error("closed here")]
    Local,
    /// The network or the broker's process: silence, or a reset.
    #[error("{0}")]
    Lost(String),
    /// The broker, and it says why; [`RefusalCode::ShuttingDown`] when it drains.
    #[error("the broker closed it: {0}")]
    Broker(Refusal),
    /// The broker ended the stream after its last answer. The connection goes on.
    #[error("the stream is finished")]
    Finished,
}

/// Whether a request that failed may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It did not.
    None,
    /// It may have. Repeat the same bytes: a repetition has no second effect.
    Unknown,
}

impl ConnectionError {
    /// Whether the request that failed with this may have taken effect.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Unreachable { .. } | Self::NoPin | Self::WrongPin => Effect::None,
            Self::Refused(refusal) => match refusal.code {
                RefusalCode::OutcomeUnknown | RefusalCode::Unknown(_) => Effect::Unknown,
                _ => Effect::None,
            },
            Self::Closed { .. } | Self::Protocol(_) => Effect::Unknown,
        }
    }

    pub(super) fn closed(reason: CloseReason) -> Self {
        Self::Closed { reason }
    }
}

impl From<FrameError> for ConnectionError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<quinn::ConnectionError> for CloseReason {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::LocallyClosed => Self::Local,
            quinn::ConnectionError::ApplicationClosed(close) => {
                Self::Broker(refusal_of(close.error_code, String::from_utf8_lossy(&close.reason).into_owned()))
            }
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<quinn::ConnectionError> for ConnectionError {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::closed(error.into())
    }
}

impl From<quinn::WriteError> for ConnectionError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(error) => error.into(),
            quinn::WriteError::Stopped(code) => Self::closed(stopped(code)),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => Self::closed(CloseReason::Local),
        }
    }
}

impl From<quinn::ReadError> for ConnectionError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::ConnectionLost(error) => error.into(),
            quinn::ReadError::Reset(code) => Self::closed(stopped(code)),
            _ => Self::closed(CloseReason::Local),
        }
    }
}

fn stopped(code: quinn::VarInt) -> CloseReason {
    CloseReason::Broker(refusal_of(code, "the stream was reset".into()))
}

/// Connections and streams are closed with the number of a refusal; 0 says nothing.
fn refusal_of(code: quinn::VarInt, detail: String) -> Refusal {
    let number = u32::try_from(code.into_inner()).unwrap_or(u32::MAX);
    Refusal::new(RefusalCode::from_number(number), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_surely_not_done_has_no_effect() {
        let lost = ConnectionError::closed(CloseReason::Lost("silence".into()));
        assert_eq!(lost.effect(), Effect::Unknown);
        assert_eq!(ConnectionError::WrongPin.effect(), Effect::None);
        let refused = |code| ConnectionError::Refused(Refusal::new(code, "")).effect();
        assert_eq!(refused(RefusalCode::Conflict), Effect::None);
        assert_eq!(refused(RefusalCode::OutcomeUnknown), Effect::Unknown);
        assert_eq!(refused(RefusalCode::Unknown(99)), Effect::Unknown);
    }
}
