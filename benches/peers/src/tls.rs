//! One self-signed authority for the peers' TLS: key and certificate for 127.0.0.1, as files for servers and as text for clients.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Files of the authority and of the server's certificate.
pub(crate) struct Tls {
    folder: TempDir,
    /// The authority's certificate.
    pub(crate) authority_pem: String,
}

impl Tls {
    /// Makes an authority and one certificate.
    pub(crate) fn new() -> Result<Self> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let server_key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let certificate = server.signed_by(&server_key, &Issuer::new(authority, authority_key))?;
        let tls = Self { folder: tempfile::Builder::new().prefix("tidings-peers-tls-").tempdir()?, authority_pem };
        fs::write(tls.authority(), &tls.authority_pem)?;
        fs::write(tls.certificate(), certificate.pem())?;
        fs::write(tls.key(), server_key.serialize_pem())?;
        Ok(tls)
    }

    /// File with the authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// File with the server's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// File with the server's key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}
