//! QUIC and TLS as a server on the open network needs them; quinn's defaults are made for friends.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{EndpointConfig, HashedConnectionIdGenerator, IdleTimeout, ServerConfig, TransportConfig};
use rustls::crypto::aws_lc_rs as provider;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tidings_proto::caps::STREAMS_PER_CONNECTION_MAX;

use super::identity::{Identity, IdentityError};
use super::room::WINDOW_BYTES_MIN;

const ALPN: &[u8] = b"tidings/1";
const QUIC_VERSION_1: u32 = 1;
/// RFC 5705 label of the value that proofs sign. [P-18]
const EXPORTER_LABEL: &[u8] = b"EXPORTER-tidings/1";

const IDLE: Duration = Duration::from_secs(30);
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
/// Incoming connections that quinn keeps until they are looked at.
const INCOMING_MAX: usize = 1_000;
/// What an incoming connection may send before it is looked at: a post-quantum client hello fits twice.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// What a peer may do, by what is known of it. [P-19]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// A key is proven; anybody can make one.
    Proven,
    /// An admitted owner, or a reader on an access list.
    Known,
}

/// Binds the socket and starts serving QUIC on it. Nothing is accepted yet.
pub(super) fn endpoint(listen: SocketAddr, identity: &Identity) -> Result<quinn::Endpoint, super::StartError> {
    let socket = bind(listen).map_err(|source| super::StartError::Listen { listen, source })?;
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, identity.reset_key());
    let id_key = connection_id_key(&reset_key);
    let mut settings = EndpointConfig::new(Arc::new(reset_key));
    // Quinn resets only connections whose ids it could have given: with another key after a restart it would drop their packets,
    // and clients would notice the restart only by silence.
    settings.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    settings.supported_versions(vec![QUIC_VERSION_1]);
    let server = server_config(identity)?;
    quinn::Endpoint::new(settings, Some(server), socket, Arc::new(quinn::TokioRuntime))
        .map_err(|source| super::StartError::Listen { listen, source })
}

/// The same after every restart. Not a secret, so it is derived: connection ids must tell nothing of the reset key.
fn connection_id_key(reset_key: &hmac::Key) -> u64 {
    let mut key = [0; 8];
    key.copy_from_slice(&hmac::sign(reset_key, b"tidings/1/connection-ids").as_ref()[..8]);
    u64::from_be_bytes(key)
}

/// Streams that a known peer may have at once until it uses most of them. QUIC keeps about 85 bytes for each that it allows, and an
/// idle reader has two.
pub(super) const STREAMS_AT_FIRST: usize = 16;

/// How many streams are allowed when `open` of `allowed` are in use: twice as many before they are used up, until there are as many as
/// one connection may have.
pub(super) fn streams_allowed(allowed: usize, open: usize) -> usize {
    if open * 2 < allowed { allowed } else { (allowed * 2).min(STREAMS_PER_CONNECTION_MAX) }
}

/// Lets the peer have so many streams at once.
pub(super) fn allow_streams(connection: &quinn::Connection, count: usize) {
    connection.set_max_concurrent_bi_streams(u32::try_from(count).expect("a few hundred").into());
}

/// Loosens the limits of a connection as its peer is known better.
pub(super) fn raise_limits(connection: &quinn::Connection, trust: Trust) {
    match trust {
        Trust::Proven => {
            connection.set_receive_window((4 * 1024 * 1024u32).into());
            connection.set_max_concurrent_bi_streams(8u32.into());
        }
        Trust::Known => allow_streams(connection, STREAMS_AT_FIRST),
    }
}

/// The value that both ends of this connection know and no other connection has. [P-18]
pub(super) fn exporter(connection: &quinn::Connection) -> Option<[u8; 32]> {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, EXPORTER_LABEL, b"").ok()?;
    Some(exporter)
}

fn server_config(identity: &Identity) -> Result<ServerConfig, IdentityError> {
    // Expanded by quinn for every token; the salt is empty because the key is random and used for nothing else.
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(identity.token_key());
    let mut config = ServerConfig::new(Arc::new(tls(identity)?), Arc::new(token_key));
    config.transport_config(Arc::new(transport())).migration(true);
    config.max_incoming(INCOMING_MAX).incoming_buffer_size(INCOMING_BYTES_MAX);
    config.incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_MAX as u64);
    Ok(config)
}

/// TLS 1.3, hybrid key exchange first, no tickets and no early data: a replayed request never runs. [P-18]
fn tls(identity: &Identity) -> Result<QuicServerConfig, IdentityError> {
    let keys = |error: rustls::Error| IdentityError::Keys(error.to_string());
    let mut provider = provider::default_provider();
    provider.kx_groups = vec![provider::kx_group::X25519MLKEM768, provider::kx_group::X25519];
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(keys)?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate()?], identity.tls_key())
        .map_err(keys)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.max_early_data_size = 0;
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    QuicServerConfig::try_from(Arc::new(tls)).map_err(|error| IdentityError::Keys(error.to_string()))
}

/// Limits of a connection that has proven nothing.
fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config.max_idle_timeout(Some(IdleTimeout::try_from(IDLE).expect("30 s is far below the longest idle timeout")));
    config.stream_receive_window(STREAM_WINDOW.into()).receive_window((64 * 1024u32).into()).send_window(WINDOW_BYTES_MIN as u64);
    config.max_concurrent_bidi_streams(1u32.into()).max_concurrent_uni_streams(0u32.into());
    config.datagram_receive_buffer_size(None);
    // Small answers of many streams share packets instead of one packet each.
    config.send_fairness(false);
    config
}

fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() {
        // One socket for both families where the system lets it; IPv6 alone otherwise.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&listen.into())?;
    let socket = UdpSocket::from(socket);
    raise_buffers(&socket);
    Ok(socket)
}

/// The system may grant less; that costs throughput, not correctness.
fn raise_buffers(socket: &UdpSocket) {
    let buffers = SockRef::from(socket);
    let raised = buffers.set_recv_buffer_size(SOCKET_BUFFER_BYTES).and_then(|()| buffers.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    if let Err(error) = raised {
        tracing::debug!(%error, "socket buffers stay as they are");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_uses_its_streams_gets_twice_as_many_up_to_the_most() {
        let idle = streams_allowed(STREAMS_AT_FIRST, 2);
        assert_eq!(idle, STREAMS_AT_FIRST);
        let grown = (0..STREAMS_PER_CONNECTION_MAX).fold(idle, streams_allowed);
        assert_eq!(grown, STREAMS_PER_CONNECTION_MAX);
        // Never less than what may be opened next.
        let mut allowed = STREAMS_AT_FIRST;
        for open in 0..STREAMS_PER_CONNECTION_MAX {
            assert!(open < allowed, "{open} of {allowed}");
            allowed = streams_allowed(allowed, open + 1);
        }
    }
}
