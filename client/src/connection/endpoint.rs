//! The socket of a client, and connecting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::TransportConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tidings_proto::BrokerAddress;
use tidings_proto::caps::STREAMS_PER_CONNECTION_MAX;

use super::error::ConnectionError;
use super::link::Connection;
use super::race::{Attempt, race};
use super::tls::{KeyExchange, PinVerifier, PinnedTls};
use super::transport::Transport;

/// Below the shortest UDP timeout of common NATs (30 s).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const IDLE: Duration = Duration::from_secs(30);
/// What one stream may deliver unread, bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What the socket may hold that was not looked at: all that a broker sends at once.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// One UDP socket for any number of connections. Cheap to clone; connections keep it open.
#[derive(Clone, Debug)]
pub struct Endpoint {
    quic: quinn::Endpoint,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Program and version, for the operator's log.
    pub software: String,
    /// Which key exchange is good enough.
    pub key_exchange: KeyExchange,
    /// Longest time until the broker has answered the greeting, for each IP address of the host.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            software: concat!("tidings ", env!("CARGO_PKG_VERSION")).into(),
            key_exchange: KeyExchange::Hybrid,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Endpoint {
    /// Binds a socket for IPv6 and IPv4, or for IPv4 alone where there is no IPv6. Needs a tokio runtime.
    ///
    /// # Errors
    /// No socket can be bound at all.
    pub fn bind() -> io::Result<Self> {
        let socket = socket(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| socket(Ipv4Addr::UNSPECIFIED.into()))?;
        let quic = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime))?;
        Ok(Self { quic })
    }

    /// Waits until all closed connections have told their peers.
    pub async fn flush(&self) {
        self.quic.wait_idle().await;
    }
}

fn socket(address: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // For both families where the system lets it.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    // The system may grant less: then more of a burst is lost and sent again.
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BYTES) {
        tracing::debug!(%error, "the socket's buffer stays as it is");
    }
    Ok(socket.into())
}

impl Connection {
    /// Connects, checks the pin and exchanges greetings. While nobody answers it begins anew every few seconds, at the host's IP
    /// addresses in turn, and takes what answers first: a path that returns in the meantime is found at once.
    ///
    /// # Errors
    /// `Unreachable`, `NoPin`, `WrongPin`, `Protocol`, or `Refused` by a broker that takes no one now. Nothing has an effect
    /// yet. Safe to cancel.
    pub async fn connect(endpoint: &Endpoint, address: &BrokerAddress, options: &ConnectOptions) -> Result<Self, ConnectionError> {
        let pin = address.pin.ok_or(ConnectionError::NoPin)?;
        let unreachable = |detail: String| ConnectionError::Unreachable { address: format!("{}:{}", address.host, address.port), detail };
        let places = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
        let places: Vec<SocketAddr> = places.map_err(|error| unreachable(error.to_string()))?.collect();
        let (endpoint, address, options) = (endpoint.clone(), address.clone(), options.clone());
        let timeout = options.timeout;
        race(places, timeout, move |place| connect_to(endpoint.clone(), place, pin, address.clone(), options.clone())).await.map_err(
            |attempt| match attempt {
                Attempt::Unreachable(detail) => unreachable(detail),
                Attempt::Failed(error) => error,
            },
        )
    }
}

async fn connect_to(
    endpoint: Endpoint,
    place: SocketAddr,
    pin: [u8; 32],
    address: BrokerAddress,
    options: ConnectOptions,
) -> Result<Connection, Attempt> {
    let internal = |error: &dyn std::error::Error| Attempt::Unreachable(error.to_string());
    let PinnedTls { config, verifier } = PinnedTls::new(pin, options.key_exchange).map_err(|error| internal(&error))?;
    let mut config = quinn::ClientConfig::new(Arc::new(config));
    config.transport_config(Arc::new(transport()));
    let connecting = endpoint.quic.connect_with(config, place, &address.host).map_err(|error| internal(&error))?;
    let quic = connecting.await.map_err(|error| handshake_error(error, &verifier))?;
    let connection = Connection::greet(Transport::quic(quic), options.software).await?;
    match address.receipt {
        Some(named) if named != connection.welcome().receipt_key => {
            Err(ConnectionError::Protocol("its receipt key is not the one in the address".into()).into())
        }
        _ => Ok(connection),
    }
}

fn handshake_error(error: quinn::ConnectionError, verifier: &PinVerifier) -> Attempt {
    match error {
        _ if verifier.mismatched() => Attempt::Failed(ConnectionError::WrongPin),
        quinn::ConnectionError::ApplicationClosed(_) => Attempt::Failed(error.into()),
        error => Attempt::Unreachable(error.to_string()),
    }
}

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    // A broker opens no streams and sends no datagrams.
    config.max_concurrent_bidi_streams(0u32.into()).max_concurrent_uni_streams(0u32.into()).datagram_receive_buffer_size(None);
    config.keep_alive_interval(Some(KEEP_ALIVE));
    config.max_idle_timeout(Some(quinn::IdleTimeout::try_from(IDLE).expect("30 s is far below the longest idle timeout")));
    // All streams full together: one that is not read never takes the window of the others.
    let streams = u32::try_from(STREAMS_PER_CONNECTION_MAX).expect("a few hundred");
    config.stream_receive_window(STREAM_WINDOW.into()).receive_window((streams * STREAM_WINDOW).into());
    config
}
