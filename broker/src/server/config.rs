//! What an operator chooses.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::admission::AdmissionList;
use crate::commit::CommitSettings;

/// How a broker runs.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Folder of the broker's keys; made if it is not there.
    pub data: PathBuf,
    /// UDP address to serve on; port 0 picks one.
    pub listen: SocketAddr,
    /// Host and port that clients are told; the address served on if `None`.
    pub public: Option<(String, u16)>,
    /// Whose publishes are taken.
    pub admission: Admission,
    /// Connections that were accepted but have proven no key yet. Above a quarter of it, clients must first show that they
    /// receive at their address; above all of it, they get no answer. [P-19]
    pub unproven_max: usize,
    /// Connections in all. [P-19]
    pub connections_max: usize,
    /// What all connections together may have been sent and not confirmed, beside 64 KiB for each; bytes. Where it is used up, catch-ups
    /// over long paths are slower. [P-19]
    pub unconfirmed_bytes_max: usize,
    /// Bounds of group commits, with the quota of one queue.
    pub commit: CommitSettings,
    /// What may take how long.
    pub deadlines: Deadlines,
}

/// Whose publishes a broker takes. Readers are admitted by the owners of their queues alone.
#[derive(Clone, Debug)]
pub enum Admission {
    /// Everybody's.
    Open,
    /// Those of owners on this list. Asked again at every publish.
    List(AdmissionList),
}

/// What may take how long.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// From the first packet to the end of the handshake.
    pub handshake: Duration,
    /// From then to the first proven key; and from the opening of a stream to its first frame.
    pub authentication: Duration,
    /// From the handshake to the first stream that is granted to one of its keys.
    pub acquaintance: Duration,
    /// From the wish to stop to the end of the last connection.
    pub drain: Duration,
}

impl BrokerConfig {
    /// Defaults with keys in `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            admission: Admission::List(AdmissionList::in_folder(&data)),
            data,
            listen: (Ipv6Addr::UNSPECIFIED, 4433).into(),
            public: None,
            unproven_max: 1_000,
            connections_max: 20_000,
            unconfirmed_bytes_max: 256 * 1024 * 1024,
            commit: CommitSettings::default(),
            deadlines: Deadlines::default(),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            authentication: Duration::from_secs(3),
            acquaintance: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}
