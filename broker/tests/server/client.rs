//! A client that sends whatever it is told to.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tidings_broker::server::Broker;
use tidings_core::{NodeKey, PseudonymKey};
use tidings_proto::caps::FRAME_BYTES_MAX;
use tidings_proto::frames::{Hello, Prove};
use tidings_proto::wire::FrameBuffer;
use tidings_proto::{Refusal, RefusalCode, Reply, Request, VerifyingKey};

/// Longest wait for anything: far more than a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestClient {
    pub(crate) quic: quinn::Connection,
    pub(crate) control: TestStream,
    _endpoint: quinn::Endpoint,
}

pub(crate) struct TestStream {
    pub(crate) send: quinn::SendStream,
    receive: quinn::RecvStream,
    buffer: FrameBuffer,
}

/// The handshake alone.
pub(crate) async fn handshake(
    broker: &Broker,
    groups: Vec<&'static dyn SupportedKxGroup>,
) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
    handshake_as(broker, groups, quinn::TransportConfig::default()).await
}

/// The same with the client's own limits.
async fn handshake_as(
    broker: &Broker,
    groups: Vec<&'static dyn SupportedKxGroup>,
    transport: quinn::TransportConfig,
) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = groups;
    let provider = Arc::new(provider);
    let pin = broker.address().pin.expect("an address with a pin");
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"tidings/1".to_vec()];
    let tls = QuicClientConfig::try_from(Arc::new(tls)).expect("a suite for QUIC");
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    let connecting = endpoint.connect_with(config, broker.local_addr(), "broker.example").expect("a valid address");
    Ok((endpoint, connecting.await?))
}

impl TestClient {
    /// Connected; nothing was sent yet.
    pub(crate) async fn connect(broker: &Broker) -> Self {
        Self::connect_as(broker, quinn::TransportConfig::default()).await
    }

    /// Connected with limits of its own.
    async fn connect_as(broker: &Broker, transport: quinn::TransportConfig) -> Self {
        let (endpoint, quic) = handshake_as(broker, vec![aws_lc_rs::kx_group::X25519MLKEM768], transport).await.expect("connected");
        let control = TestStream::open(&quic).await.expect("the first stream is always there");
        Self { quic, control, _endpoint: endpoint }
    }

    /// Connected and greeted.
    pub(crate) async fn greeted(broker: &Broker) -> Self {
        Self::connect(broker).await.greet().await
    }

    /// Connected and greeted; the broker may send as much as it likes before any of it was read.
    #[allow(dead_code, reason = "for the tests of what is bounded then")]
    pub(crate) async fn greedy(broker: &Broker) -> Self {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(quinn::VarInt::MAX).receive_window(quinn::VarInt::MAX);
        Self::connect_as(broker, transport).await.greet().await
    }

    async fn greet(self) -> Self {
        let mut client = self;
        let greeting = Request::Hello(Hello { software: "test".into() });
        assert!(matches!(client.control.ask(greeting).await, Some(Reply::Welcome(_))));
        client
    }

    /// Connected, greeted, and with this node's key proven.
    pub(crate) async fn proven(broker: &Broker, key: &NodeKey) -> Self {
        let mut client = Self::greeted(broker).await;
        client.prove(key).await;
        client
    }

    pub(crate) fn exporter(&self) -> [u8; 32] {
        let mut exporter = [0; 32];
        self.quic.export_keying_material(&mut exporter, b"EXPORTER-tidings/1", b"").expect("an exporter");
        exporter
    }

    pub(crate) async fn prove(&mut self, key: &NodeKey) {
        let signature = key.prove(&self.exporter());
        assert_eq!(self.offer(key.verifying_key(), signature).await, Some(Reply::Proven(key.verifying_key())));
    }

    pub(crate) async fn prove_pseudonym(&mut self, key: &PseudonymKey) {
        let public = VerifyingKey::new(*key.pseudonym().bytes());
        let signature = key.prove(&self.exporter());
        assert_eq!(self.offer(public, signature).await, Some(Reply::Proven(public)));
    }

    /// Offers a proof, right or wrong.
    pub(crate) async fn offer(&mut self, key: VerifyingKey, signature: [u8; 64]) -> Option<Reply> {
        self.control.ask(Request::Prove(Prove { key, signature })).await
    }

    pub(crate) async fn stream(&self) -> TestStream {
        TestStream::open(&self.quic).await.expect("a stream")
    }

    /// With which code the broker closes the connection.
    pub(crate) async fn close_code(&self) -> RefusalCode {
        match within(self.quic.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                RefusalCode::from_number(u32::try_from(close.error_code.into_inner()).expect("a small number"))
            }
            other => panic!("closed otherwise: {other}"),
        }
    }
}

impl TestStream {
    async fn open(quic: &quinn::Connection) -> Result<Self, quinn::ConnectionError> {
        let (send, receive) = within(quic.open_bi()).await?;
        Ok(Self { send, receive, buffer: FrameBuffer::new() })
    }

    pub(crate) async fn send(&mut self, request: Request) {
        self.raw(&request.encode_prefixed()).await;
    }

    /// Sends bytes, as far as the broker takes them.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        // It may have ended the stream already: that is what some tests want to see.
        let _ = within(self.send.write_all(bytes)).await;
    }

    /// The next reply, or `None` when the stream or connection is over.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(frame) = self.buffer.frame(FRAME_BYTES_MAX).expect("a lawful length") {
                return Some(Reply::decode(frame).expect("a lawful frame"));
            }
            let piece = within(self.receive.read_chunk(1 << 16, true)).await.ok()??;
            self.buffer.push(&piece.bytes);
        }
    }

    pub(crate) async fn ask(&mut self, request: Request) -> Option<Reply> {
        self.send(request).await;
        self.reply().await
    }

    /// The refusal that comes next.
    pub(crate) async fn refusal(&mut self) -> Refusal {
        match self.reply().await {
            Some(Reply::Refused(refusal)) => refusal,
            other => panic!("no refusal: {other:?}"),
        }
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let hash = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &key);
        assert_eq!(hash.as_ref(), self.pin, "the address pins the key that is used");
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
