//! A QUIC server that holds the pinned key and keeps no rule.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn_proto::crypto::rustls::QuicServerConfig;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tidings_core::ReceiptKey;
use tidings_proto::caps::FRAME_BYTES_MAX;
use tidings_proto::frames::Publish;
use tidings_proto::wire::FrameBuffer;
use tidings_proto::{BrokerAddress, Request};
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::lies::{Known, lie};

/// By this name it is told from brokers in memory.
pub(crate) const HOST: &str = "127.0.0.1";
/// A certificate with its key, made for this test and nothing else; clients look at the key alone.
const CERTIFICATE: &[u8] = include_bytes!("certificate.der");
const CERTIFICATE_KEY: &[u8] = include_bytes!("certificate-key.der");
/// DER of an Ed25519 public key before its 32 bytes, as `SubjectPublicKeyInfo`.
const PUBLIC_KEY_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// How long it keeps a stream open on which it says nothing more.
const HOLD: Duration = Duration::from_millis(150);
/// How long it waits for another request: whoever waits for the rest of an answer would do so for half a minute.
const PATIENCE: Duration = Duration::from_secs(1);
/// Answers on one stream.
const ANSWERS_MAX: usize = 40;

/// The server; it ends with this value.
pub(crate) struct Liar {
    pub(crate) address: BrokerAddress,
    pub(crate) known: Arc<Mutex<Known>>,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

/// Key of the receipts that it signs.
pub(crate) fn receipt_key() -> ReceiptKey {
    ReceiptKey::from_seed([66; 32])
}

impl Liar {
    /// Begins to serve on a free port of the loopback; what it says depends on the seed.
    pub(crate) fn start(seed: u64) -> Self {
        let endpoint = quinn::Endpoint::server(quinn::ServerConfig::with_crypto(tls()), (Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
        let port = endpoint.local_addr().expect("bound").port();
        let address = BrokerAddress { host: HOST.into(), port, pin: Some(pin()), receipt: Some(receipt_key().verifying_key()) };
        let (known, connections) = (Arc::<Mutex<Known>>::default(), Arc::<AtomicUsize>::default());
        let mut task = JoinSet::new();
        task.spawn(serve(endpoint, known.clone(), connections.clone(), seed));
        Self { address, known, connections, _task: task }
    }

    /// How many connections it has had.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// It has seen these.
    pub(crate) fn tell(&self, publishes: &[Publish]) {
        let mut known = self.known.lock().expect("not poisoned");
        *known = Known::default();
        publishes.iter().for_each(|publish| known.hear(&Request::Publish(publish.clone())));
    }
}

async fn serve(endpoint: quinn::Endpoint, known: Arc<Mutex<Known>>, connections: Arc<AtomicUsize>, seed: u64) {
    let mut tasks = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        let number = connections.fetch_add(1, Ordering::Relaxed) as u64;
        tasks.spawn(streams(connection, known.clone(), seed.wrapping_mul(1_000_003).wrapping_add(number)));
    }
}

async fn streams(connection: quinn::Connection, known: Arc<Mutex<Known>>, seed: u64) {
    let mut tasks = JoinSet::new();
    let mut dice = Dice(seed);
    while let Ok((send, receive)) = connection.accept_bi().await {
        tasks.spawn(stream(connection.clone(), send, receive, known.clone(), Dice(dice.roll())));
    }
}

async fn stream(
    connection: quinn::Connection,
    mut send: quinn::SendStream,
    mut receive: quinn::RecvStream,
    known: Arc<Mutex<Known>>,
    mut dice: Dice,
) {
    let mut buffer = FrameBuffer::new();
    for _ in 0..ANSWERS_MAX {
        let Ok(Some(request)) = tokio::time::timeout(PATIENCE, next(&mut receive, &mut buffer)).await else { break };
        let said = {
            let mut known = known.lock().expect("not poisoned");
            known.hear(&request);
            lie(&known, &request, &mut dice)
        };
        if send.write_all(&said).await.is_err() {
            return;
        }
        let ends = !matches!(request, Request::Hello(_) | Request::Prove(_)) && dice.once_in(6);
        if ends {
            break;
        }
    }
    match dice.below(4) {
        0 => drop(send.finish()),
        1 => drop(send.reset((dice.below(20) as u32).into())),
        2 => connection.close((dice.below(20) as u32).into(), &dice.bytes(9)),
        // Said by half, and then nothing.
        _ => tokio::time::sleep(HOLD).await,
    }
}

async fn next(receive: &mut quinn::RecvStream, buffer: &mut FrameBuffer) -> Option<Request> {
    loop {
        if let Some(frame) = buffer.frame(FRAME_BYTES_MAX).expect("a client keeps the rules") {
            return Some(Request::decode(frame).expect("a client keeps the rules"));
        }
        buffer.push(&receive.read_chunk(64 * 1024, true).await.ok()??.bytes);
    }
}

fn tls() -> Arc<QuicServerConfig> {
    let key = PrivatePkcs8KeyDer::from(CERTIFICATE_KEY).into();
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        .expect("a certificate with its key");
    tls.alpn_protocols = vec![b"tidings/1".to_vec()];
    Arc::new(QuicServerConfig::try_from(tls).expect("a suite for QUIC"))
}

/// SHA-256 of the public key in the certificate.
fn pin() -> [u8; 32] {
    let found = CERTIFICATE.windows(PUBLIC_KEY_PREFIX.len()).position(|window| window == PUBLIC_KEY_PREFIX).expect("an Ed25519 key");
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a TLS 1.3 suite");
    let hash = suite.common.hash_provider.hash(&CERTIFICATE[found..found + PUBLIC_KEY_PREFIX.len() + 32]);
    hash.as_ref().try_into().expect("32 bytes")
}
