//! Whose certificate a service is believed by.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::access::ask::Service;
use crate::access::fault::Fault;
use crate::machine;

/// What TLS with this service needs.
pub(super) fn config(service: &Service) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions");
    if service.tls && service.verify_peer {
        return Ok(builder.with_root_certificates(roots(service)?).with_no_client_auth());
    }
    let anybody = Arc::new(Anybody(provider));
    let builder = builder.dangerous().with_custom_certificate_verifier(anybody);
    Ok(builder.with_no_client_auth())
}

fn roots(service: &Service) -> Result<RootCertStore, Fault> {
    let Some(path) = service.ca_file.as_deref().or(machine::certificates()) else {
        let text = "this system has no certificates of whom it trusts: set \"ca_file\"";
        return Err(Fault::of(Path::new("ca_file"), text));
    };
    let certificates = std::fs::read(path).and_then(|bytes| {
        let all = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
        all.map_err(io::Error::other)
    });
    let certificates = certificates
        .map_err(|error| Fault::of(path, format!("no certificates can be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(certificates);
    if good == 0 {
        return Err(Fault::of(path, "has no certificate in PEM"));
    }
    Ok(roots)
}

/// Believes whoever answers, as go-auth does unless it is told otherwise.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
