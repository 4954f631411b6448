//! TLS towards the other broker.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bridge::remote::Stream;
use crate::machine;
use crate::net::tls::files;
pub use crate::net::tls::settings::Fault;
use crate::net::tls::settings::FaultyOption;

/// Whom to believe, and what to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Certificates of those who sign good certificates, in PEM.
    pub ca_file: Option<PathBuf>,
    /// A directory of such files.
    pub ca_path: Option<PathBuf>,
    /// Whether those count whom the system trusts.
    pub system: bool,
    /// The bridge's own certificate, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether the certificate may be for another name.
    pub any_name: bool,
    /// The protocol to name.
    pub alpn: Option<Box<str>>,
    /// The only version to speak; `None`: 1.2 and 1.3.
    pub version: Option<Version>,
}

impl Settings {
    /// The files that a handshake rests on.
    pub fn files(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca_file.iter().chain(&self.ca_path).chain(identity).cloned().collect()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// Shakes hands with other brokers.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// What is wrong with one of the files.
    pub fn new(settings: &Settings) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match settings.version {
            None => &[&TLS12, &TLS13],
            Some(Version::Tls12) => &[&TLS12],
            Some(Version::Tls13) => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions");
        let roots = Arc::new(roots(settings)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .expect("there are roots, and no lists of revoked certificates");
        let builder = match settings.any_name {
            false => builder.with_webpki_verifier(verifier),
            true => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(verifier)))
            }
        };
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = files::certificates(FaultyOption::Certificate, certificate)?;
                let own = files::key(key)?;
                builder.with_client_auth_cert(chain, own).map_err(|error| Fault {
                    option: FaultyOption::Key,
                    file: Some(key.clone()),
                    text: format!("does not go with {}: {error}", certificate.display()),
                })?
            }
        };
        config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().into()).collect();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// TLS over a socket to this host.
    pub(super) async fn connect(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> io::Result<Box<dyn Stream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{host:?}: {error}"))
        })?;
        Ok(Box::new(self.0.connect(name, socket).await?))
    }
}

/// What is said where there are none.
const NO_SYSTEM: &str = "this system has no certificates of whom it trusts: name a file of them";

fn roots(settings: &Settings) -> Result<RootCertStore, Fault> {
    let system = || machine::certificates().ok_or_else(|| fault(None, NO_SYSTEM));
    let mut named: Vec<(FaultyOption, &Path)> = Vec::new();
    named.extend(settings.ca_file.as_deref().map(|path| (FaultyOption::CaFile, path)));
    if settings.system {
        named.push((FaultyOption::CaFile, system()?));
    }
    let mut certificates = Vec::new();
    for (option, path) in named {
        certificates.extend(files::certificates(option, path)?);
    }
    if let Some(path) = &settings.ca_path {
        certificates.extend(files::directory(path)?);
    }
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(certificates);
    if good == 0 {
        let file = settings.ca_file.clone().or(settings.ca_path.clone());
        return Err(fault(file, "has no certificate that can be used"));
    }
    Ok(roots)
}

fn fault(file: Option<PathBuf>, text: &str) -> Fault {
    Fault { option: FaultyOption::CaFile, file, text: text.to_owned() }
}

/// A certificate must be signed by whom we believe, and may be for any name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last.
        let verified =
            self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
