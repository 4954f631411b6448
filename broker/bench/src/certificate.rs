//! A server's certificate on ECDSA P-256, made anew for each broker, and the clients that trust it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::error::BenchError;

/// The files of a certificate for `localhost`, gone with this.
pub(crate) struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes key and certificate.
    pub(crate) fn make() -> Result<Self, BenchError> {
        let folder = TempDir::with_prefix("martlet-bench-");
        let folder = folder.map_err(BenchError::system("making a folder"))?;
        let key =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(BenchError::Certificate)?;
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .and_then(|params| params.self_signed(&key))
            .map_err(BenchError::Certificate)?;
        let made = Self { folder, der: certificate.der().clone() };
        fs::write(made.path(), certificate.pem())
            .and_then(|()| fs::write(made.key_path(), key.serialize_pem()))
            .map_err(BenchError::system("writing a certificate"))?;
        Ok(made)
    }

    /// The file with the certificate.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// The file with its key.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// Terms of a client that speaks TLS 1.3 and trusts this certificate alone.
    pub(crate) fn terms(&self) -> Result<Arc<ClientConfig>, BenchError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).map_err(BenchError::Tls)?;
        let terms = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(BenchError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(terms))
    }
}
