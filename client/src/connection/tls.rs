//! TLS of a client: the broker is whoever holds the pinned key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn_proto::crypto::rustls::QuicClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Protocol name in the TLS handshake.
const ALPN: &[u8] = b"tidings/1";

/// Which key exchange a client takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519MLKEM768 only: what is recorded today stays closed to a later quantum computer.
    #[default]
    Hybrid,
    /// Plain X25519 too, for a broker that has nothing better.
    HybridOrClassical,
}

/// TLS of one connection attempt.
pub(super) struct PinnedTls {
    /// For quinn.
    pub(super) config: QuicClientConfig,
    /// Says afterwards whether the pin was what failed.
    pub(super) verifier: Arc<PinVerifier>,
}

impl PinnedTls {
    /// TLS 1.3 with the pinned key and no other.
    ///
    /// # Errors
    /// Only if the TLS library lacks what this crate is built with.
    pub(super) fn new(pin: [u8; 32], exchange: KeyExchange) -> Result<Self, Error> {
        let provider = Arc::new(provider(exchange));
        let verifier = Arc::new(PinVerifier { pin, provider: provider.clone(), mismatch: AtomicBool::new(false) });
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.enable_early_data = false;
        // A resumed session is not verified again and is found by host name: the pin of another address would not be asked for.
        tls.resumption = Resumption::disabled();
        let config = QuicClientConfig::try_from(Arc::new(tls)).map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { config, verifier })
    }
}

fn provider(exchange: KeyExchange) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = match exchange {
        KeyExchange::Hybrid => vec![aws_lc_rs::kx_group::X25519MLKEM768],
        KeyExchange::HybridOrClassical => vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
    };
    provider
}

/// Accepts a certificate for its key alone: names, issuers and dates say nothing that the pin does not say better.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
    mismatch: AtomicBool,
}

impl PinVerifier {
    /// Whether another key than the pinned one answered.
    pub(super) fn mismatched(&self) -> bool {
        self.mismatch.load(Ordering::Relaxed)
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        if sha256(&key) == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        self.mismatch.store(true, Ordering::Relaxed);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    /// The pin says which key; this says that the broker holds it.
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

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a TLS 1.3 suite");
    hash.copy_from_slice(suite.common.hash_provider.hash(bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_a_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn a_client_offers_no_classical_key_exchange_unless_told() {
        assert_eq!(provider(KeyExchange::Hybrid).kx_groups.len(), 1);
        assert_eq!(provider(KeyExchange::HybridOrClassical).kx_groups.len(), 2);
    }
}
